//! The store's tests that need a disk, faulting or real.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod backends;
mod crash;
mod damage;
mod faults;
mod hangs;
mod long;
mod model;
mod peers;
mod script;
