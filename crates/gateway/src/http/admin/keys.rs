//! Keys of clients. The secret of one is in the answer to who makes it, and nowhere else.

use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits;
use everstream_core::policy::limit::bound::Bound;
use everstream_core::policy::scope::{Api, is_listed};
use everstream_core::sign::api_key::{KeyText, id_of};
use everstream_core::suggest::nearest;
use everstream_core::units::{parse_duration, show_duration};
use everstream_store::sql::CatalogError;
use everstream_store::sql::values::{Allow, ApiKey, KeyId, NewKey, Scopes, SecretHash};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::answer::{List, Made, Shown, page_size, refused};
use super::read::if_present;
use super::route::{Ask, Nothing};
use super::tenants::{ensure_project, no_project};
use crate::access::Directory;

/// A key, without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(super) struct KeySight {
    /// Its id, which its text begins with: `es-<id>-`.
    #[schemars(with = "String")]
    id: KeyId,
    /// Whose it is.
    project: ProjectId,
    /// Who pays.
    organisation: ProjectId,
    /// What people call it.
    name: String,
    /// Whether it is let in.
    state: KeyState,
    /// The APIs that it may use; null for all.
    surfaces: Option<Vec<String>>,
    /// The models that it may ask, by name or by beginning (`gpt-4o*`); null for all.
    models: Option<Vec<String>>,
    /// The topics that it may use; null for all.
    topics: Option<Vec<String>>,
    /// Limits of its own, such as `requests=60/1m`.
    limits: Vec<String>,
    /// When it was made.
    created_at: UnixMillis,
    /// When it ends; null for never.
    expires_at: Option<UnixMillis>,
    /// When it was revoked.
    revoked_at: Option<UnixMillis>,
    /// Its secrets, the newest first: two while an old one is still good.
    secrets: Vec<SecretSight>,
}

/// Whether a key is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    /// It is.
    Active,
    /// It has come to its end.
    Expired,
    /// It was revoked.
    Revoked,
    /// Its project or organisation is suspended.
    Suspended,
}

/// A secret, without its text.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
struct SecretSight {
    /// 1 for the first, one more with each rotation.
    number: u32,
    /// When it was made.
    created_at: UnixMillis,
    /// When it ends, if a newer one replaces it.
    expires_at: Option<UnixMillis>,
}

/// A key with its secret, which is shown this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyWithSecret {
    /// The whole key, as clients send it. It is not stored and will not be shown again.
    secret: String,
    #[serde(flatten)]
    key: KeySight,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct KeyWish {
    /// Whose it is to be.
    project: ProjectId,
    /// What people call it.
    name: String,
    /// Whether the project is made if there is none, in the organisation `default`.
    #[serde(default)]
    create_project: bool,
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
    expires_at: Option<UnixMillis>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct KeyChange {
    /// The APIs that it may use; null for all. What is absent here stays as it is.
    #[serde(default, deserialize_with = "if_present")]
    #[schemars(with = "Option<Surfaces>")]
    surfaces: Option<Option<Surfaces>>,
    /// The models that it may ask; null for all.
    #[serde(default, deserialize_with = "if_present")]
    #[schemars(with = "Option<Names>")]
    models: Option<Option<Names>>,
    /// The topics that it may use; null for all.
    #[serde(default, deserialize_with = "if_present")]
    #[schemars(with = "Option<Names>")]
    topics: Option<Option<Names>>,
    /// Limits of its own, all of them.
    limits: Option<Bounds>,
    /// When it ends, in milliseconds since 1970; null for never.
    #[serde(default, deserialize_with = "if_present")]
    #[schemars(with = "Option<UnixMillis>")]
    expires_at: Option<Option<UnixMillis>>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Rotation {
    /// How long the present secret is good beside the new one, such as `24h`, which it is if absent;
    /// `0s` ends it at once.
    overlap: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct KeysQuery {
    /// Only those of this project.
    project: Option<ProjectId>,
    /// Only those with ids after this one: the `next` of the page before.
    #[schemars(with = "Option<String>")]
    after: Option<KeyId>,
    /// The most entries of the page.
    limit: Option<usize>,
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

pub(super) async fn list(ask: Ask<KeysQuery>) -> Result<Shown<List<KeySight>>, Error> {
    let KeysQuery {
        project,
        after,
        limit,
    } = &ask.query;
    let limit = page_size(*limit)?;
    let catalog = ask.directory()?.catalog();
    let found = catalog.keys(project.as_ref(), after.as_ref(), limit + 1);
    let (found, now) = (found.await.map_err(refused)?, ask.app().clock.now());
    let place = |key: &ApiKey| key.id.to_string();
    Ok(List::of(found, limit, place, |key| KeySight::of(key, now)))
}

pub(super) async fn show(ask: Ask) -> Result<Shown<KeySight>, Error> {
    let key = known(ask.directory()?, &ask.id()?).await?;
    Ok(Shown(KeySight::of(key, ask.app().clock.now())))
}

pub(super) async fn create(ask: Ask<Nothing, KeyWish>) -> Result<Made<KeyWithSecret>, Error> {
    let (directory, by, wish) = (ask.directory()?, ask.actor(), &ask.body);
    if wish.expires_at.is_some_and(|end| end <= by.at) {
        return Err(past());
    }
    let (id, secret, hash) = draw(directory, new_id()?, 1)?;
    let key = NewKey {
        id,
        project: wish.project.clone(),
        name: wish.name.clone(),
        scopes: Scopes {
            surfaces: allow(wish.surfaces.as_ref().map(|Surfaces(names)| names)),
            models: allow(wish.models.as_ref()),
            topics: allow(wish.topics.as_ref()),
            limits: wish.limits.0.clone(),
        },
        hash,
        expires_at: wish.expires_at,
    };
    let mut made = directory.catalog().create_key(&by, &key).await;
    if wish.create_project && matches!(made, Err(CatalogError::NotFound { .. })) {
        ensure_project(directory, &by, &wish.project).await?;
        made = directory.catalog().create_key(&by, &key).await;
    }
    let key = made.map_err(|error| match error {
        CatalogError::NotFound { .. } => no_project(&wish.project),
        error => refused(error),
    })?;
    directory.changed(key.id.as_str());
    let key = KeySight::of(key, by.at);
    Ok(Made(KeyWithSecret { secret, key }))
}

pub(super) async fn change(ask: Ask<Nothing, KeyChange>) -> Result<Shown<KeySight>, Error> {
    let (directory, by, wish) = (ask.directory()?, ask.actor(), &ask.body);
    let key = unrevoked(directory, &ask.id()?).await?;
    if matches!(wish.expires_at, Some(Some(end)) if end <= by.at) {
        return Err(past());
    }
    let changed = |wish: &Option<Option<Names>>, present: Allow| match wish {
        Some(names) => allow(names.as_ref()),
        None => present,
    };
    let scopes = Scopes {
        surfaces: match &wish.surfaces {
            Some(names) => allow(names.as_ref().map(|Surfaces(names)| names)),
            None => key.scopes.surfaces,
        },
        models: changed(&wish.models, key.scopes.models),
        topics: changed(&wish.topics, key.scopes.topics),
        limits: match &wish.limits {
            Some(limits) => limits.0.clone(),
            None => key.scopes.limits,
        },
    };
    let expires_at = wish.expires_at.unwrap_or(key.expires_at);
    let catalog = directory.catalog();
    let changed = catalog.change_key(&by, &key.id, &scopes, expires_at).await;
    directory.changed(key.id.as_str());
    Ok(Shown(KeySight::of(changed.map_err(refused)?, by.at)))
}

pub(super) async fn rotate(ask: Ask<Nothing, Rotation>) -> Result<Shown<KeyWithSecret>, Error> {
    let (directory, by) = (ask.directory()?, ask.actor());
    let overlap = overlap(ask.body.overlap.as_deref())?;
    let key = unrevoked(directory, &ask.id()?).await?;
    let number = key.secrets.first().map_or(0, |secret| secret.number) + 1;
    let (id, secret, hash) = draw(directory, key.id.to_string(), number)?;
    let rotated = directory.catalog();
    let rotated = rotated
        .rotate_key(&by, &id, hash, by.at.plus(overlap))
        .await;
    directory.changed(id.as_str());
    let key = rotated.map_err(refused)?;
    if key.secrets.first().map(|secret| secret.number) != Some(number) {
        let message = format!("Key `{id}` was rotated by somebody else just now: rotate it again.");
        return Err(Error::new(ErrorCode::AlreadyExists, message));
    }
    let key = KeySight::of(key, by.at);
    Ok(Shown(KeyWithSecret { secret, key }))
}

pub(super) async fn revoke(ask: Ask) -> Result<Shown<KeySight>, Error> {
    let (directory, by, id) = (ask.directory()?, ask.actor(), ask.id()?);
    let revoked = directory.catalog().revoke_key(&by, &id).await;
    directory.changed(id.as_str());
    revoked.map_err(refused)?;
    Ok(Shown(KeySight::of(known(directory, &id).await?, by.at)))
}

/// The id and the text of a secret, and what is stored of it.
fn draw(
    directory: &Directory,
    id: String,
    number: u32,
) -> Result<(KeyId, String, SecretHash), Error> {
    let text = directory.master().key(&id, number);
    let parts = KeyText::parse(text.expose());
    let (Ok(id), Some(parts)) = (id.parse(), parts) else {
        let message = format!("Key `{id}` is none that this gateway made.");
        return Err(Error::new(ErrorCode::Unprocessable, message));
    };
    let hash = SecretHash(directory.master().hash(parts));
    Ok((id, text.expose().to_owned(), hash))
}

fn new_id() -> Result<String, Error> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| {
        let message = format!("The system gives no random numbers: {error}.");
        Error::new(ErrorCode::Internal, message)
    })?;
    Ok(id_of(random))
}

async fn known(directory: &Directory, id: &KeyId) -> Result<ApiKey, Error> {
    let key = directory.catalog().key(id).await.map_err(refused)?;
    key.ok_or_else(|| {
        let (what, id) = ("key", id.to_string());
        refused(CatalogError::NotFound { what, id })
    })
}

async fn unrevoked(directory: &Directory, id: &KeyId) -> Result<ApiKey, Error> {
    let key = known(directory, id).await?;
    if key.revoked_at.is_none() {
        return Ok(key);
    }
    let message = format!("Key `{id}` is revoked, for ever: make a new one.");
    Err(Error::new(ErrorCode::Unprocessable, message))
}

fn overlap(wish: Option<&str>) -> Result<Duration, Error> {
    let most = limits::ROTATION_OVERLAP_MAX;
    let overlap = wish.map_or(Ok(limits::ROTATION_OVERLAP), parse_duration);
    match overlap {
        Ok(overlap) if overlap <= most => Ok(overlap),
        _ => {
            let most = show_duration(most);
            let message = format!("`overlap` is a duration from `0s` to `{most}`, such as `24h`.");
            Err(Error::new(ErrorCode::InvalidValue, message).param("overlap"))
        }
    }
}

fn past() -> Error {
    let message = "`expires_at` is past: it is in milliseconds since 1970. To end a key at once, \
                   revoke it.";
    Error::new(ErrorCode::Unprocessable, message).param("expires_at")
}

fn allow(names: Option<&Names>) -> Allow {
    names.map_or(Allow::All, |Names(names)| Allow::Only(names.clone()))
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

impl KeySight {
    fn of(key: ApiKey, now: UnixMillis) -> Self {
        let state = if key.revoked_at.is_some() {
            KeyState::Revoked
        } else if key.expires_at.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else if key.suspended {
            KeyState::Suspended
        } else {
            KeyState::Active
        };
        let names = |allow| match allow {
            Allow::All => None,
            Allow::Only(names) => Some(names),
        };
        let secrets = key.secrets.into_iter().map(|secret| SecretSight {
            number: secret.number,
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        });
        Self {
            id: key.id,
            project: key.project,
            organisation: key.organisation,
            name: key.name,
            state,
            surfaces: names(key.scopes.surfaces),
            models: names(key.scopes.models),
            topics: names(key.scopes.topics),
            limits: key.scopes.limits.iter().map(Bound::to_string).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            secrets: secrets.collect(),
        }
    }
}
