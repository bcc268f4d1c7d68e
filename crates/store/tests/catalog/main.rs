//! The tests of the catalogue and of the ledger's queue.
//!
//! Those that need a server are ignored unless asked for; `scripts/test.sh` starts one and asks.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

#[cfg(feature = "postgres")]
mod counters;
mod kills;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod proxy;
mod queue;
mod random;
mod sqlite;
#[cfg(feature = "postgres")]
mod trouble;
