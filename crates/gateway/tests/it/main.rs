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
mod disconnect;
mod embedded;
mod forms;
mod harness;
mod http2;
mod identity;
mod key_life;
mod refusals;
mod restart;
mod resume;
mod retry;
mod talk;
mod token;
mod wire;
