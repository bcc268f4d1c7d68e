//! What the tests stand on.

pub mod client;
mod http;
pub mod provider;
pub mod sse;
