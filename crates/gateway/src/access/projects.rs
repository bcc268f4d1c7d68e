//! Projects of the catalogue, for callers that show none of its keys: who pays for them, and whether
//! they are suspended.

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_core::limits;
use everstream_store::sql::values::{OrganisationId, Project};
use everstream_store::sql::{Catalog, CatalogError};
use quick_cache::sync::Cache;

use super::directory::retry_soon;

/// The projects that were asked for lately.
pub(super) struct Projects(Cache<ProjectId, Entry>);

#[derive(Clone)]
struct Entry {
    /// `None`: the catalogue does not have it.
    known: Option<Standing>,
    /// When it is looked up again.
    until: UnixMillis,
}

#[derive(Clone)]
struct Standing {
    organisation: OrganisationId,
    suspended: bool,
}

impl Default for Projects {
    fn default() -> Self {
        Self(Cache::new(limits::KEY_CACHE))
    }
}

impl Projects {
    /// See [`Directory::payer`](super::Directory::payer).
    pub(super) async fn payer(
        &self,
        catalog: &dyn Catalog,
        id: &ProjectId,
        now: UnixMillis,
    ) -> Result<Option<OrganisationId>, Error> {
        let cached = self.0.get(id);
        let entry = match cached {
            Some(entry) if now < entry.until => entry,
            old => self.look_up(catalog, id, now, old).await?,
        };
        match entry.known {
            Some(project) if project.suspended => Err(suspended(id)),
            known => Ok(known.map(|project| project.organisation)),
        }
    }

    /// All that is known is to be read anew.
    pub(super) fn forget(&self) {
        self.0.clear();
    }

    async fn look_up(
        &self,
        catalog: &dyn Catalog,
        id: &ProjectId,
        now: UnixMillis,
        old: Option<Entry>,
    ) -> Result<Entry, Error> {
        let read = async {
            let project = catalog.project(id).await?;
            Ok(Entry {
                known: project.map(Standing::from),
                until: now.plus(limits::KNOWN_KEY_FOR),
            })
        };
        // What changes while it is read is not kept as it was before.
        self.0.remove(id);
        let read = self.0.get_or_insert_async(id, read).await;
        match (read, old) {
            (Ok(entry), _) => Ok(entry),
            // What was known goes on being so while the database is gone.
            (Err(_), Some(old)) => {
                let until = now.plus(limits::KEY_RETRY);
                let entry = Entry { until, ..old };
                self.0.insert(id.clone(), entry.clone());
                Ok(entry)
            }
            (Err(error), None) => Err(unavailable(&error)),
        }
    }
}

impl From<Project> for Standing {
    fn from(project: Project) -> Self {
        Self {
            organisation: project.organisation,
            suspended: project.suspended,
        }
    }
}

fn suspended(id: &ProjectId) -> Error {
    let message = format!("The project `{id}` is suspended.");
    Error::new(ErrorCode::Forbidden, message)
}

fn unavailable(error: &CatalogError) -> Error {
    tracing::warn!(%error, "a project cannot be looked up");
    let message = "Whether this project may call cannot be checked just now, as the database does \
                   not answer.";
    retry_soon(Error::new(ErrorCode::AccessUnavailable, message))
}
