//! Where a secret is: in the configuration itself, in a file, or in Vault.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::describe::Native;
use super::mistake::Fault;
use super::spec::Scalar;
use super::values;
use crate::secret::Secret;

/// A secret, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Literal(Secret),
    /// `file:<path>`: what this file holds.
    File(PathBuf),
    /// `vault:<path>#<field>`: this field of what Vault or OpenBao has there.
    Vault {
        /// Such as `secret/data/openai` (KV version 2) or `database/creds/reader`.
        path: String,
        /// Such as `api_key`.
        field: String,
    },
}

impl SecretSource {
    /// The secret, if it needs no looking up.
    pub const fn literal(&self) -> Option<&Secret> {
        match self {
            Self::Literal(secret) => Some(secret),
            Self::File(_) | Self::Vault { .. } => None,
        }
    }
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self::Literal(secret)
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(secret) => secret.fmt(f),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault { path, field } => write!(f, "vault:{path}#{field}"),
        }
    }
}

/// A key that goes into a request's header.
pub(super) fn key() -> Scalar<SecretSource> {
    let allowed = "a key, best as a reference to the environment (`\"${NAME}\"`), to a file \
                   (`\"file:<path>\"`) or to Vault (`\"vault:<path>#<field>\"`)";
    scalar(allowed, |text| read(text, values::key))
}

/// A word that may be half of a secret.
pub(super) fn word() -> Scalar<SecretSource> {
    let literal = |text: &str| values::word_of(text).map(Secret::new);
    scalar(values::WORD, move |text| read(text, literal))
}

/// The value of a header.
pub(super) fn header_value() -> Scalar<SecretSource> {
    scalar("the value of a header", |text| {
        read(text, values::header_text)
    })
}

/// What Vault itself is called with.
pub(super) fn outside_vault() -> Scalar<SecretSource> {
    let allowed = "a secret, best as a reference to the environment (`\"${NAME}\"`) or to a file \
                   (`\"file:<path>\"`)";
    scalar(allowed, |text| match read(text, values::key)? {
        SecretSource::Vault { .. } => Err("what opens Vault cannot be in it".into()),
        source => Ok(source),
    })
}

fn scalar(
    allowed: &str,
    parse: impl Fn(&str) -> Result<SecretSource, Fault> + 'static,
) -> Scalar<SecretSource> {
    let schema = json!({"type": "string"});
    Scalar::new(Native::String, allowed, schema, parse, |_| Value::Null)
}

fn read(
    text: &str,
    literal: impl Fn(&str) -> Result<Secret, Fault>,
) -> Result<SecretSource, Fault> {
    if let Some(path) = text.strip_prefix("file:") {
        return values::path_of(path).map(SecretSource::File);
    }
    let Some(reference) = text.strip_prefix("vault:") else {
        return literal(text).map(SecretSource::Literal);
    };
    let Some((path, field)) = reference.split_once('#') else {
        return Err(Fault::from("it does not say which field").hint("write `vault:<path>#<field>`"));
    };
    // Both go into a URL or an error as they are.
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#%\\\"".contains(&b);
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    if !path.split('/').all(segment) {
        let fault = Fault::from("not the path of a secret in Vault");
        return Err(fault.hint("write it as the API has it, such as `secret/data/openai`"));
    }
    if !segment(field) {
        return Err("not the name of a field".into());
    }
    Ok(SecretSource::Vault {
        path: path.to_owned(),
        field: field.to_owned(),
    })
}
