//! What the tests stand on.

pub mod client;
mod http;
pub mod load;
mod monotonic;
pub mod provider;
pub mod sse;
