//! Organisations and projects.

use everstream_core::id::ProjectId;

use super::{after, all, check_name, limit, record};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement};
use crate::sql::values::{Actor, ChangeKind, Organisation, OrganisationId, Project, Tenant};

const ADD_ORGANISATION: Statement = Statement::new(
    "INSERT INTO organisations (id, name, suspended, created_at) VALUES ($1, $2, 0, $3)
     ON CONFLICT (id) DO NOTHING",
);
const SUSPEND_ORGANISATION: Statement =
    Statement::new("UPDATE organisations SET suspended = $1 WHERE id = $2");
const ORGANISATIONS: Statement = Statement::new(
    "SELECT id, name, suspended, created_at FROM organisations WHERE id > $1 ORDER BY id LIMIT $2",
);
const HAS_ORGANISATION: Statement =
    Statement::new("SELECT suspended FROM organisations WHERE id = $1");
const ADD_PROJECT: Statement = Statement::new(
    "INSERT INTO projects (id, organisation, name, suspended, created_at)
     VALUES ($1, $2, $3, 0, $4) ON CONFLICT (id) DO NOTHING",
);
const SUSPEND_PROJECT: Statement =
    Statement::new("UPDATE projects SET suspended = $1 WHERE id = $2");
const PROJECT: Statement = Statement::new(
    "SELECT p.id, p.organisation, p.name,
        CASE WHEN p.suspended + o.suspended > 0 THEN 1 ELSE 0 END, p.created_at
     FROM projects p JOIN organisations o ON o.id = p.organisation WHERE p.id = $1",
);
const PROJECTS: Statement = Statement::new(
    "SELECT id, organisation, name, suspended, created_at FROM projects
     WHERE id > $1 ORDER BY id LIMIT $2",
);
const PROJECTS_OF: Statement = Statement::new(
    "SELECT id, organisation, name, suspended, created_at FROM projects
     WHERE id > $1 AND organisation = $2 ORDER BY id LIMIT $3",
);

pub(in crate::sql) struct CreateOrganisation {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) id: OrganisationId,
    pub(in crate::sql) name: String,
}

impl Operation for CreateOrganisation {
    type Output = Organisation;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Organisation, CatalogError> {
        check_name(&self.name)?;
        let row = [
            (&self.id).into(),
            self.name.as_str().into(),
            self.by.at.into(),
        ];
        if sql.execute(&ADD_ORGANISATION, &row).await? == 0 {
            let (what, id) = ("organisation", self.id.to_string());
            return Err(CatalogError::Exists { what, id });
        }
        let what = (self.id.as_str(), self.name.as_str());
        let kind = ChangeKind::Organisation;
        record(sql, &self.by, kind, "organisation.create", what).await?;
        Ok(Organisation {
            id: self.id.clone(),
            name: self.name.clone(),
            suspended: false,
            created_at: self.by.at,
        })
    }
}

pub(in crate::sql) struct ListOrganisations {
    pub(in crate::sql) after: Option<OrganisationId>,
    pub(in crate::sql) limit: usize,
}

impl Operation for ListOrganisations {
    type Output = Vec<Organisation>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<Organisation>, CatalogError> {
        let after = after(self.after.as_ref().map(ProjectId::as_str));
        let rows = sql
            .query(&ORGANISATIONS, &[after, limit(self.limit)])
            .await?;
        all(&rows, |row| {
            Ok(Organisation {
                id: row.parse(0)?,
                name: row.text(1)?.to_owned(),
                suspended: row.flag(2)?,
                created_at: row.time(3)?,
            })
        })
    }
}

pub(in crate::sql) struct CreateProject {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) organisation: OrganisationId,
    pub(in crate::sql) id: ProjectId,
    pub(in crate::sql) name: String,
}

impl Operation for CreateProject {
    type Output = Project;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Project, CatalogError> {
        check_name(&self.name)?;
        let organisation = [(&self.organisation).into()];
        if sql
            .query(&HAS_ORGANISATION, &organisation)
            .await?
            .is_empty()
        {
            let (what, id) = ("organisation", self.organisation.to_string());
            return Err(CatalogError::NotFound { what, id });
        }
        let row = [
            (&self.id).into(),
            (&self.organisation).into(),
            self.name.as_str().into(),
            self.by.at.into(),
        ];
        if sql.execute(&ADD_PROJECT, &row).await? == 0 {
            let (what, id) = ("project", self.id.to_string());
            return Err(CatalogError::Exists { what, id });
        }
        let what = (self.id.as_str(), self.organisation.as_str());
        record(sql, &self.by, ChangeKind::Project, "project.create", what).await?;
        Ok(Project {
            id: self.id.clone(),
            organisation: self.organisation.clone(),
            name: self.name.clone(),
            suspended: false,
            created_at: self.by.at,
        })
    }
}

pub(in crate::sql) struct Suspend {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) tenant: Tenant,
    pub(in crate::sql) suspended: bool,
}

impl Operation for Suspend {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        let (statement, kind, what, id) = match &self.tenant {
            Tenant::Organisation(id) => {
                let kind = ChangeKind::Organisation;
                (&SUSPEND_ORGANISATION, kind, "organisation", id)
            }
            Tenant::Project(id) => (&SUSPEND_PROJECT, ChangeKind::Project, "project", id),
        };
        let row = [self.suspended.into(), id.into()];
        if sql.execute(statement, &row).await? == 0 {
            let id = id.to_string();
            return Err(CatalogError::NotFound { what, id });
        }
        let verb = if self.suspended { "suspend" } else { "resume" };
        let action = format!("{what}.{verb}");
        record(sql, &self.by, kind, &action, (id.as_str(), "")).await
    }
}

pub(in crate::sql) struct ListProjects {
    pub(in crate::sql) organisation: Option<OrganisationId>,
    pub(in crate::sql) after: Option<ProjectId>,
    pub(in crate::sql) limit: usize,
}

impl Operation for ListProjects {
    type Output = Vec<Project>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<Project>, CatalogError> {
        let after = after(self.after.as_ref().map(ProjectId::as_str));
        let rows = match &self.organisation {
            None => sql.query(&PROJECTS, &[after, limit(self.limit)]).await?,
            Some(one) => {
                let parameters = [after, one.into(), limit(self.limit)];
                sql.query(&PROJECTS_OF, &parameters).await?
            }
        };
        all(&rows, project)
    }
}

pub(in crate::sql) struct GetProject {
    pub(in crate::sql) id: ProjectId,
}

impl Operation for GetProject {
    type Output = Option<Project>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Option<Project>, CatalogError> {
        let rows = sql.query(&PROJECT, &[(&self.id).into()]).await?;
        rows.first().map(project).transpose()
    }
}

fn project(row: &Row) -> Result<Project, CatalogError> {
    Ok(Project {
        id: row.parse(0)?,
        organisation: row.parse(1)?,
        name: row.text(2)?.to_owned(),
        suspended: row.flag(3)?,
        created_at: row.time(4)?,
    })
}
