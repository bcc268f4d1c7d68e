//! HTTP Message Signatures (RFC 9421) with `hmac-sha256`, and content digests (RFC 9530): a caller
//! proves that it holds a secret without sending it, for this one request.
//!
//! [`Presented::read`] takes the signature out of a request's head and checks that it covers what it
//! must. The caller then looks up the secret of its [`key_id`](Presented::key_id), calls
//! [`Presented::verify`], and claims the nonce in a replay window ([`super::nonce`]) last, so that
//! only requests of those who have a key can fill it. The body is checked with
//! [`Verified::body_check`] as it comes; a request whose body turns out to be another one has used its
//! nonce up.
//!
//! A signature must cover the method, the authority, the target and, if there is a body, its
//! `Content-Digest`; and it must have `created`, `nonce` and `keyid`. The target is covered by
//! `@target-uri`, by `@request-target`, or by `@path`, with `@query` if there is a query;
//! `@target-uri` covers the authority too.

mod base;
mod digest;
mod error;
mod fields;
mod presented;
mod signer;

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits;

pub use digest::{BodyCheck, ContentDigest, content_digest};
pub use error::SignatureError;
pub use fields::{Fields, Request};
pub use presented::{Presented, Verified};
pub use signer::{Signed, Signer};

/// The one algorithm (RFC 9421, 3.3.3).
const ALGORITHM: &str = "hmac-sha256";
/// Tells our signature from those that proxies may have added (RFC 9421, 2.3).
const TAG: &str = "everstream";

/// How far the client's clock may be from ours, and how old a signature may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockWindow {
    /// How long after `created` a signature is good, unless it expires earlier.
    pub max_age: Duration,
    /// How far the two clocks may be apart, in either direction.
    pub skew: Duration,
}

impl Default for ClockWindow {
    fn default() -> Self {
        Self {
            max_age: limits::SIGNATURE_AGE,
            skew: limits::CLOCK_SKEW,
        }
    }
}

fn mac(secret: &[u8], base: &str) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256>>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(base.as_bytes());
    mac
}

#[cfg(test)]
mod tests;
