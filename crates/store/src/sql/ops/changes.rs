//! What is new.

use everstream_core::id::UnixMillis;

use super::{all, limit};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement};
use crate::sql::values::{Change, ChangeKind, Changes, Cursor};

const TOUCH: Statement =
    Statement::new("UPDATE counters SET value = value WHERE name = 'none such'");
const NEWEST: Statement = Statement::new("SELECT value FROM counters WHERE name = 'change'");
const OLDEST: Statement =
    Statement::new("SELECT CAST(coalesce(min(number), 0) AS BIGINT) FROM changes");
const AFTER: Statement = Statement::new(
    "SELECT number, kind, id FROM changes WHERE number > $1 ORDER BY number LIMIT $2",
);
const PRUNE: Statement = Statement::new(
    "DELETE FROM changes WHERE at < $1 AND number < (SELECT max(number) FROM changes)",
);

/// A write of nothing: a database that takes no writes refuses it.
pub(in crate::sql) struct Check;

impl Operation for Check {
    type Output = ();
    const EFFECT: Effect = Effect::Leases;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        sql.execute(&TOUCH, &[]).await.map(drop)
    }
}

pub(in crate::sql) struct GetCursor;

impl Operation for GetCursor {
    type Output = Cursor;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Cursor, CatalogError> {
        newest(sql).await
    }
}

pub(in crate::sql) struct GetChanges {
    pub(in crate::sql) after: Cursor,
    pub(in crate::sql) limit: usize,
}

impl Operation for GetChanges {
    type Output = Changes;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Changes, CatalogError> {
        let after = i64::try_from(self.after.0).unwrap_or(i64::MAX);
        let parameters = [after.into(), limit(self.limit)];
        let list = all(&sql.query(&AFTER, &parameters).await?, change)?;
        // Numbers have no holes, so the next one is there, or was forgotten, or is yet to come.
        let is_next = |change: &Change| change.number == self.after.0.saturating_add(1);
        if list.first().is_some_and(is_next) {
            let cursor = Cursor(list.last().map_or(self.after.0, |last| last.number));
            let has_gap = false;
            return Ok(Changes {
                list,
                cursor,
                has_gap,
            });
        }
        let newest = newest(sql).await?;
        if newest == self.after {
            let has_gap = false;
            return Ok(Changes {
                list,
                cursor: newest,
                has_gap,
            });
        }
        // The database may be an older one than that of the cursor: restored from a backup.
        let rows = sql.query(&OLDEST, &[]).await?;
        let oldest = rows.first().map_or(Ok(0), |row| row.count(0))?;
        let has_gap = self.after > newest || self.after.0.saturating_add(1) < oldest;
        let cursor = match list.last() {
            Some(last) => Cursor(last.number),
            None if has_gap => newest,
            None => self.after,
        };
        Ok(Changes {
            list,
            cursor,
            has_gap,
        })
    }
}

pub(in crate::sql) struct PruneChanges {
    pub(in crate::sql) before: UnixMillis,
}

impl Operation for PruneChanges {
    type Output = u64;
    const EFFECT: Effect = Effect::Writes;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<u64, CatalogError> {
        sql.execute(&PRUNE, &[self.before.into()]).await
    }
}

async fn newest<S: Sql>(sql: &mut S) -> Result<Cursor, CatalogError> {
    let rows = sql.query(&NEWEST, &[]).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| CatalogError::Damaged("no counter of changes".to_owned()))?;
    row.count(0).map(Cursor)
}

fn change(row: &Row) -> Result<Change, CatalogError> {
    let kind = ChangeKind::parse(row.text(1)?);
    Ok(Change {
        number: row.count(0)?,
        kind: kind.ok_or_else(|| CatalogError::Damaged("the kind of a change".to_owned()))?,
        id: row.text(2)?.to_owned(),
    })
}
