//! The audit log.

use super::{all, check_text, limit, write_audit};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement, Value};
use crate::sql::values::{Actor, AuditEntry, AuditQuery};

const READ: Statement = Statement::new(
    "SELECT number, at, who, action, target, detail FROM audit_log
     WHERE number < $1 AND ($2 = '' OR who = $2) AND ($3 = '' OR target = $3)
     ORDER BY number DESC LIMIT $4",
);

pub(in crate::sql) struct Audit {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) action: String,
    pub(in crate::sql) target: String,
    pub(in crate::sql) detail: String,
}

impl Operation for Audit {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        for text in [&self.by.who, &self.action, &self.target, &self.detail] {
            check_text(text)?;
        }
        write_audit(sql, &self.by, &self.action, (&self.target, &self.detail)).await
    }
}

pub(in crate::sql) struct AuditLog {
    pub(in crate::sql) query: AuditQuery,
    pub(in crate::sql) limit: usize,
}

impl Operation for AuditLog {
    type Output = Vec<AuditEntry>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<AuditEntry>, CatalogError> {
        let before = self.query.before.unwrap_or(u64::MAX);
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let text = |some: &Option<String>| Value::from(some.as_deref().unwrap_or_default());
        let who = text(&self.query.who);
        let target = text(&self.query.target);
        let parameters = [before.into(), who, target, limit(self.limit)];
        all(&sql.query(&READ, &parameters).await?, entry)
    }
}

fn entry(row: &Row) -> Result<AuditEntry, CatalogError> {
    Ok(AuditEntry {
        number: row.count(0)?,
        at: row.time(1)?,
        who: row.text(2)?.to_owned(),
        action: row.text(3)?.to_owned(),
        target: row.text(4)?.to_owned(),
        detail: row.text(5)?.to_owned(),
    })
}
