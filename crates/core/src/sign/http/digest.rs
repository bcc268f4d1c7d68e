//! `Content-Digest` (RFC 9530).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::error::SignatureError;

/// The value of a `Content-Digest` field for `body`, with `sha-256`.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// What a `Content-Digest` field says of a body. Algorithms other than `sha-256` and `sha-512` are
/// not looked at, as RFC 9530, 5 calls the others insecure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl ContentDigest {
    /// Reads the field.
    pub fn parse(value: &str) -> Result<Self, SignatureError> {
        let malformed = |why| SignatureError::Malformed {
            field: "Content-Digest",
            why,
        };
        let not_a_dictionary = "it is not a dictionary of byte sequences";
        let dictionary: Dictionary = Parser::new(value)
            .parse()
            .map_err(|_| malformed(not_a_dictionary))?;
        let bytes = |name: &str| match dictionary.get(name) {
            None => Ok(None),
            Some(ListEntry::Item(Item {
                bare_item: BareItem::ByteSequence(bytes),
                ..
            })) => Ok(Some(bytes.as_slice())),
            Some(_) => Err(malformed(not_a_dictionary)),
        };
        let wrong_length = |_| malformed("a digest has the wrong length");
        let sha256 = bytes("sha-256")?.map(<[u8; 32]>::try_from).transpose();
        let sha512 = bytes("sha-512")?.map(<[u8; 64]>::try_from).transpose();
        let digest = Self {
            sha256: sha256.map_err(wrong_length)?,
            sha512: sha512.map_err(wrong_length)?,
        };
        if digest.sha256.is_none() && digest.sha512.is_none() {
            return Err(malformed("it needs sha-256 or sha-512"));
        }
        Ok(digest)
    }

    /// Whether `body` has all these digests.
    pub fn matches(&self, body: &[u8]) -> bool {
        let sha256 = |digest: &[u8; 32]| bool::from(Sha256::digest(body).ct_eq(digest));
        let sha512 = |digest: &[u8; 64]| bool::from(Sha512::digest(body).ct_eq(digest));
        self.sha256.as_ref().is_none_or(sha256) && self.sha512.as_ref().is_none_or(sha512)
    }
}
