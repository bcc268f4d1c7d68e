//! JSON Web Tokens (RFC 7519) of other issuers, by the rules of RFC 8725.
//!
//! The algorithms are those that the configuration pins for an issuer, never what a token says of
//! itself; there are only three, all with public keys, so that neither `none` nor a key that is
//! taken for a shared secret can pass. A key is used for its own algorithm alone. Keys that a token
//! brings or points to (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
//!
//! The signature itself is checked by a [`Verify`], as cryptography with public keys comes with a
//! library that the core does not know; `now` is a parameter, and key sets are fetched elsewhere.

mod claims;
mod error;
mod grant;
mod jwks;
mod token;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::{ProjectId, UnixMillis};

pub use claims::{Mapping, ProjectFrom};
pub use error::{JwksError, JwtError};
pub use grant::{Grant, Grants, NoGrant};
pub use jwks::{Jwks, PublicKey};
pub use token::Token;

/// How a token may be signed (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256; the signature is both numbers, 32 bytes each.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name in `alg`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // The second is its name since RFC 9864.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Checks signatures.
pub trait Verify {
    /// Whether `signature` is one of `message` with this key, by the key's own algorithm.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// Whose tokens are accepted, and what they mean.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What `iss` must be, to the letter.
    pub name: String,
    /// Of these, one must be in `aud`.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock may be from ours.
    pub skew: Duration,
    /// What its claims mean here.
    pub mapping: Mapping,
}

/// Who a token says its bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`, for the audit log.
    pub subject: Option<String>,
    /// The project it belongs to.
    pub project: ProjectId,
    /// What it may do.
    pub grants: BTreeSet<Grant>,
    /// When it is to be asked again, the skew included.
    pub good_until: UnixMillis,
}

impl Issuer {
    /// Checks a token of this issuer, at `now`.
    ///
    /// # Errors
    /// [`JwtError::UnknownKey`] may mean that `keys` are old: fetch them anew, but not more often
    /// than so, as anybody can send tokens with unknown keys.
    pub fn accept(
        &self,
        token: &Token<'_>,
        keys: &Jwks,
        verifier: &dyn Verify,
        now: UnixMillis,
    ) -> Result<Identity, JwtError> {
        if token.issuer() != Some(&self.name) {
            return Err(JwtError::Issuer);
        }
        if !self.algorithms.contains(&token.algorithm()) {
            return Err(JwtError::Algorithm);
        }
        let key = keys.key(token.key_id(), token.algorithm());
        let key = key.ok_or(JwtError::UnknownKey)?;
        if !verifier.verify(key, token.message(), token.signature()) {
            return Err(JwtError::Signature);
        }
        let claims = token.claims();
        let good_until = claims::good_until(claims, self.skew, now)?;
        if !claims::is_for(claims, &self.audiences) {
            return Err(JwtError::Audience);
        }
        Ok(Identity {
            subject: claims::text(claims, "sub").map(str::to_owned),
            project: self.mapping.project(claims)?,
            grants: self.mapping.grants(claims),
            good_until,
        })
    }
}

#[cfg(test)]
mod tests;
