//! The keys of the catalogue, as far as they are needed here: a Bloom filter of all ids, so that made-up
//! keys cost nothing; the keys that were shown lately; and those that were looked for in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits;
use everstream_core::policy::bloom::KnownKeys;
use everstream_core::sign::api_key::{KeyMaster, KeyText};
use everstream_store::sql::values::{ApiKey, KeyId, KeySecret, OrganisationId, Scopes};
use everstream_store::sql::{Catalog, CatalogError};
use quick_cache::sync::Cache;
use subtle::ConstantTimeEq as _;
use tokio::sync::{Notify, Semaphore};

use super::projects::Projects;
use crate::clock::Clock;
use crate::telemetry::metrics::KeyMetrics;

/// A key that may be used, as callers need it.
#[derive(Debug)]
pub struct Known {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// Who pays.
    pub organisation: OrganisationId,
    /// What it may do.
    pub scopes: Arc<Scopes>,
    key: ApiKey,
}

/// The keys.
pub struct Directory {
    catalog: Arc<dyn Catalog>,
    master: KeyMaster,
    /// `None` until all ids are read: then any key may exist.
    filter: ArcSwapOption<KnownKeys>,
    /// [`UNREAD`], [`EMPTY`] or [`SOME`].
    keys: AtomicU8,
    cache: Cache<String, Entry>,
    lookups: Semaphore,
    metrics: KeyMetrics,
    projects: Projects,
    /// Budgets have changed.
    budgets: Arc<Notify>,
    clock: Clock,
}

/// Whether there are keys is not known yet.
const UNREAD: u8 = 0;
/// There never was one.
const EMPTY: u8 = 1;
/// There are, or were.
const SOME: u8 = 2;

#[derive(Clone)]
struct Entry {
    /// `None`: there is no such key.
    known: Option<Arc<Known>>,
    /// When it is looked up again.
    until: UnixMillis,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    /// The keys of a catalogue, of which nothing is known yet: [`follow`](super::follow) reads it.
    pub fn new(catalog: Arc<dyn Catalog>, master: KeyMaster, clock: Clock) -> Self {
        Self {
            catalog,
            master,
            filter: ArcSwapOption::empty(),
            keys: AtomicU8::new(UNREAD),
            cache: Cache::new(limits::KEY_CACHE),
            lookups: Semaphore::new(limits::KEY_LOOKUPS),
            metrics: KeyMetrics::default(),
            projects: Projects::default(),
            budgets: Arc::default(),
            clock,
        }
    }

    /// Where the keys are.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// Tells when budgets may have changed.
    pub fn budgets(&self) -> &Arc<Notify> {
        &self.budgets
    }

    /// What is counted of questions to the catalogue.
    pub const fn metrics(&self) -> &KeyMetrics {
        &self.metrics
    }

    /// What makes keys.
    pub const fn master(&self) -> &KeyMaster {
        &self.master
    }

    /// Whether there surely never was a key.
    pub fn is_empty(&self) -> bool {
        self.keys.load(Ordering::Acquire) == EMPTY
    }

    /// The key that a text names, if its secret is right and it is good.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`], or [`ErrorCode::AccessUnavailable`] when only the database would
    /// know, and it does not answer.
    pub async fn verify(&self, text: KeyText<'_>) -> Result<Arc<Known>, Error> {
        let known = self.known(text.id).await?.ok_or_else(refused)?;
        let hash = self.master.hash(text);
        let now = self.clock.now();
        let is_right = |secret: &KeySecret| secret.hash.0.ct_eq(&hash).into();
        if known.key.live_secrets(now).any(is_right) {
            Ok(known)
        } else {
            Err(refused())
        }
    }

    /// A key by its id, good or not. `None` if there is none.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    pub async fn known(&self, id: &str) -> Result<Option<Arc<Known>>, Error> {
        let filter = self.filter.load();
        if filter.as_ref().is_some_and(|filter| !filter.may_exist(id)) {
            return Ok(None);
        }
        let now = self.clock.now();
        let cached = self.cache.get(id);
        if let Some(entry) = cached.as_ref().filter(|entry| now < entry.until) {
            return Ok(entry.known.clone());
        }
        match self.look_up(id, now).await {
            Ok(entry) => Ok(entry.known),
            // One that was known goes on being known while the database is gone.
            Err(error) => match cached.and_then(|entry| entry.known) {
                Some(known) => {
                    let until = now.plus(limits::KEY_RETRY);
                    let known = Some(known);
                    let entry = Entry { known, until };
                    self.cache.insert(id.to_owned(), entry.clone());
                    Ok(entry.known)
                }
                None => Err(error),
            },
        }
    }

    async fn look_up(&self, id: &str, now: UnixMillis) -> Result<Entry, Error> {
        let Ok(key_id) = id.parse::<KeyId>() else {
            return Ok(Entry::none(now));
        };
        self.cache.remove(id);
        let read = async {
            let _permit = self.lookups.try_acquire().map_err(|_| busy())?;
            self.metrics.looked_up();
            let key = self.catalog.key(&key_id).await;
            let key = key.map_err(|error| unavailable(&error))?;
            Ok(key.map_or_else(|| Entry::none(now), |key| Entry::of(key, now)))
        };
        self.cache.get_or_insert_async(id, read).await
    }

    /// Who pays for a project, for callers that show none of its keys. `None` if it is not in the
    /// catalogue.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify); a project that is suspended is refused.
    pub async fn payer(&self, project: &ProjectId) -> Result<Option<OrganisationId>, Error> {
        self.projects
            .payer(&*self.catalog, project, self.clock.now())
            .await
    }

    /// A key was made or changed: it is read anew when it is shown next, and at once if it is not
    /// known yet that it exists.
    pub fn changed(&self, id: &str) {
        self.keys.store(SOME, Ordering::Release);
        if let Some(filter) = &*self.filter.load() {
            filter.insert(id);
        }
        self.cache.remove(id);
    }

    /// All that is known is to be read anew.
    pub fn forget(&self) {
        self.cache.clear();
        self.projects.forget();
    }

    /// These are all the keys.
    pub(super) fn replace(&self, filter: KnownKeys, count: usize) {
        let keys = if count == 0 { EMPTY } else { SOME };
        self.keys.fetch_max(keys, Ordering::AcqRel);
        self.filter.store(Some(Arc::new(filter)));
    }
}

impl Known {
    /// The secrets that sign requests just now.
    pub fn signing_numbers(&self, now: UnixMillis) -> impl Iterator<Item = u32> {
        self.key.live_secrets(now).map(|secret| secret.number)
    }
}

impl Entry {
    fn none(now: UnixMillis) -> Self {
        Self {
            known: None,
            until: now.plus(limits::UNKNOWN_KEY_FOR),
        }
    }

    fn of(key: ApiKey, now: UnixMillis) -> Self {
        let known = Known {
            id: key.id.clone(),
            project: key.project.clone(),
            organisation: key.organisation.clone(),
            scopes: Arc::new(key.scopes.clone()),
            key,
        };
        Self {
            known: Some(Arc::new(known)),
            until: now.plus(limits::KNOWN_KEY_FOR),
        }
    }
}

fn refused() -> Error {
    let message = "This API key is not known here, or not good any more: it may have expired, been \
                   replaced or been revoked.";
    Error::new(ErrorCode::Unauthorized, message)
}

fn unavailable(error: &CatalogError) -> Error {
    tracing::warn!(%error, "a key cannot be looked up");
    let message = "This API key cannot be checked just now, as the database of keys does not \
                   answer. Keys that were used lately go on working.";
    retry_soon(Error::new(ErrorCode::AccessUnavailable, message))
}

fn busy() -> Error {
    let message = "Too many keys that were not used lately are checked just now; try again.";
    retry_soon(Error::new(ErrorCode::AccessUnavailable, message))
}

pub(super) fn retry_soon(mut error: Error) -> Error {
    error.retry_after = Some(Duration::from_secs(1));
    error
}
