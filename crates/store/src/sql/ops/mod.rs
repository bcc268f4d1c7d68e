//! Every operation, once for all databases.

mod access;
mod audit;
mod budget;
mod changes;
mod hold;
#[cfg(feature = "postgres")]
mod limits;
mod nonces;
mod settle;
mod tenancy;
mod usage;
mod window;

pub(super) use access::{ChangeKey, CreateKey, GetKey, ListKeys, RevokeKey, RotateKey};
pub(super) use audit::{Audit, AuditLog};
pub(super) use budget::{DeleteBudget, ListBudgets, PutBudget, Release, Renew, Reserve, Sweep};
pub(super) use changes::{Check, GetChanges, GetCursor, PruneChanges};
#[cfg(feature = "postgres")]
pub(super) use limits::{RenewSlots, SettleLimits, SweepLimits, TakeLimits};
pub(super) use nonces::{ClaimNonce, PruneNonces};
pub(super) use settle::{GetEntry, Settle};
pub(super) use tenancy::{
    CreateOrganisation, CreateProject, GetProject, ListOrganisations, ListProjects, Suspend,
};
pub(super) use usage::Usage;

use super::CatalogError;
use super::engine::{Dialect, Row, Sql, Statement, Value};
use super::values::{Actor, ChangeKind, NAME_CHARS};

const NEXT: Statement =
    Statement::new("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value");
const ADD_AUDIT: Statement = Statement::new(
    "INSERT INTO audit_log (number, at, who, action, target, detail)
     VALUES ($1, $2, $3, $4, $5, $6)",
);
const ADD_CHANGE: Statement =
    Statement::new("INSERT INTO changes (number, kind, id, at) VALUES ($1, $2, $3, $4)");
const NOTIFY: Statement = Statement::new("SELECT pg_notify('everstream_changes', '')");

/// Writes the audit log and the change that belong to an operation.
async fn record<S: Sql>(
    sql: &mut S,
    by: &Actor,
    kind: ChangeKind,
    action: &str,
    (target, detail): (&str, &str),
) -> Result<(), CatalogError> {
    write_audit(sql, by, action, (target, detail)).await?;
    let number = next(sql, "change").await?;
    let change = [number, kind.as_str().into(), target.into(), by.at.into()];
    sql.execute(&ADD_CHANGE, &change).await?;
    if sql.dialect() == Dialect::Postgres {
        sql.execute(&NOTIFY, &[]).await?;
    }
    Ok(())
}

async fn write_audit<S: Sql>(
    sql: &mut S,
    by: &Actor,
    action: &str,
    (target, detail): (&str, &str),
) -> Result<(), CatalogError> {
    let who = by.who.as_str().into();
    let number = next(sql, "audit").await?;
    let (target, detail) = (target.into(), detail.into());
    let row = [number, by.at.into(), who, action.into(), target, detail];
    sql.execute(&ADD_AUDIT, &row).await?;
    Ok(())
}

async fn next<S: Sql>(sql: &mut S, counter: &str) -> Result<Value, CatalogError> {
    let rows = sql.query(&NEXT, &[counter.into()]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| CatalogError::Damaged(format!("no counter `{counter}`")))?;
    row.int(0).map(Value::Int)
}

/// What people call something: one line, not empty, not endless.
fn check_name(name: &str) -> Result<(), CatalogError> {
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS {
        let text = format!("a name has 1 to {NAME_CHARS} characters");
        return Err(CatalogError::Invalid(text));
    }
    check_text(name)
}

/// Control characters make logs lie, and no `PostgreSQL` text holds a zero.
fn check_text(text: &str) -> Result<(), CatalogError> {
    if text.chars().any(char::is_control) {
        let text = "a text with control characters".to_owned();
        return Err(CatalogError::Invalid(text));
    }
    Ok(())
}

fn limit(limit: usize) -> Value {
    Value::Int(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn after(id: Option<&str>) -> Value {
    id.unwrap_or_default().into()
}

fn all<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, CatalogError>,
) -> Result<Vec<T>, CatalogError> {
    rows.iter().map(read).collect()
}
