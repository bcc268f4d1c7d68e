//! A token, taken apart (RFC 7515, 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::error::JwtError;
use super::{Algorithm, claims};
use crate::limits::JWT_BYTES;

/// A token that is well formed. Nothing of it is to be believed before
/// [`Issuer::accept`](super::Issuer::accept).
#[derive(Debug)]
pub struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Value,
    message: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Whether text that was sent as a bearer's is meant to be a token, rather than an API key.
    pub fn is_meant(text: &str) -> bool {
        // Every header begins with `{"`.
        text.starts_with("eyJ") && text.bytes().filter(|&byte| byte == b'.').count() == 2
    }

    /// Takes a token apart.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > JWT_BYTES {
            return Err(JwtError::Malformed("it is too long"));
        }
        let parts = text.rsplit_once('.').and_then(|(message, signature)| {
            let (header, claims) = message.split_once('.')?;
            Some((message, header, claims, signature))
        });
        let three = JwtError::Malformed("it needs three parts in base64url, with dots between");
        let (message, header, claims, signature) = parts.ok_or(three)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| three);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);

        let json = |_| JwtError::Malformed("its header and its claims must be JSON objects");
        let header: Header = serde_json::from_slice(&header).map_err(json)?;
        let claims: Map<String, Value> = serde_json::from_slice(&claims).map_err(json)?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(JwtError::Algorithm)?;
        if header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        let is_kind = |typ: &String| {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt")
        };
        if !header.typ.as_ref().is_none_or(is_kind) {
            return Err(JwtError::Kind);
        }
        Ok(Self {
            algorithm,
            key_id: header.kid,
            claims: Value::Object(claims),
            message,
            signature,
        })
    }

    /// Who says to have issued it: tells which [`Issuer`](super::Issuer) is to look at it.
    pub fn issuer(&self) -> Option<&str> {
        claims::text(&self.claims, "iss")
    }

    /// The key it names.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn claims(&self) -> &Value {
        &self.claims
    }

    /// What is signed.
    pub(super) const fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}
