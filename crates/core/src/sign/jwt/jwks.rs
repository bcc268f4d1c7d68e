//! Key sets of issuers (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Algorithm;
use super::error::JwksError;
use crate::limits::{JWKS_BYTES, JWKS_KEYS};

/// A public key, for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// For RS256: modulus and exponent, big-endian without leading zeros; 2048 to 8192 bits.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// For ES256: a point on P-256, uncompressed as in SEC 1 (a 4, x, y). Not checked to be on it.
    P256([u8; 65]),
    /// For `EdDSA`: a public key of Ed25519.
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// What it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }
}

/// The keys of an issuer that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<(Option<String>, PublicKey)>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads a key set. Keys of other kinds or for other uses are left out, as RFC 7517, 5 says.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        if bytes.len() > JWKS_BYTES {
            return Err(JwksError::TooLarge);
        }
        let document: Document<'_> =
            serde_json::from_slice(bytes).map_err(|_| JwksError::Malformed)?;
        let usable = document.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_str(key.get()).ok()?;
            let key = jwk.public_key().filter(|key| jwk.is_for(key.algorithm()))?;
            Some((jwk.kid, key))
        });
        let keys: Vec<_> = usable.take(JWKS_KEYS).collect();
        if keys.is_empty() {
            return Err(JwksError::NoKeys);
        }
        Ok(Self { keys })
    }

    /// The key with this id, for this algorithm; without an id, the only one for it.
    pub fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&PublicKey> {
        let fits = self
            .keys
            .iter()
            .filter(|(_, key)| key.algorithm() == algorithm);
        let mut fits = fits.filter(|(own, _)| id.is_none() || own.as_deref() == id);
        let (_, key) = fits.next()?;
        (id.is_some() || fits.next().is_none()).then_some(key)
    }
}

impl Jwk {
    fn public_key(&self) -> Option<PublicKey> {
        let curve = self.crv.as_deref();
        match self.kty.as_str() {
            "RSA" => {
                let (n, e) = (number(self.n.as_ref()?)?, number(self.e.as_ref()?)?);
                let sound = (256..=1024).contains(&n.len()) && (1..=8).contains(&e.len());
                sound.then_some(PublicKey::Rsa { n, e })
            }
            "EC" if curve == Some("P-256") => {
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&coordinate(self.x.as_ref()?)?);
                point[33..].copy_from_slice(&coordinate(self.y.as_ref()?)?);
                Some(PublicKey::P256(point))
            }
            "OKP" if curve == Some("Ed25519") => {
                coordinate(self.x.as_ref()?).map(PublicKey::Ed25519)
            }
            _ => None,
        }
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let named = |alg: &String| Algorithm::from_name(alg) == Some(algorithm);
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        self.alg.as_ref().is_none_or(named)
            && self.purpose.as_ref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(verifies)
    }
}

/// A number without its leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(zeros..).map(<[u8]>::to_vec)
}

fn coordinate(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
