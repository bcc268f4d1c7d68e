//! Decisions: names, lists and counts in, a verdict out.

pub mod attempt;
pub mod backoff;
pub mod bill;
pub mod bloom;
pub mod breaker;
pub mod connection;
pub mod deployment;
pub mod disconnect;
pub mod hedge;
pub mod keys;
pub mod limit;
pub mod overload;
pub mod price;
pub mod reattach;
pub mod recovery;
pub mod retry_after;
pub mod route;
pub mod scope;
pub mod secrets;
pub mod select;
