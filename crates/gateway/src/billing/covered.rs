use std::collections::HashSet;

use everstream_core::id::{ProjectId, UnixMillis};
use everstream_store::sql::values::{BudgetId, KeyId, OrganisationId, Payer, Scope};
use everstream_store::sql::{Catalog, CatalogError};

/// Budgets that are read at once.
const PAGE: usize = 1_000;

/// Whom budgets cover: what is asked of every request, so that those without a budget cost no look
/// into the database.
#[derive(Debug, Default)]
pub(super) struct Covered {
    organisations: HashSet<OrganisationId>,
    projects: HashSet<ProjectId>,
    keys: HashSet<KeyId>,
}

impl Covered {
    /// Of all budgets there are.
    pub(super) async fn read(catalog: &dyn Catalog, now: UnixMillis) -> Result<Self, CatalogError> {
        let mut covered = Self::default();
        let mut after: Option<BudgetId> = None;
        loop {
            let page = catalog.budgets(None, after.as_ref(), PAGE, now).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|state| state.budget.id.clone());
            for state in page {
                covered.add(state.budget.scope);
            }
            if is_last {
                return Ok(covered);
            }
        }
    }

    fn add(&mut self, scope: Scope) {
        match scope {
            Scope::Organisation(id) => self.organisations.insert(id),
            Scope::Project(id) => self.projects.insert(id),
            Scope::Key(id) => self.keys.insert(id),
        };
    }

    pub(super) fn covers(&self, payer: &Payer) -> bool {
        let Payer {
            organisation,
            project,
            key,
        } = payer;
        self.projects.contains(project)
            || organisation
                .as_ref()
                .is_some_and(|id| self.organisations.contains(id))
            || key.as_ref().is_some_and(|id| self.keys.contains(id))
    }
}
