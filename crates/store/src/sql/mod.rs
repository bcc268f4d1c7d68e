//! Control data in SQL: who may call, how much, and what it cost.
//!
//! The contract is the doc comments of [`Catalog`]; [`conformance`] is its test. Every operation is
//! written once, in `ops`, in SQL that both databases take; a backend is a driver that runs
//! operations in transactions.

mod catalog;
pub mod conformance;
mod engine;
mod error;
mod migrate;
mod ops;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod queue;
pub mod sqlite;
pub mod values;

pub use catalog::{Catalog, CatalogFuture, NonceStore};
pub use error::CatalogError;
