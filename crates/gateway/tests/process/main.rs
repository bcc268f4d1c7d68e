//! Tests of the whole program as a process: killed, replaced, told to end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod harness;
mod inside;
mod kill;
mod money;
mod order;
mod rolling;
mod term;
