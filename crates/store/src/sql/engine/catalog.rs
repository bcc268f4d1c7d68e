//! The catalogue over whatever runs operations.

use std::future::Future;
use std::pin::Pin;

use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::limits::CATALOG_POLL;
use everstream_core::sign::nonce::NonceId;

use super::Driver;
use crate::counters::Counters;
use crate::sql::values::{
    Actor, ApiKey, AuditEntry, AuditQuery, Budget, BudgetId, BudgetState, Changes, Cursor, KeyId,
    KeyPatch, LedgerEntry, NewKey, Organisation, OrganisationId, Payer, Project, ReserveRequest,
    Reserved, SecretHash, Settlement, Tenant, UsageQuery, UsageRow,
};
use crate::sql::{Catalog, CatalogFuture, NonceStore, ops};

/// A catalogue.
pub(in crate::sql) struct SqlCatalog<D>(pub(in crate::sql) D);

impl<D: Driver> NonceStore for SqlCatalog<D> {
    fn claim_nonce(&self, nonce: NonceId, good_until: UnixMillis) -> CatalogFuture<'_, bool> {
        Box::pin(self.0.run(ops::ClaimNonce { nonce, good_until }))
    }

    fn prune_nonces(&self, before: UnixMillis) -> CatalogFuture<'_, u64> {
        Box::pin(self.0.run(ops::PruneNonces { before }))
    }
}

impl<D: Driver> Catalog for SqlCatalog<D> {
    fn check(&self) -> CatalogFuture<'_, ()> {
        Box::pin(self.0.run(ops::Check))
    }

    fn create_organisation<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a OrganisationId,
        name: &'a str,
    ) -> CatalogFuture<'a, Organisation> {
        Box::pin(self.0.run(ops::CreateOrganisation {
            by: by.clone(),
            id: id.clone(),
            name: name.to_owned(),
        }))
    }

    fn organisations<'a>(
        &'a self,
        after: Option<&'a OrganisationId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<Organisation>> {
        let after = after.cloned();
        Box::pin(self.0.run(ops::ListOrganisations { after, limit }))
    }

    fn create_project<'a>(
        &'a self,
        by: &'a Actor,
        organisation: &'a OrganisationId,
        id: &'a ProjectId,
        name: &'a str,
    ) -> CatalogFuture<'a, Project> {
        Box::pin(self.0.run(ops::CreateProject {
            by: by.clone(),
            organisation: organisation.clone(),
            id: id.clone(),
            name: name.to_owned(),
        }))
    }

    fn suspend<'a>(
        &'a self,
        by: &'a Actor,
        tenant: &'a Tenant,
        suspended: bool,
    ) -> CatalogFuture<'a, ()> {
        Box::pin(self.0.run(ops::Suspend {
            by: by.clone(),
            tenant: tenant.clone(),
            suspended,
        }))
    }

    fn projects<'a>(
        &'a self,
        organisation: Option<&'a OrganisationId>,
        after: Option<&'a ProjectId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<Project>> {
        Box::pin(self.0.run(ops::ListProjects {
            organisation: organisation.cloned(),
            after: after.cloned(),
            limit,
        }))
    }

    fn project<'a>(&'a self, id: &'a ProjectId) -> CatalogFuture<'a, Option<Project>> {
        Box::pin(self.0.run(ops::GetProject { id: id.clone() }))
    }

    fn create_key<'a>(&'a self, by: &'a Actor, key: &'a NewKey) -> CatalogFuture<'a, ApiKey> {
        Box::pin(self.0.run(ops::CreateKey {
            by: by.clone(),
            key: key.clone(),
        }))
    }

    fn key<'a>(&'a self, id: &'a KeyId) -> CatalogFuture<'a, Option<ApiKey>> {
        Box::pin(self.0.run(ops::GetKey { id: id.clone() }))
    }

    fn keys<'a>(
        &'a self,
        project: Option<&'a ProjectId>,
        after: Option<&'a KeyId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<ApiKey>> {
        Box::pin(self.0.run(ops::ListKeys {
            project: project.cloned(),
            after: after.cloned(),
            limit,
        }))
    }

    fn change_key<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a KeyId,
        patch: &'a KeyPatch,
    ) -> CatalogFuture<'a, ApiKey> {
        Box::pin(self.0.run(ops::ChangeKey {
            by: by.clone(),
            id: id.clone(),
            patch: patch.clone(),
        }))
    }

    fn rotate_key<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a KeyId,
        hash: SecretHash,
        old_until: UnixMillis,
    ) -> CatalogFuture<'a, ApiKey> {
        Box::pin(self.0.run(ops::RotateKey {
            by: by.clone(),
            id: id.clone(),
            hash,
            old_until,
        }))
    }

    fn revoke_key<'a>(&'a self, by: &'a Actor, id: &'a KeyId) -> CatalogFuture<'a, ()> {
        Box::pin(self.0.run(ops::RevokeKey {
            by: by.clone(),
            id: id.clone(),
        }))
    }

    fn put_budget<'a>(&'a self, by: &'a Actor, budget: &'a Budget) -> CatalogFuture<'a, ()> {
        Box::pin(self.0.run(ops::PutBudget {
            by: by.clone(),
            budget: budget.clone(),
        }))
    }

    fn delete_budget<'a>(&'a self, by: &'a Actor, id: &'a BudgetId) -> CatalogFuture<'a, ()> {
        Box::pin(self.0.run(ops::DeleteBudget {
            by: by.clone(),
            id: id.clone(),
        }))
    }

    fn budgets<'a>(
        &'a self,
        payer: Option<&'a Payer>,
        after: Option<&'a BudgetId>,
        limit: usize,
        now: UnixMillis,
    ) -> CatalogFuture<'a, Vec<BudgetState>> {
        Box::pin(self.0.run(ops::ListBudgets {
            payer: payer.cloned(),
            after: after.cloned(),
            limit,
            now,
        }))
    }

    fn reserve<'a>(&'a self, request: &'a ReserveRequest) -> CatalogFuture<'a, Reserved> {
        Box::pin(self.0.run(ops::Reserve(request.clone())))
    }

    fn renew<'a>(
        &'a self,
        streams: &'a [StreamId],
        now: UnixMillis,
        lease_until: UnixMillis,
    ) -> CatalogFuture<'a, Vec<StreamId>> {
        Box::pin(self.0.run(ops::Renew {
            streams: streams.to_vec(),
            now,
            lease_until,
        }))
    }

    fn release(&self, stream: StreamId) -> CatalogFuture<'_, ()> {
        Box::pin(self.0.run(ops::Release(stream)))
    }

    fn settle<'a>(&'a self, entries: &'a [LedgerEntry]) -> CatalogFuture<'a, Settlement> {
        Box::pin(self.0.run(ops::Settle(entries.to_vec())))
    }

    fn sweep(&self, now: UnixMillis) -> CatalogFuture<'_, u64> {
        Box::pin(self.0.run(ops::Sweep(now)))
    }

    fn ledger_entry(&self, stream: StreamId) -> CatalogFuture<'_, Option<LedgerEntry>> {
        Box::pin(self.0.run(ops::GetEntry(stream)))
    }

    fn usage<'a>(&'a self, query: &'a UsageQuery) -> CatalogFuture<'a, Vec<UsageRow>> {
        Box::pin(self.0.run(ops::Usage(query.clone())))
    }

    fn audit<'a>(
        &'a self,
        by: &'a Actor,
        action: &'a str,
        target: &'a str,
        detail: &'a str,
    ) -> CatalogFuture<'a, ()> {
        Box::pin(self.0.run(ops::Audit {
            by: by.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail: detail.to_owned(),
        }))
    }

    fn audit_log<'a>(
        &'a self,
        query: &'a AuditQuery,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<AuditEntry>> {
        let query = query.clone();
        Box::pin(self.0.run(ops::AuditLog { query, limit }))
    }

    fn cursor(&self) -> CatalogFuture<'_, Cursor> {
        Box::pin(self.0.run(ops::GetCursor))
    }

    fn changes(&self, after: Cursor, limit: usize) -> CatalogFuture<'_, Changes> {
        Box::pin(self.0.run(ops::GetChanges { after, limit }))
    }

    fn prune_changes(&self, before: UnixMillis) -> CatalogFuture<'_, u64> {
        Box::pin(self.0.run(ops::PruneChanges { before }))
    }

    fn counters(&self) -> Option<&dyn Counters> {
        D::counters(self)
    }

    fn wait(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            // A hint that was lost costs the rest of the poll, and no more.
            tokio::time::timeout(CATALOG_POLL, self.0.hint()).await.ok();
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.close())
    }
}
