//! How this gateway shows an upstream who it is.

use everstream_core::provider::Auth;
use everstream_core::secret::Secret;

use super::google::Tokens;
use super::{AwsSigner, BaseUrl, Request, SpecError, UpstreamErrorKind, UpstreamSpec};

/// What each request is signed with.
pub(super) enum Signer {
    /// The headers that all requests have say it.
    Standing,
    /// Tokens of Google's, which are good for an hour.
    Google(Tokens),
    /// AWS's signature of the request itself, and the host that is a part of it.
    Aws(AwsSigner, String),
}

impl Signer {
    pub(super) fn new(spec: &UpstreamSpec, base: &BaseUrl) -> Result<Self, SpecError> {
        if let Some(signer) = &spec.aws {
            return Ok(Self::Aws(signer.clone(), base.authority()));
        }
        let is_own = |(name, _): &(String, _)| name.eq_ignore_ascii_case("authorization");
        let given = spec.api_key.is_some() || spec.headers.iter().any(is_own);
        match auth_of(spec) {
            Auth::Google if !given => Ok(Self::Google(Tokens::new(spec)?)),
            _ => Ok(Self::Standing),
        }
    }

    /// Whether nothing is to be said for one request alone.
    pub(super) const fn standing(&self) -> bool {
        matches!(self, Self::Standing)
    }

    /// The headers of this one request that say who sends it; `target` is its path and query.
    pub(super) async fn headers(
        &self,
        request: &Request<'_>,
        target: &str,
    ) -> Result<Vec<(&'static str, String)>, UpstreamErrorKind> {
        match self {
            Self::Standing => Ok(Vec::new()),
            Self::Aws(signer, host) => Ok(signer.headers(host, target, request)),
            Self::Google(tokens) => {
                let token = tokens.get().await.map_err(UpstreamErrorKind::Token)?;
                Ok(vec![(
                    "authorization",
                    format!("Bearer {}", token.expose()),
                )])
            }
        }
    }

    /// The upstream did not take what a request was signed with.
    pub(super) fn refused(&self) {
        match self {
            Self::Standing | Self::Aws(..) => {}
            Self::Google(tokens) => tokens.refused(),
        }
    }
}

/// The header that has a key in it, if it is sent as it is.
pub(super) fn standing(spec: &UpstreamSpec, key: &Secret) -> Option<(&'static str, String)> {
    let key = key.expose();
    match auth_of(spec) {
        // A token of the operator's own stands for those that would be fetched.
        Auth::Bearer | Auth::Google => Some(("authorization", format!("Bearer {key}"))),
        Auth::XApiKey => Some(("x-api-key", key.to_owned())),
        Auth::ApiKey => Some(("api-key", key.to_owned())),
        Auth::XGoogApiKey => Some(("x-goog-api-key", key.to_owned())),
        Auth::None => None,
    }
}

fn auth_of(spec: &UpstreamSpec) -> Auth {
    let usual = || Auth::of_dialect(spec.dialect);
    spec.auth.unwrap_or_else(usual)
}
