//! A signature as it came with a request, and what remains of it once it was verified.

use hmac::Mac as _;
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, Parameters, Parser};

use super::base::{Component, covered, parameters, signature_base};
use super::digest::{BodyCheck, ContentDigest};
use super::error::SignatureError;
use super::fields::{Fields, Request};
use super::{ALGORITHM, ClockWindow, TAG, mac};
use crate::id::UnixMillis;
use crate::limits;

/// A signature that is well formed and covers what it must. Whether it is genuine is for
/// [`verify`](Self::verify) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    covered: Vec<Component>,
    parameters: String,
    signature: Vec<u8>,
    key_id: String,
    nonce: String,
    /// Unix seconds.
    created: u64,
    /// Unix seconds.
    expires: Option<u64>,
    is_tagged: bool,
}

/// What a genuine signature vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key_id: String,
    /// Not to be accepted again from this key.
    pub nonce: String,
    /// When the signature stops being accepted for its age: until then its nonce must be remembered.
    pub good_until: UnixMillis,
    digest: Option<ContentDigest>,
}

impl Verified {
    /// What checks that the body is the one that was signed. To be used for every request: one
    /// without a covered digest must have no body.
    pub fn body_check(&self) -> BodyCheck {
        BodyCheck::new(self.digest.clone())
    }
}

impl Presented {
    /// Takes the signature out of a request; `None` if it has none.
    pub fn read<F: Fields + ?Sized>(
        request: &Request<'_, F>,
    ) -> Result<Option<Self>, SignatureError> {
        let mut inputs = dictionary(request, "Signature-Input", "signature-input")?;
        let mut signatures = dictionary(request, "Signature", "signature")?;
        if inputs.is_empty() && signatures.is_empty() {
            return Ok(None);
        }
        let label = choose(&inputs).ok_or(SignatureError::NoSuchLabel)?;
        let (Some(ListEntry::InnerList(input)), Some(signature)) = (
            inputs.shift_remove(label.as_str()),
            signatures.shift_remove(label.as_str()),
        ) else {
            return Err(SignatureError::NoSuchLabel);
        };
        let ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(signature),
            ..
        }) = signature
        else {
            return Err(malformed("Signature", "a signature is a byte sequence"));
        };
        let presented = Self::new(input, signature)?;
        presented.covers_enough(request)?;
        Ok(Some(presented))
    }

    fn new(input: InnerList, signature: Vec<u8>) -> Result<Self, SignatureError> {
        let covered = covered(&input)?;
        let params = &input.params;
        let missing = SignatureError::MissingParameter;
        if text(params, "alg")?.is_some_and(|alg| alg != ALGORITHM) {
            return Err(SignatureError::Algorithm);
        }
        Ok(Self {
            covered,
            signature,
            key_id: text(params, "keyid")?.ok_or(missing("keyid"))?.to_owned(),
            nonce: text(params, "nonce")?.ok_or(missing("nonce"))?.to_owned(),
            created: seconds(params, "created")?.ok_or(missing("created"))?,
            expires: seconds(params, "expires")?,
            is_tagged: text(params, "tag")? == Some(TAG),
            parameters: parameters(input),
        })
    }

    /// Whether its tag says that it is for this program.
    pub const fn is_tagged(&self) -> bool {
        self.is_tagged
    }

    /// Whose secret is to verify it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks that the signature was made with `secret`, for this request, and is good at `now`.
    ///
    /// For a key id that is not known, say [`SignatureError::Mismatch`] too.
    pub fn verify<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
        secret: &[u8],
        now: UnixMillis,
        window: ClockWindow,
    ) -> Result<Verified, SignatureError> {
        let good_until = self.good_until(now, window)?;
        let base = signature_base(&self.covered, &self.parameters, request)?;
        // `verify_slice` takes as long for every wrong signature.
        mac(secret, &base)
            .verify_slice(&self.signature)
            .map_err(|_| SignatureError::Mismatch)?;
        let digest = self.covers("content-digest").then(|| {
            let value = request.field("content-digest").unwrap_or_default();
            ContentDigest::parse(&value)
        });
        Ok(Verified {
            digest: digest.transpose()?,
            key_id: self.key_id.clone(),
            nonce: self.nonce.clone(),
            good_until,
        })
    }

    /// When it stops being good, if it is good now.
    fn good_until(
        &self,
        now: UnixMillis,
        window: ClockWindow,
    ) -> Result<UnixMillis, SignatureError> {
        let created = UnixMillis(self.created.saturating_mul(1000));
        if created > now.plus(window.skew) {
            return Err(SignatureError::TooNew {
                ahead: created.since(now),
                skew: window.skew,
            });
        }
        let mut end = created.plus(window.max_age);
        if let Some(expires) = self.expires {
            end = end.min(UnixMillis(expires.saturating_mul(1000)));
        }
        let end = end.plus(window.skew);
        if self.expires.is_some_and(|expires| expires < self.created) {
            return Err(SignatureError::Backwards);
        }
        if end < now {
            return Err(SignatureError::TooOld {
                age: now.since(created),
                since: now.since(end),
            });
        }
        Ok(end)
    }

    fn covers(&self, name: &str) -> bool {
        self.covered
            .iter()
            .any(|component| component.name() == name)
    }

    fn covers_enough<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
    ) -> Result<(), SignatureError> {
        let path_and_query =
            self.covers("@path") && (request.query().is_none() || self.covers("@query"));
        let (uri, target) = (self.covers("@target-uri"), self.covers("@request-target"));
        if !self.covers("@method") {
            return Err(SignatureError::NotCovered("@method"));
        }
        if !(uri || self.covers("@authority")) {
            return Err(SignatureError::NotCovered("@authority"));
        }
        if !(uri || target || path_and_query) {
            let needed = "@path, with @query if there is a query, or @target-uri";
            return Err(SignatureError::NotCovered(needed));
        }
        Ok(())
    }
}

/// The label of the signature that is meant: the only one, or the one with our tag.
fn choose(inputs: &Dictionary) -> Option<String> {
    let tagged = |entry: &ListEntry| match entry {
        ListEntry::InnerList(list) => text(&list.params, "tag").is_ok_and(|tag| tag == Some(TAG)),
        ListEntry::Item(_) => false,
    };
    let only = inputs.len() == 1;
    let mut meant = inputs.iter().filter(|(_, entry)| only || tagged(entry));
    let (label, _) = meant.next()?;
    meant.next().is_none().then(|| label.as_str().to_owned())
}

fn dictionary<F: Fields + ?Sized>(
    request: &Request<'_, F>,
    field: &'static str,
    name: &str,
) -> Result<Dictionary, SignatureError> {
    let mut bytes = 0;
    request
        .fields
        .each(name, &mut |value| bytes += value.len() + 2);
    if bytes == 0 {
        return Ok(Dictionary::default());
    }
    if bytes > limits::SIGNATURE_BYTES {
        return Err(malformed(field, "it is too long"));
    }
    let value = request
        .field(name)
        .ok_or(malformed(field, "it is not ASCII"))?;
    let why = "it is not a dictionary of structured fields (RFC 9651)";
    let parsed = Parser::new(&value).parse();
    parsed.map_err(|_| malformed(field, why))
}

fn text<'a>(params: &'a Parameters, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let Some(value) = params.get(name) else {
        return Ok(None);
    };
    let value = value.as_string().map(sfv::StringRef::as_str);
    let value =
        value.filter(|value| (1..=limits::SIGNATURE_PARAMETER_BYTES).contains(&value.len()));
    value.map(Some).ok_or(malformed(
        "Signature-Input",
        "keyid, nonce, alg and tag are strings of 1 to 256 characters",
    ))
}

fn seconds(params: &Parameters, name: &str) -> Result<Option<u64>, SignatureError> {
    let Some(value) = params.get(name) else {
        return Ok(None);
    };
    let value = value
        .as_integer()
        .and_then(|value| u64::try_from(i64::from(value)).ok());
    value.map(Some).ok_or(malformed(
        "Signature-Input",
        "created and expires are whole seconds since 1970",
    ))
}

const fn malformed(field: &'static str, why: &'static str) -> SignatureError {
    SignatureError::Malformed { field, why }
}
