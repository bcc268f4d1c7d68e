//! What operators wish for keys.

use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits;
use everstream_core::policy::limit::bound::Bound;
use everstream_core::policy::scope::{Api, is_listed};
use everstream_core::suggest::nearest;
use everstream_core::units::{parse_duration, show_duration};
use everstream_store::sql::values::{Allow, Expiry, KeyPatch, Scopes};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize, JsonSchema)]
pub(super) struct KeyWish {
    /// Whose it is to be.
    pub(super) project: ProjectId,
    /// What people call it.
    pub(super) name: String,
    /// Whether the project is made if there is none, in the organisation `default`.
    #[serde(default)]
    pub(super) create_project: bool,
    /// The APIs that it may use; all if absent or null.
    surfaces: Option<Surfaces>,
    /// The models that it may ask, by name or by beginning (`gpt-4o*`); all if absent or null.
    models: Option<Names>,
    /// The topics that it may use; all if absent or null.
    topics: Option<Names>,
    /// Limits of its own, such as `requests=60/1m`, `input-tokens=100000/1h` or `concurrency=5`.
    #[serde(default)]
    limits: Bounds,
    /// When it ends, in milliseconds since 1970; never if absent or null.
    pub(super) expires_at: Option<UnixMillis>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct KeyChange {
    /// The APIs that it may use; null for all. What is absent here stays as it is.
    #[serde(default)]
    surfaces: Change<Surfaces>,
    /// The models that it may ask; null for all.
    #[serde(default)]
    models: Change<Names>,
    /// The topics that it may use; null for all.
    #[serde(default)]
    topics: Change<Names>,
    /// Limits of its own, all of them.
    limits: Option<Bounds>,
    /// When it ends, in milliseconds since 1970; null for never.
    #[serde(default)]
    expires_at: Change<UnixMillis>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Rotation {
    /// How long the present secret is good beside the new one, such as `24h`, which it is if absent;
    /// `0s` ends it at once.
    overlap: Option<String>,
}

/// What is wished of a field that may be null: nothing if it is absent.
#[derive(Clone, Copy, Debug, Default, JsonSchema)]
#[schemars(with = "Option<T>", inline)]
enum Change<T> {
    /// To stay as it is.
    #[default]
    Nothing,
    /// To have this value, or none.
    To(Option<T>),
}

/// Names that a key is good for.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "Vec<String>")]
struct Names(Vec<String>);

/// Names of APIs.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "Vec<String>")]
struct Surfaces(Names);

/// Limits of a key.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(with = "Vec<String>")]
struct Bounds(Vec<Bound>);

impl KeyWish {
    /// What the key may do.
    pub(super) fn scopes(&self) -> Scopes {
        Scopes {
            surfaces: allow(self.surfaces.as_ref().map(|Surfaces(names)| names)),
            models: allow(self.models.as_ref()),
            topics: allow(self.topics.as_ref()),
            limits: self.limits.0.clone(),
        }
    }
}

impl KeyChange {
    /// What is to change.
    pub(super) fn patch(&self) -> KeyPatch {
        KeyPatch {
            surfaces: self
                .surfaces
                .wished(|names| allow(names.map(|Surfaces(names)| names))),
            models: self.models.wished(allow),
            topics: self.topics.wished(allow),
            limits: self.limits.as_ref().map(|Bounds(limits)| limits.clone()),
            expiry: self
                .expires_at
                .wished(|end| end.map_or(Expiry::Never, |end| Expiry::At(*end))),
        }
    }
}

impl<T> Change<T> {
    fn wished<U>(&self, read: impl FnOnce(Option<&T>) -> U) -> Option<U> {
        match self {
            Self::Nothing => None,
            Self::To(value) => Some(read(value.as_ref())),
        }
    }
}

impl Rotation {
    /// How long the present secret goes on.
    pub(super) fn overlap(&self) -> Result<Duration, Error> {
        let most = limits::ROTATION_OVERLAP_MAX;
        let wish = self.overlap.as_deref();
        let overlap = wish.map_or(Ok(limits::ROTATION_OVERLAP), parse_duration);
        match overlap {
            Ok(overlap) if overlap <= most => Ok(overlap),
            _ => {
                let most = show_duration(most);
                let message =
                    format!("`overlap` is a duration from `0s` to `{most}`, such as `24h`.");
                Err(Error::new(ErrorCode::InvalidValue, message).param("overlap"))
            }
        }
    }
}

fn allow(names: Option<&Names>) -> Allow {
    names.map_or(Allow::All, |Names(names)| Allow::Only(names.clone()))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::To)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = bounded(Vec::<String>::deserialize(deserializer)?)?;
        let is_name = |name: &String| {
            let length = 1..=limits::MODEL_NAME_BYTES;
            length.contains(&name.len()) && !name.contains(char::is_control)
        };
        if names.iter().all(is_name) {
            Ok(Self(names))
        } else {
            let most = limits::MODEL_NAME_BYTES;
            let message = format!("names have 1 to {most} bytes and no control characters");
            Err(serde::de::Error::custom(message))
        }
    }
}

impl<'de> Deserialize<'de> for Surfaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Names::deserialize(deserializer)?;
        let known = || Api::ALL.iter().map(|api| api.as_str());
        let is_unknown =
            |name: &&String| !known().any(|api| is_listed(api, std::slice::from_ref(*name)));
        let Some(wrong) = names.0.iter().find(is_unknown) else {
            return Ok(Self(names));
        };
        let near = nearest(wrong, known(), 1);
        let hint = match near.first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("there is no API `{}`: {hint}", wrong.escape_debug());
        Err(serde::de::Error::custom(message))
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded(Vec::deserialize(deserializer)?).map(Self)
    }
}

fn bounded<T, E: serde::de::Error>(list: Vec<T>) -> Result<Vec<T>, E> {
    let most = limits::SCOPE_NAMES;
    if list.len() <= most {
        Ok(list)
    } else {
        Err(E::custom(format!("a list has at most {most} entries")))
    }
}
