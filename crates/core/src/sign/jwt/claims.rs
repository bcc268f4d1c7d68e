//! What claims say (RFC 7519, 4.1), and what they mean here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::error::JwtError;
use super::{Grant, Grants};
use crate::id::{ProjectId, UnixMillis};

/// What an issuer's claims mean. Places of claims are JSON pointers (RFC 6901), such as
/// `/realm_access/roles` or, for a claim with slashes in its name, `/https:~1~1acme.example~1team`.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The project of its bearers.
    pub project: ProjectFrom,
    /// Where the scopes are: a list of strings, or one string with spaces between. A token without
    /// it may do nothing. `None`: scopes are not looked at, and each token may do all.
    pub scopes: Option<String>,
    /// What a scope of the issuer grants here; others grant nothing. If it is empty they are read as
    /// what they say.
    pub scope_map: BTreeMap<String, Grants>,
}

/// Where the project comes from.
#[derive(Clone, Debug)]
pub enum ProjectFrom {
    /// All of the issuer's bearers belong to it.
    Fixed(ProjectId),
    /// A claim says it.
    Claim {
        /// Where: a string, or a list of strings of which one must mean a project.
        place: String,
        /// What a value means; others mean nothing. If it is empty they are names of projects.
        map: BTreeMap<String, ProjectId>,
    },
}

impl Mapping {
    pub(super) fn project(&self, claims: &Value) -> Result<ProjectId, JwtError> {
        let (place, map) = match &self.project {
            ProjectFrom::Fixed(project) => return Ok(project.clone()),
            ProjectFrom::Claim { place, map } => (place, map),
        };
        let means = |value: &&str| {
            if map.is_empty() {
                value.parse().ok()
            } else {
                map.get(*value).cloned()
            }
        };
        let values = claims.pointer(place).into_iter().flat_map(strings);
        let projects: BTreeSet<ProjectId> = values.filter_map(|value| means(&value)).collect();
        let mut projects = projects.into_iter();
        match (projects.next(), projects.next()) {
            (Some(project), None) => Ok(project),
            _ => Err(JwtError::Project),
        }
    }

    pub(super) fn grants(&self, claims: &Value) -> BTreeSet<Grant> {
        let Some(place) = &self.scopes else {
            return [Grant::All].into();
        };
        let said = claims.pointer(place).into_iter().flat_map(strings);
        let said = said.flat_map(str::split_ascii_whitespace);
        if self.scope_map.is_empty() {
            return said.filter_map(|scope| scope.parse().ok()).collect();
        }
        let mapped = said.filter_map(|scope| self.scope_map.get(scope));
        mapped.flat_map(|grants| &grants.0).cloned().collect()
    }
}

/// When the token ends, if it is good now.
pub(super) fn good_until(
    claims: &Value,
    skew: Duration,
    now: UnixMillis,
) -> Result<UnixMillis, JwtError> {
    let end = claims.get("exp").and_then(numeric_date);
    let end = end.ok_or(JwtError::Expired)?.plus(skew);
    if now >= end {
        return Err(JwtError::Expired);
    }
    for start in ["nbf", "iat"].iter().filter_map(|name| claims.get(name)) {
        let start = numeric_date(start).ok_or(JwtError::TooEarly)?;
        if start > now.plus(skew) {
            return Err(JwtError::TooEarly);
        }
    }
    Ok(end)
}

/// Whether one of the audiences is meant.
pub(super) fn is_for(claims: &Value, audiences: &[String]) -> bool {
    let mut meant = claims.get("aud").into_iter().flat_map(strings);
    meant.any(|aud| audiences.iter().any(|own| own == aud))
}

/// A claim that is a string.
pub(super) fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A string, or the strings of a list.
fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    value
        .as_str()
        .into_iter()
        .chain(list.iter().filter_map(Value::as_str))
}

/// Seconds since 1970, which may have a fraction; it is dropped.
fn numeric_date(value: &Value) -> Option<UnixMillis> {
    const FARTHEST: f64 = 1e12;
    let fraction = || {
        let seconds = value
            .as_f64()
            .filter(|seconds| (0.0..=FARTHEST).contains(seconds))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and 10^12"
        )]
        Some(seconds as u64)
    };
    let seconds = value.as_u64().or_else(fraction)?;
    Some(UnixMillis(seconds.saturating_mul(1000)))
}
