//! Decisions: names, lists and counts in, a verdict out.

pub mod backoff;
pub mod breaker;
pub mod disconnect;
pub mod retry_after;
pub mod route;
