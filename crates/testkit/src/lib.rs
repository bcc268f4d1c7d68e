//! What the tests stand on.

pub mod client;
pub mod disk;
mod http;
pub mod load;
mod monotonic;
pub mod provider;
pub mod soak;
pub mod sse;
pub mod translation;
