//! What is the same in all requests to an upstream.

use everstream_core::dialect::ProviderDialect;
use everstream_core::frame::http1::{Fields, RequestError};
use everstream_core::secret::Secret;

use super::auth::{self, Signer};
use super::{AwsSigner, BaseUrl, SpecError, UpstreamErrorKind, UpstreamSpec};

/// The only version of its API that Anthropic lists as current; looked up on 2026-11-22.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What requests are sent with, until that changes.
pub(super) struct Presented {
    /// The headers that every request has, with each of the keys; at least one.
    fields: Vec<Fields>,
    pub(super) signer: Signer,
    awaited: bool,
}

impl Presented {
    pub(super) fn new(spec: &UpstreamSpec, base: &BaseUrl) -> Result<Self, SpecError> {
        let fields = standing_fields(spec, base).map_err(|error| SpecError::Header {
            name: spec.name.clone(),
            error,
        })?;
        Ok(Self {
            fields,
            signer: Signer::new(spec, base)?,
            awaited: spec.awaited,
        })
    }

    /// How many keys there are; one, too, for an upstream that wants none.
    pub(super) fn keys(&self) -> usize {
        self.fields.len()
    }

    /// The headers that every request has, with the key at this place; of places that are not there
    /// the first.
    ///
    /// # Errors
    /// While there is nothing to call it with.
    pub(super) fn fields(&self, key: usize) -> Result<&Fields, UpstreamErrorKind> {
        if self.awaited {
            return Err(UpstreamErrorKind::Awaited);
        }
        Ok(self.fields.get(key).unwrap_or(&self.fields[0]))
    }
}

/// Host, key and the like: the headers that are the same for every request, with each of the keys,
/// or once without any.
fn standing_fields(spec: &UpstreamSpec, base: &BaseUrl) -> Result<Vec<Fields>, RequestError> {
    let first = fields_with(spec.api_key.as_ref(), spec, base);
    let further = spec.further_keys.iter();
    let further = further.map(|key| fields_with(Some(key), spec, base));
    std::iter::once(first).chain(further).collect()
}

fn fields_with(
    key: Option<&Secret>,
    spec: &UpstreamSpec,
    base: &BaseUrl,
) -> Result<Fields, RequestError> {
    let mut fields = Fields::default();
    let mut push_default = |name: &str, value: &str| {
        let replaced = spec
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name));
        if replaced {
            Ok(())
        } else {
            fields.push(name, value)
        }
    };
    push_default("host", &base.authority())?;
    push_default(
        "user-agent",
        concat!("everstream/", env!("CARGO_PKG_VERSION")),
    )?;
    push_default("accept-encoding", "identity")?;
    if let Some((name, value)) = key.and_then(|key| auth::standing(spec, key)) {
        push_default(name, &value)?;
    }
    if spec.dialect == ProviderDialect::Anthropic {
        push_default("anthropic-version", ANTHROPIC_VERSION)?;
    }
    for (name, value) in &spec.headers {
        fields.push(name, value)?;
    }
    Ok(fields)
}

/// The keys, and the values of headers, of which the last word is the credential (`Bearer ...`).
pub(super) fn secrets_of(spec: &UpstreamSpec) -> impl Iterator<Item = Secret> {
    let values = spec.headers.iter().filter_map(|(_, value)| {
        let word = value.split_ascii_whitespace().next_back()?;
        Some(Secret::new(word))
    });
    let signing = spec.aws.iter().flat_map(AwsSigner::secrets);
    let keys = spec.api_key.iter().chain(&spec.further_keys).cloned();
    keys.chain(signing).chain(values)
}
