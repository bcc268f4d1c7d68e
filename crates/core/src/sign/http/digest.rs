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

/// Checks the body of a request piece by piece, as it comes.
#[derive(Clone, Debug)]
pub struct BodyCheck {
    /// `None`: there must be no body.
    digest: Option<ContentDigest>,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl BodyCheck {
    pub(super) fn new(digest: Option<ContentDigest>) -> Self {
        let asked = digest.as_ref();
        Self {
            sha256: asked.and_then(|digest| digest.sha256.map(|_| Sha256::new())),
            sha512: asked.and_then(|digest| digest.sha512.map(|_| Sha512::new())),
            digest,
        }
    }

    /// The next piece. [`SignatureError::NotCovered`] if there must be none.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), SignatureError> {
        if self.digest.is_none() && !piece.is_empty() {
            let needed = "content-digest, as there is a body";
            return Err(SignatureError::NotCovered(needed));
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(piece);
        }
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(piece);
        }
        Ok(())
    }

    /// After the last piece: [`SignatureError::Digest`] unless the body is the one that was signed.
    pub fn finish(self) -> Result<(), SignatureError> {
        let Some(digest) = self.digest else {
            return Ok(());
        };
        let differs = |wanted: Option<&[u8]>, got: Option<&[u8]>| match (wanted, got) {
            (Some(wanted), Some(got)) => !bool::from(wanted.ct_eq(got)),
            (wanted, _) => wanted.is_some(),
        };
        let sha256 = self.sha256.map(Sha256::finalize);
        let sha512 = self.sha512.map(Sha512::finalize);
        if differs(
            digest.sha256.as_ref().map(<[u8; 32]>::as_slice),
            sha256.as_deref(),
        ) || differs(
            digest.sha512.as_ref().map(<[u8; 64]>::as_slice),
            sha512.as_deref(),
        ) {
            return Err(SignatureError::Digest);
        }
        Ok(())
    }
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
        let mut check = BodyCheck::new(Some(self.clone()));
        check.update(body).is_ok() && check.finish().is_ok()
    }
}
