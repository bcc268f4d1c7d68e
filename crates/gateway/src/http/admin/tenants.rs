//! Organisations and their projects.

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, UnixMillis};
use everstream_store::sql::CatalogError;
use everstream_store::sql::values::{Actor, Organisation, OrganisationId, Project, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Done, List, Made, Shown, page_size, refused};
use super::route::{Ask, Nothing};
use crate::access::Directory;

/// The organisation of projects that are made without naming one.
const USUAL: &str = "default";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Organisation")]
pub(super) struct OrganisationSight {
    /// Its id.
    id: OrganisationId,
    /// What people call it.
    name: String,
    /// Whether none of its projects' keys is let in.
    suspended: bool,
    /// When it was made.
    created_at: UnixMillis,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Project")]
pub(super) struct ProjectSight {
    /// Its id. Streams belong to it.
    id: ProjectId,
    /// Who pays.
    organisation: OrganisationId,
    /// What people call it.
    name: String,
    /// Whether none of its keys is let in.
    suspended: bool,
    /// When it was made.
    created_at: UnixMillis,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct OrganisationWish {
    /// Its id, for ever: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    id: OrganisationId,
    /// What people call it; the id if absent.
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ProjectWish {
    /// Its id, for ever: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    id: ProjectId,
    /// Who pays. If absent, the organisation `default`, which is made if there is none.
    organisation: Option<OrganisationId>,
    /// What people call it; the id if absent.
    name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct OrganisationsQuery {
    /// Only those with ids after this one: the `next` of the page before.
    after: Option<OrganisationId>,
    /// The most entries of the page.
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ProjectsQuery {
    /// Only those of this organisation.
    organisation: Option<OrganisationId>,
    /// Only those with ids after this one: the `next` of the page before.
    after: Option<ProjectId>,
    /// The most entries of the page.
    limit: Option<usize>,
}

pub(super) async fn organisations(
    ask: Ask<OrganisationsQuery>,
) -> Result<Shown<List<OrganisationSight>>, Error> {
    let limit = page_size(ask.query.limit)?;
    let catalog = ask.directory()?.catalog();
    let found = catalog.organisations(ask.query.after.as_ref(), limit + 1);
    let found = found.await.map_err(refused)?;
    Ok(List::of(found, limit, |one| one.id.to_string(), Into::into))
}

pub(super) async fn create_organisation(
    ask: Ask<Nothing, OrganisationWish>,
) -> Result<Made<OrganisationSight>, Error> {
    let OrganisationWish { id, name } = &ask.body;
    let name = name.as_deref().unwrap_or(id.as_str());
    let catalog = ask.directory()?.catalog();
    let made = catalog.create_organisation(&ask.actor(), id, name).await;
    Ok(Made(made.map_err(refused)?.into()))
}

pub(super) async fn suspend_organisation(ask: Ask) -> Result<Done, Error> {
    suspend(&ask, Tenant::Organisation(ask.id()?), true).await
}

pub(super) async fn resume_organisation(ask: Ask) -> Result<Done, Error> {
    suspend(&ask, Tenant::Organisation(ask.id()?), false).await
}

pub(super) async fn projects(ask: Ask<ProjectsQuery>) -> Result<Shown<List<ProjectSight>>, Error> {
    let ProjectsQuery {
        organisation,
        after,
        limit,
    } = &ask.query;
    let limit = page_size(*limit)?;
    let catalog = ask.directory()?.catalog();
    let found = catalog.projects(organisation.as_ref(), after.as_ref(), limit + 1);
    let found = found.await.map_err(refused)?;
    Ok(List::of(found, limit, |one| one.id.to_string(), Into::into))
}

pub(super) async fn create_project(
    ask: Ask<Nothing, ProjectWish>,
) -> Result<Made<ProjectSight>, Error> {
    let ProjectWish {
        id,
        organisation,
        name,
    } = &ask.body;
    let name = name.as_deref().unwrap_or(id.as_str());
    let (directory, by) = (ask.directory()?, ask.actor());
    let made = make_project(directory, &by, organisation.as_ref(), id, name);
    Ok(Made(made.await.map_err(refused)?.into()))
}

pub(super) async fn suspend_project(ask: Ask) -> Result<Done, Error> {
    suspend(&ask, Tenant::Project(ask.id()?), true).await
}

pub(super) async fn resume_project(ask: Ask) -> Result<Done, Error> {
    suspend(&ask, Tenant::Project(ask.id()?), false).await
}

async fn suspend(ask: &Ask, tenant: Tenant, suspended: bool) -> Result<Done, Error> {
    let (directory, by) = (ask.directory()?, ask.actor());
    let done = directory.catalog().suspend(&by, &tenant, suspended);
    done.await.map_err(refused)?;
    directory.forget();
    Ok(Done)
}

/// Makes a project unless there is one, for a key that is to be made in it.
pub(super) async fn ensure_project(
    directory: &Directory,
    by: &Actor,
    id: &ProjectId,
) -> Result<(), Error> {
    match make_project(directory, by, None, id, id.as_str()).await {
        Ok(_) | Err(CatalogError::Exists { .. }) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

async fn make_project(
    directory: &Directory,
    by: &Actor,
    organisation: Option<&OrganisationId>,
    id: &ProjectId,
    name: &str,
) -> Result<Project, CatalogError> {
    let catalog = directory.catalog();
    if let Some(organisation) = organisation {
        return catalog.create_project(by, organisation, id, name).await;
    }
    let usual: OrganisationId = USUAL
        .parse()
        .map_err(|error| CatalogError::Invalid(format!("{error}")))?;
    match catalog.create_project(by, &usual, id, name).await {
        Err(CatalogError::NotFound { .. }) => {
            match catalog.create_organisation(by, &usual, USUAL).await {
                Ok(_) | Err(CatalogError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
            catalog.create_project(by, &usual, id, name).await
        }
        made => made,
    }
}

impl From<Organisation> for OrganisationSight {
    fn from(one: Organisation) -> Self {
        let Organisation {
            id,
            name,
            suspended,
            created_at,
        } = one;
        Self {
            id,
            name,
            suspended,
            created_at,
        }
    }
}

impl From<Project> for ProjectSight {
    fn from(one: Project) -> Self {
        let Project {
            id,
            organisation,
            name,
            suspended,
            created_at,
        } = one;
        Self {
            id,
            organisation,
            name,
            suspended,
            created_at,
        }
    }
}

/// A project that there is not, and what to do.
pub(super) fn no_project(id: &ProjectId) -> Error {
    let message = format!(
        "There is no project `{id}`: make it with `POST /admin/projects` or `everstream projects \
         create {id}`, or together with the key, with `create_project`."
    );
    Error::new(ErrorCode::NotFound, message).param("project")
}
