//! The contract.

use std::future::Future;
use std::pin::Pin;

use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::sign::nonce::NonceId;

use super::CatalogError;
use super::values::{
    Actor, ApiKey, AuditEntry, AuditQuery, Budget, BudgetId, BudgetState, Changes, Cursor, KeyId,
    KeyPatch, LedgerEntry, NewKey, Organisation, OrganisationId, Payer, Project, ReserveRequest,
    Reserved, SecretHash, Settlement, Tenant, UsageQuery, UsageRow,
};
use crate::counters::Counters;

/// A future of the catalogue's; boxed, so that a backend can be chosen at run time.
pub type CatalogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CatalogError>> + Send + 'a>>;

/// Nonces of signed requests, where several processes must not take the same one.
pub trait NonceStore: Send + Sync + 'static {
    /// Claims a nonce whose signature is good until then: true for the first who does, of all
    /// processes. Without an answer it may be claimed or not.
    fn claim_nonce(&self, nonce: NonceId, good_until: UnixMillis) -> CatalogFuture<'_, bool>;

    /// Forgets the nonces that were good until some time before `before`, and says how many.
    fn prune_nonces(&self, before: UnixMillis) -> CatalogFuture<'_, u64>;
}

/// Control data: organisations, projects, keys, budgets, the ledger, the audit log.
///
/// What holds for every backend, for any number of processes on one database:
/// - An operation happens as a whole or not at all, and its effect is seen by every operation that
///   begins after its answer, from any process.
/// - What changes organisations, projects, keys or budgets writes, in the same step, one row of the
///   audit log and one numbered change. The audit log is append only: nothing here changes or
///   removes a row, and the database itself refuses to.
/// - Numbers of changes grow in the order in which the changes become visible: who has read up to a
///   number never finds a smaller one later.
/// - Every operation ends within the time it was opened with. One that ends with an error that
///   [`is_unavailable`](CatalogError::is_unavailable) may have happened or not; those that may be
///   repeated say so. The backend connects again by itself.
/// - Time is the caller's: no operation asks the database for it.
pub trait Catalog: NonceStore {
    /// Asks the database for nothing: whether it answers, and takes writes.
    fn check(&self) -> CatalogFuture<'_, ()>;

    /// Makes an organisation. [`CatalogError::Exists`] if the id is taken.
    fn create_organisation<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a OrganisationId,
        name: &'a str,
    ) -> CatalogFuture<'a, Organisation>;

    /// At most `limit` organisations with ids after `after`, by id.
    fn organisations<'a>(
        &'a self,
        after: Option<&'a OrganisationId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<Organisation>>;

    /// Makes a project. [`CatalogError::Exists`] if the id is taken, in whatever organisation.
    fn create_project<'a>(
        &'a self,
        by: &'a Actor,
        organisation: &'a OrganisationId,
        id: &'a ProjectId,
        name: &'a str,
    ) -> CatalogFuture<'a, Project>;

    /// Suspends an organisation or a project, or lets it in again.
    fn suspend<'a>(
        &'a self,
        by: &'a Actor,
        tenant: &'a Tenant,
        suspended: bool,
    ) -> CatalogFuture<'a, ()>;

    /// At most `limit` projects, of one organisation or of all, with ids after `after`, by id.
    fn projects<'a>(
        &'a self,
        organisation: Option<&'a OrganisationId>,
        after: Option<&'a ProjectId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<Project>>;

    /// A project; `suspended` is also true if its organisation is. `None` if there never was one.
    fn project<'a>(&'a self, id: &'a ProjectId) -> CatalogFuture<'a, Option<Project>>;

    /// Makes a key with its first secret. [`CatalogError::Exists`] if the id is taken.
    fn create_key<'a>(&'a self, by: &'a Actor, key: &'a NewKey) -> CatalogFuture<'a, ApiKey>;

    /// A key, good or not. `None` if there never was one.
    fn key<'a>(&'a self, id: &'a KeyId) -> CatalogFuture<'a, Option<ApiKey>>;

    /// At most `limit` keys, of one project or of all, with ids after `after`, by id. All of them,
    /// page by page, is what a filter of known ids is made of.
    fn keys<'a>(
        &'a self,
        project: Option<&'a ProjectId>,
        after: Option<&'a KeyId>,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<ApiKey>>;

    /// Changes what a key may do, and until when. Of two who change different things at once neither
    /// is lost. [`CatalogError::Invalid`] for a revoked key.
    fn change_key<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a KeyId,
        patch: &'a KeyPatch,
    ) -> CatalogFuture<'a, ApiKey>;

    /// Gives a key a new secret. The one it had is good until `old_until`, or its own earlier end;
    /// a still older one is forgotten. [`CatalogError::Invalid`] for a revoked key.
    fn rotate_key<'a>(
        &'a self,
        by: &'a Actor,
        id: &'a KeyId,
        hash: SecretHash,
        old_until: UnixMillis,
    ) -> CatalogFuture<'a, ApiKey>;

    /// Ends a key, for ever. Repeating it changes nothing.
    fn revoke_key<'a>(&'a self, by: &'a Actor, id: &'a KeyId) -> CatalogFuture<'a, ()>;

    /// Makes a budget, or changes the limit and the alerts of one; its scope and period are for
    /// ever. What was spent before it was made, in the present period, counts.
    fn put_budget<'a>(&'a self, by: &'a Actor, budget: &'a Budget) -> CatalogFuture<'a, ()>;

    /// Removes a budget.
    fn delete_budget<'a>(&'a self, by: &'a Actor, id: &'a BudgetId) -> CatalogFuture<'a, ()>;

    /// How budgets stand at `now`, by id: those that cover the payer, or at most `limit` of all
    /// after `after`.
    fn budgets<'a>(
        &'a self,
        payer: Option<&'a Payer>,
        after: Option<&'a BudgetId>,
        limit: usize,
        now: UnixMillis,
    ) -> CatalogFuture<'a, Vec<BudgetState>>;

    /// Reserves the worst case of a generation in every budget that covers its payer, or in none.
    ///
    /// A budget takes a reserve while what is spent and reserved is below its limit. So however many
    /// ask at once, spent and reserved together never exceed a limit by more than the last reserve
    /// that was let in. A reserve whose lease is over does not count. May be repeated, which renews the
    /// lease and nothing else.
    fn reserve<'a>(&'a self, request: &'a ReserveRequest) -> CatalogFuture<'a, Reserved>;

    /// Moves the end of the leases of `streams` to `lease_until`. Answers with those that hold a
    /// reserve; one that is missing was settled, released or freed, or never had any.
    fn renew<'a>(
        &'a self,
        streams: &'a [StreamId],
        now: UnixMillis,
        lease_until: UnixMillis,
    ) -> CatalogFuture<'a, Vec<StreamId>>;

    /// Gives a reserve back: nothing was used. Repeating it changes nothing.
    fn release(&self, stream: StreamId) -> CatalogFuture<'_, ()>;

    /// Writes generations into the ledger, adds their costs to the budgets, and frees their
    /// reserves, all of them or none. A stream that the ledger has, of the same time, is not written,
    /// and its cost not added. May be repeated.
    fn settle<'a>(&'a self, entries: &'a [LedgerEntry]) -> CatalogFuture<'a, Settlement>;

    /// Frees the reserves whose leases were over at `now`, and says how many streams' they were.
    /// Nothing but tidiness: [`reserve`](Self::reserve) does not count them.
    fn sweep(&self, now: UnixMillis) -> CatalogFuture<'_, u64>;

    /// One generation in the ledger, all of which is searched.
    fn ledger_entry(&self, stream: StreamId) -> CatalogFuture<'_, Option<LedgerEntry>>;

    /// Sums over the ledger, ordered by time and then by what was asked for.
    /// [`CatalogError::Invalid`] when there are more than
    /// [`USAGE_ROWS`](everstream_core::limits::USAGE_ROWS).
    fn usage<'a>(&'a self, query: &'a UsageQuery) -> CatalogFuture<'a, Vec<UsageRow>>;

    /// Writes into the audit log what the catalogue itself does not do.
    fn audit<'a>(
        &'a self,
        by: &'a Actor,
        action: &'a str,
        target: &'a str,
        detail: &'a str,
    ) -> CatalogFuture<'a, ()>;

    /// At most `limit` rows of the audit log, newest first.
    fn audit_log<'a>(
        &'a self,
        query: &'a AuditQuery,
        limit: usize,
    ) -> CatalogFuture<'a, Vec<AuditEntry>>;

    /// The newest change: ask for it first, then read what is to be cached, then follow
    /// [`changes`](Self::changes).
    fn cursor(&self) -> CatalogFuture<'_, Cursor>;

    /// At most `limit` changes after `after`.
    fn changes(&self, after: Cursor, limit: usize) -> CatalogFuture<'_, Changes>;

    /// Forgets the changes before `before`, but the newest one: who comes later finds a gap.
    fn prune_changes(&self, before: UnixMillis) -> CatalogFuture<'_, u64>;

    /// What is used of limits by all processes on this database together; `None` if it is made for one
    /// process alone.
    fn counters(&self) -> Option<&dyn Counters>;

    /// Waits until there may be changes that this process has not asked for. A hint: it may come
    /// for nothing, and comes within [`CATALOG_POLL`](everstream_core::limits::CATALOG_POLL) in
    /// any case, whatever the database does.
    fn wait(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Ends what runs in the background, and waits for it. Operations after it end with
    /// [`CatalogError::Closed`]. Idempotent.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
