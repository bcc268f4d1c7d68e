//! The integration tests: a real gateway over real sockets, in front of scripted providers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    unreachable_pub,
    reason = "what the modules here share is public to them"
)]

mod chat;
mod cli;
mod directions;
mod docs;
mod harness;
mod list;
mod proxy;
mod socket;
mod ws;
mod ws_abuse;
