//! Everstream's pure core: bytes and values in, bytes and values out.
//!
//! Nothing here knows an async runtime, a clock, a file, a socket, the environment or a source of
//! randomness; what needs time takes it as a parameter. That is what lets every state machine be
//! tested at every split and every instant.

pub mod answer;
pub mod ask;
pub mod calendar;
pub mod config;
pub mod content;
pub mod cursor;
pub mod dialect;
pub mod error;
pub mod event;
pub mod fault;
pub mod frame;
pub mod hex;
pub mod id;
pub mod limits;
pub mod list;
pub mod money;
pub mod network;
mod percent;
pub mod policy;
pub mod provider;
pub mod record;
pub mod secret;
pub mod sign;
pub mod suggest;
pub mod units;
pub mod writer;
