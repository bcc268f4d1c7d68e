//! Decisions, and nothing but decisions.

pub mod disconnect;
