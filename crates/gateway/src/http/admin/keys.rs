//! Keys of clients. The secret of one is in the answer to who makes it, and nowhere else.

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::policy::limit::bound::Bound;
use everstream_core::sign::api_key::{KeyText, id_of};
use everstream_store::sql::CatalogError;
use everstream_store::sql::values::{Allow, ApiKey, Expiry, KeyId, NewKey, SecretHash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{List, Made, Shown, page_size, refused};
use super::key_wish::{KeyChange, KeyWish, Rotation};
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
pub(super) struct KeysQuery {
    /// Only those of this project.
    project: Option<ProjectId>,
    /// Only those with ids after this one: the `next` of the page before.
    #[schemars(with = "Option<String>")]
    after: Option<KeyId>,
    /// The most entries of the page.
    limit: Option<usize>,
}

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
    let (id, secret, hash) = draw(directory, &new_id()?, 1)?;
    let key = NewKey {
        id,
        project: wish.project.clone(),
        name: wish.name.clone(),
        scopes: wish.scopes(),
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
    let (directory, by, id) = (ask.directory()?, ask.actor(), ask.id()?);
    let patch = ask.body.patch();
    if matches!(patch.expiry, Some(Expiry::At(end)) if end <= by.at) {
        return Err(past());
    }
    let changed = directory.catalog().change_key(&by, &id, &patch).await;
    directory.changed(id.as_str());
    Ok(Shown(KeySight::of(changed.map_err(refused)?, by.at)))
}

pub(super) async fn rotate(ask: Ask<Nothing, Rotation>) -> Result<Shown<KeyWithSecret>, Error> {
    let (directory, by) = (ask.directory()?, ask.actor());
    let overlap = ask.body.overlap()?;
    let key = known(directory, &ask.id()?).await?;
    let number = key.secrets.first().map_or(0, |secret| secret.number) + 1;
    let (id, secret, hash) = draw(directory, key.id.as_str(), number)?;
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
    id: &str,
    number: u32,
) -> Result<(KeyId, String, SecretHash), Error> {
    let text = directory.master().key(id, number);
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

fn past() -> Error {
    let message = "`expires_at` is past: it is in milliseconds since 1970. To end a key at once, \
                   revoke it.";
    Error::new(ErrorCode::Unprocessable, message).param("expires_at")
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
