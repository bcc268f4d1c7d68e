//! Budgets in their present period, locked.
//!
//! Whoever spends or reserves holds the lock of [`Lock::Spending`](crate::sql::engine::Lock), then
//! locks the rows of the windows in the order of their budgets. A window is made when it is first
//! needed, from the ledger; as whoever settles makes it before he writes the ledger, nothing is
//! counted twice or not at all.

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::money::Money;

use crate::sql::CatalogError;
use crate::sql::engine::{Row, Sql, Statement, Value};
use crate::sql::values::{Budget, BudgetId, Payer, Period, Scope, day_start, month_start};

/// The columns of a budget, as [`read_budget`] takes them.
macro_rules! budget_columns {
    () => {
        "b.id, b.scope_kind, b.scope, b.period, b.limit_nanos, b.alert_at"
    };
}
/// `$1` and `$2` are when the day and the month began.
macro_rules! present_window {
    () => {
        "w.budget = b.id AND w.since =
            CASE b.period WHEN 'day' THEN CAST($1 AS BIGINT) ELSE CAST($2 AS BIGINT) END"
    };
}
/// `$3`, `$4` and `$5` are the payer.
macro_rules! covers_payer {
    () => {
        "((b.scope_kind = 'organisation' AND b.scope = $3)
            OR (b.scope_kind = 'project' AND b.scope = $4)
            OR (b.scope_kind = 'key' AND b.scope = $5))"
    };
}
pub(super) use {budget_columns, covers_payer, present_window};

const COVERING: Statement = Statement::new(concat!(
    "SELECT ",
    budget_columns!(),
    ", CASE WHEN w.budget IS NULL THEN 1 ELSE 0 END
     FROM budgets b LEFT JOIN budget_windows w ON ",
    present_window!(),
    " WHERE ",
    covers_payer!(),
    " ORDER BY b.id"
));
macro_rules! locked {
    ($lock:literal) => {
        concat!(
            "SELECT w.spent, w.reserved,
                (SELECT count(*) FROM holds h WHERE h.budget = b.id AND h.expires_at <= $6),
                (SELECT count(*) FROM holds h WHERE h.stream = $7)
             FROM budgets b JOIN budget_windows w ON ",
            present_window!(),
            " WHERE ",
            covers_payer!(),
            " ORDER BY b.id",
            $lock
        )
    };
}
const LOCKED: Statement = Statement::of(locked!(""), locked!(" FOR UPDATE OF w"));
const SPENT_BY_ORGANISATION: Statement = Statement::new(
    "SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM ledger
     WHERE organisation = $1 AND organisation <> '' AND at >= $2 AND at < $3",
);
const SPENT_BY_PROJECT: Statement = Statement::new(
    "SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM ledger
     WHERE project = $1 AND at >= $2 AND at < $3",
);
const SPENT_BY_KEY: Statement = Statement::new(
    "SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM ledger
     WHERE key_id = $1 AND key_id <> '' AND at >= $2 AND at < $3",
);
const ADD_WINDOW: Statement = Statement::new(
    "INSERT INTO budget_windows (budget, since, spent, reserved) VALUES ($1, $2, $3, 0)
     ON CONFLICT (budget, since) DO NOTHING",
);

/// A budget in one period.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) budget: Budget,
    pub(super) since: UnixMillis,
    pub(super) spent: u64,
    /// With what lapsed and was not swept.
    pub(super) reserved: u64,
    /// Reserves of this budget whose leases were over at the time asked for.
    pub(super) lapsed: u64,
    /// Whether the stream asked for has a reserve, in whatever budget.
    pub(super) has_stream: bool,
}

/// The parameters `$1` to `$5`.
pub(super) fn present(payer: &Payer, at: UnixMillis) -> [Value; 5] {
    let organisation = payer.organisation.as_ref().map_or("", |id| id.as_str());
    let key = payer.key.as_ref().map_or("", |id| id.as_str());
    [
        day_start(at).into(),
        month_start(at).into(),
        organisation.into(),
        (&payer.project).into(),
        key.into(),
    ]
}

/// The windows of `at` of all budgets that cover the payer, locked until the end of the transaction.
pub(super) async fn lock<S: Sql>(
    sql: &mut S,
    payer: &Payer,
    at: UnixMillis,
    (stream, now): (StreamId, UnixMillis),
) -> Result<Vec<Window>, CatalogError> {
    let parameters = present(payer, at);
    let rows = sql.query(&COVERING, &parameters).await?;
    let mut budgets = Vec::with_capacity(rows.len());
    for row in &rows {
        let budget = read_budget(row)?;
        if row.flag(6)? {
            let since = budget.period.start(at);
            let spent = spent(sql, &budget, since).await?;
            let row = [
                budget.id.as_str().into(),
                since.into(),
                i64::try_from(spent).unwrap_or(i64::MAX).into(),
            ];
            sql.execute(&ADD_WINDOW, &row).await?;
        }
        budgets.push(budget);
    }
    if budgets.is_empty() {
        return Ok(Vec::new());
    }
    let [day, month, organisation, project, key] = parameters;
    let stream = stream_value(stream);
    let parameters = [day, month, organisation, project, key, now.into(), stream];
    let rows = sql.query(&LOCKED, &parameters).await?;
    if rows.len() != budgets.len() {
        let text = "a budget without its window".to_owned();
        return Err(CatalogError::Damaged(text));
    }
    let window = |(budget, row): (Budget, &Row)| {
        Ok(Window {
            since: budget.period.start(at),
            budget,
            spent: row.count(0)?,
            reserved: row.count(1)?,
            lapsed: row.count(2)?,
            has_stream: row.int(3)? > 0,
        })
    };
    budgets.into_iter().zip(&rows).map(window).collect()
}

/// What the ledger has for a budget in the period that began at `since`.
pub(super) async fn spent<S: Sql>(
    sql: &mut S,
    budget: &Budget,
    since: UnixMillis,
) -> Result<u64, CatalogError> {
    let (statement, id) = match &budget.scope {
        Scope::Organisation(id) => (&SPENT_BY_ORGANISATION, id.as_str()),
        Scope::Project(id) => (&SPENT_BY_PROJECT, id.as_str()),
        Scope::Key(id) => (&SPENT_BY_KEY, id.as_str()),
    };
    let until = budget.period.end(since);
    let parameters = [id.into(), since.into(), until.into()];
    let rows = sql.query(statement, &parameters).await?;
    rows.first().map_or(Ok(0), |row| row.count(0))
}

pub(super) fn read_budget(row: &Row) -> Result<Budget, CatalogError> {
    let damaged = |what: &str| CatalogError::Damaged(format!("{what} of a budget"));
    let scope = match row.text(1)? {
        "organisation" => Scope::Organisation(row.parse(2)?),
        "project" => Scope::Project(row.parse(2)?),
        "key" => Scope::Key(row.parse(2)?),
        _ => return Err(damaged("the scope")),
    };
    let period = match row.text(3)? {
        "day" => Period::Day,
        "month" => Period::Month,
        _ => return Err(damaged("the period")),
    };
    let percents = row.text(5)?.split(',').filter(|text| !text.is_empty());
    let alert_at: Result<_, _> = percents.map(str::parse).collect();
    Ok(Budget {
        id: row.parse::<BudgetId>(0)?,
        scope,
        period,
        limit: Money(row.count(4)?),
        alert_at: alert_at.map_err(|_| damaged("an alert"))?,
    })
}

#[expect(clippy::cast_possible_wrap, reason = "the bits count, not the number")]
pub(super) const fn stream_value(stream: StreamId) -> Value {
    Value::Int(stream.to_bits() as i64)
}

#[expect(clippy::cast_sign_loss, reason = "the bits count, not the number")]
pub(super) fn read_stream(row: &Row, column: usize) -> Result<StreamId, CatalogError> {
    Ok(StreamId::from_bits(row.int(column)? as u64))
}
