//! Signatures. `now` is always a parameter.

pub mod read_token;
pub mod sigv4;
