//! API keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::policy::limit::bound::Bound;
use serde::{Deserialize, Serialize};

use super::OrganisationId;
use crate::sql::CatalogError;

/// A key's public id: 8 to 32 characters of `a-z 0-9`. It stands in the key's text before the secret,
/// and is all of it that may be shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, CatalogError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if (8..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(CatalogError::Invalid(
                "a key id has 8 to 32 characters of a-z 0-9".to_owned(),
            ))
        }
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A keyed hash of a key's secret: what is stored of it. It cannot be printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret hash]")
    }
}

/// One secret of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecret {
    /// 1 for the key's first secret, one more with each rotation.
    pub number: u32,
    /// What verifies it. How it is made, with which pepper, is the caller's business.
    pub hash: SecretHash,
    /// Since when it is good.
    pub created_at: UnixMillis,
    /// Until when, exclusively, if a newer one replaces it.
    pub expires_at: Option<UnixMillis>,
}

/// Which of the named things a key may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// All there are.
    #[default]
    All,
    /// These. What a name or a pattern means is decided where it is used.
    Only(Vec<String>),
}

/// What a key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// The APIs.
    #[serde(default)]
    pub surfaces: Allow,
    /// The models.
    #[serde(default)]
    pub models: Allow,
    /// The topics.
    #[serde(default)]
    pub topics: Allow,
    /// How much of it, beside the limits that the configuration has for all keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Bound>,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its id, drawn by the caller.
    pub id: KeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Its first secret.
    pub hash: SecretHash,
    /// Until when it is good, exclusively.
    pub expires_at: Option<UnixMillis>,
}

/// What is to change of a key; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPatch {
    /// The APIs that it may use.
    pub surfaces: Option<Allow>,
    /// The models.
    pub models: Option<Allow>,
    /// The topics.
    pub topics: Option<Allow>,
    /// Limits of its own, all of them.
    pub limits: Option<Vec<Bound>>,
    /// When it ends.
    pub expiry: Option<Expiry>,
}

impl KeyPatch {
    /// What a key may do then, and until when.
    pub(in crate::sql) fn applied(self, key: ApiKey) -> (Scopes, Option<UnixMillis>) {
        let scopes = Scopes {
            surfaces: self.surfaces.unwrap_or(key.scopes.surfaces),
            models: self.models.unwrap_or(key.scopes.models),
            topics: self.topics.unwrap_or(key.scopes.topics),
            limits: self.limits.unwrap_or(key.scopes.limits),
        };
        let expires_at = match self.expiry {
            None => key.expires_at,
            Some(Expiry::Never) => None,
            Some(Expiry::At(end)) => Some(end),
        };
        (scopes, expires_at)
    }
}

/// When a key is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never by itself.
    Never,
    /// Then: it is good until this time, exclusively.
    At(UnixMillis),
}

/// A key, with all that admission has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// Who pays.
    pub organisation: OrganisationId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Since when it is known.
    pub created_at: UnixMillis,
    /// Until when it is good, exclusively.
    pub expires_at: Option<UnixMillis>,
    /// Since when it is not good any more.
    pub revoked_at: Option<UnixMillis>,
    /// Whether its project or organisation is suspended.
    pub suspended: bool,
    /// Its secrets, newest first: two at most. A replaced one may be past its time.
    pub secrets: Vec<KeySecret>,
}

impl ApiKey {
    /// Whether anybody may come in with it at `now`.
    pub fn is_good(&self, now: UnixMillis) -> bool {
        self.revoked_at.is_none() && !self.suspended && self.expires_at.is_none_or(|end| now < end)
    }

    /// The secrets that verify a request at `now`: none unless the key [is good](Self::is_good).
    pub fn live_secrets(&self, now: UnixMillis) -> impl Iterator<Item = &KeySecret> {
        let is_good = self.is_good(now);
        self.secrets
            .iter()
            .filter(move |secret| is_good && secret.expires_at.is_none_or(|end| now < end))
    }
}
