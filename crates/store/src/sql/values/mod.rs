//! What the catalogue holds.

mod access;
mod audit;
mod budget;
mod ledger;
mod period;
mod tenancy;
mod usage;

pub use access::{Allow, ApiKey, Expiry, KeyId, KeyPatch, KeySecret, NewKey, Scopes, SecretHash};
pub use audit::{Actor, AuditEntry, AuditQuery, Change, ChangeKind, Changes, Cursor};
pub use budget::{
    Budget, BudgetId, BudgetState, Held, Period, Refusal, ReserveRequest, Reserved, Scope,
};
pub use ledger::{Alert, LedgerEntry, Payer, Settlement};
pub use period::{day_start, month_after, month_start};
pub use tenancy::{NAME_CHARS, Organisation, OrganisationId, Project, Tenant};
pub use usage::{Bucket, GroupBy, UsageFilter, UsageQuery, UsageRow};
