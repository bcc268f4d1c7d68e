//! Decisions, without the deeds: what to do is worked out here, from values alone.

pub mod disconnect;
