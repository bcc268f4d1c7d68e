//! Decisions: names, lists and counts in, a verdict out.

pub mod bloom;
pub mod budget;
pub mod disconnect;
pub mod limit;
pub mod route;
