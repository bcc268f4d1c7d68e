//! Signing a request, as a client does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use sfv::{BareItem, InnerList, Integer, Item, Key, Parameters};

use super::base::{covered, parameters, signature_base};
use super::error::SignatureError;
use super::fields::{Fields, Request};
use super::{ALGORITHM, TAG, mac};
use crate::id::UnixMillis;

/// What goes into a signature beside the request.
#[derive(Debug)]
pub struct Signer<'a> {
    /// Names the secret; visible ASCII.
    pub key_id: &'a str,
    /// Never used before with this key: 16 random bytes, in base64 or so; visible ASCII.
    pub nonce: &'a str,
    /// When it is signed, to the second.
    pub created: UnixMillis,
    /// When it is to stop being good, to the second, if that is before the server's own limit.
    pub expires: Option<UnixMillis>,
}

/// The two header fields that carry a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The value of `Signature-Input`.
    pub signature_input: String,
    /// The value of `Signature`.
    pub signature: String,
}

impl Signer<'_> {
    /// Signs method, authority, path and, where there are any, query and `Content-Digest`. A request
    /// with a body needs that field (see [`content_digest`](super::content_digest)) to be accepted.
    pub fn sign<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
        secret: &[u8],
    ) -> Result<Signed, SignatureError> {
        let mut names = vec!["@method", "@authority", "@path"];
        names.extend(request.query().map(|_| "@query"));
        names.extend(request.field("content-digest").map(|_| "content-digest"));
        let items: Result<Vec<_>, _> = names
            .into_iter()
            .map(|name| string(name).map(Item::new))
            .collect();
        let list = InnerList::with_params(items?, self.params()?);
        let covered = covered(&list)?;
        let input = parameters(list);
        let base = signature_base(&covered, &input, request)?;
        let signature = STANDARD.encode(mac(secret, &base).finalize().into_bytes());
        Ok(Signed {
            signature_input: format!("sig1={input}"),
            signature: format!("sig1=:{signature}:"),
        })
    }

    fn params(&self) -> Result<Parameters, SignatureError> {
        let mut params = Parameters::new();
        let mut put = |name: &str, value: BareItem| {
            let name = Key::from_string(name.to_owned());
            name.map(|name| params.insert(name, value)).is_ok()
        };
        let integer = |at: UnixMillis| {
            let seconds = i64::try_from(at.0 / 1000).ok();
            let seconds = seconds.and_then(|seconds| Integer::try_from(seconds).ok());
            seconds.map(BareItem::Integer).ok_or(UNSIGNABLE)
        };
        put("created", integer(self.created)?);
        if let Some(expires) = self.expires {
            put("expires", integer(expires)?);
        }
        put("nonce", string(self.nonce)?);
        put("keyid", string(self.key_id)?);
        put("alg", string(ALGORITHM)?);
        put("tag", string(TAG)?);
        Ok(params)
    }
}

const UNSIGNABLE: SignatureError = SignatureError::Malformed {
    field: "Signature-Input",
    why: "key id and nonce are visible ASCII, and times are before the year 30000000",
};

fn string(text: &str) -> Result<BareItem, SignatureError> {
    let text = sfv::String::from_string(text.to_owned());
    text.map(BareItem::String).map_err(|_| UNSIGNABLE)
}
