//! The integration tests: a real gateway over real sockets, in front of scripted providers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    unreachable_pub,
    reason = "what the modules here share is public to them"
)]

mod bad_client;
mod bad_upstream;
mod chat;
mod directions;
mod embedded;
mod harness;
mod pages;
mod process;
mod readers;
mod restart;
mod secrets;
