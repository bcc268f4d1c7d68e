//! The integration tests: a real gateway over real sockets, in front of scripted providers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod directions;
mod disconnect;
mod harness;
mod identity;
mod refusals;
mod resume;
mod retry;
mod talk;
mod token;
mod wire;
