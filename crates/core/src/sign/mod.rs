//! Signatures. `now` is always a parameter.

pub mod api_key;
pub mod http;
pub mod jwt;
pub mod nonce;
pub mod read_token;
pub mod sigv4;
