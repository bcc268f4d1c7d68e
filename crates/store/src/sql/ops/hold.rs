//! Reserves: freed, moved on, found.

use std::collections::BTreeMap;

use everstream_core::id::{StreamId, UnixMillis};

use super::window::{read_stream, stream_value};
use crate::sql::CatalogError;
use crate::sql::engine::{Row, Sql, Statement, Value};

/// Streams that one statement takes; a shorter list is filled up with its last one.
pub(super) const STREAMS: usize = 16;

macro_rules! streams {
    () => {
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
    };
}
const FREE: Statement = Statement::new(concat!(
    "DELETE FROM holds WHERE stream IN ",
    streams!(),
    " RETURNING budget, since, amount, stream"
));
const FREE_LAPSED: Statement = Statement::new(
    "DELETE FROM holds WHERE expires_at <= $1 RETURNING budget, since, amount, stream",
);
const FREE_LAPSED_OF: Statement = Statement::new(
    "DELETE FROM holds WHERE budget = $1 AND expires_at <= $2
     RETURNING budget, since, amount, stream",
);
const GIVE_BACK: Statement = Statement::new(
    "UPDATE budget_windows SET reserved = reserved - $1 WHERE budget = $2 AND since = $3",
);
const RENEW: Statement = Statement::new(concat!(
    "UPDATE holds SET expires_at = $17 WHERE stream IN ",
    streams!(),
    " AND expires_at > $18 RETURNING stream"
));

/// What was freed in one window.
pub(super) type Freed = BTreeMap<(String, UnixMillis), u64>;

/// Frees the reserves of these streams.
pub(super) async fn free<S: Sql>(sql: &mut S, streams: &[StreamId]) -> Result<Freed, CatalogError> {
    let mut rows = Vec::new();
    for some in streams.chunks(STREAMS) {
        rows.extend(sql.query(&FREE, &fill(some)).await?);
    }
    give_back(sql, &rows).await
}

/// Frees the reserves whose leases are over, of one budget.
pub(super) async fn free_lapsed_of<S: Sql>(
    sql: &mut S,
    budget: &str,
    now: UnixMillis,
) -> Result<Freed, CatalogError> {
    let rows = sql
        .query(&FREE_LAPSED_OF, &[budget.into(), now.into()])
        .await?;
    give_back(sql, &rows).await
}

/// Frees the reserves whose leases are over, and says of how many streams.
pub(super) async fn free_lapsed<S: Sql>(sql: &mut S, now: UnixMillis) -> Result<u64, CatalogError> {
    let rows = sql.query(&FREE_LAPSED, &[now.into()]).await?;
    give_back(sql, &rows).await?;
    let streams = super::all(&rows, |row| read_stream(row, 3))?;
    let mut streams: Vec<_> = streams.into_iter().map(StreamId::to_bits).collect();
    streams.sort_unstable();
    streams.dedup();
    Ok(streams.len() as u64)
}

/// Moves the ends of leases that are not over, and says whose.
pub(super) async fn renew<S: Sql>(
    sql: &mut S,
    streams: &[StreamId],
    (now, until): (UnixMillis, UnixMillis),
) -> Result<Vec<StreamId>, CatalogError> {
    let mut renewed = Vec::new();
    for some in streams.chunks(STREAMS) {
        let mut parameters = fill(some);
        parameters.extend([until.into(), now.into()]);
        let rows = sql.query(&RENEW, &parameters).await?;
        renewed.extend(super::all(&rows, |row| read_stream(row, 0))?);
    }
    renewed.sort_unstable();
    renewed.dedup();
    Ok(renewed)
}

fn fill(streams: &[StreamId]) -> Vec<Value> {
    let last = streams.last().copied();
    let padding = last.into_iter().cycle().take(STREAMS - streams.len());
    let all = streams.iter().copied().chain(padding);
    all.map(stream_value).collect()
}

/// In the order of the budgets, as whoever locks windows.
async fn give_back<S: Sql>(sql: &mut S, rows: &[Row]) -> Result<Freed, CatalogError> {
    let mut freed = Freed::new();
    for row in rows {
        let window = (row.text(0)?.to_owned(), row.time(1)?);
        *freed.entry(window).or_default() += row.count(2)?;
    }
    for ((budget, since), amount) in &freed {
        let amount = i64::try_from(*amount).unwrap_or(i64::MAX);
        let parameters = [amount.into(), budget.as_str().into(), (*since).into()];
        sql.execute(&GIVE_BACK, &parameters).await?;
    }
    Ok(freed)
}
