//! Budgets and reserves.

use everstream_core::id::{StreamId, UnixMillis};

use super::window::{
    Window, budget_columns, covers_payer, present, present_window, read_budget, stream_value,
};
use super::{after, hold, limit, record, window};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Lock, Operation, Row, Sql, Statement};
use crate::sql::values::{
    Actor, Budget, BudgetId, BudgetState, ChangeKind, Held, Payer, Period, Refusal, ReserveRequest,
    Reserved, Scope, day_start, month_start,
};

const ADD: Statement = Statement::new(
    "INSERT INTO budgets (id, scope_kind, scope, period, limit_nanos, alert_at)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
);
const CHANGE: Statement = Statement::new(
    "UPDATE budgets SET limit_nanos = $1, alert_at = $2
     WHERE id = $3 AND scope_kind = $4 AND scope = $5 AND period = $6",
);
const DELETE_HOLDS: Statement = Statement::new("DELETE FROM holds WHERE budget = $1");
const DELETE_WINDOWS: Statement = Statement::new("DELETE FROM budget_windows WHERE budget = $1");
const DELETE: Statement = Statement::new("DELETE FROM budgets WHERE id = $1");
const ADD_HOLDS: Statement = Statement::new(concat!(
    "INSERT INTO holds (stream, budget, since, amount, expires_at)
     SELECT CAST($6 AS BIGINT), w.budget, w.since, CAST($7 AS BIGINT), CAST($8 AS BIGINT)
     FROM budgets b JOIN budget_windows w ON ",
    present_window!(),
    " WHERE ",
    covers_payer!(),
    " ON CONFLICT (stream, budget) DO NOTHING"
));
const ADD_RESERVED: Statement = Statement::new(
    "UPDATE budget_windows SET reserved = reserved + $1 WHERE EXISTS (
        SELECT 1 FROM holds h WHERE h.stream = $2
            AND h.budget = budget_windows.budget AND h.since = budget_windows.since)",
);
macro_rules! states {
    ($which:expr, $order:expr) => {
        concat!(
            "SELECT ",
            budget_columns!(),
            ", w.spent,
                (SELECT CAST(coalesce(sum(h.amount), 0) AS BIGINT) FROM holds h
                 WHERE h.budget = b.id AND h.since = w.since AND h.expires_at > ",
            $order,
            ") FROM budgets b LEFT JOIN budget_windows w ON ",
            present_window!(),
            " WHERE ",
            $which
        )
    };
}
const STATES: Statement = Statement::new(states!("b.id > $4 ORDER BY b.id LIMIT $5", "$3"));
const STATES_OF: Statement = Statement::new(states!(
    concat!(covers_payer!(), " AND b.id > $7 ORDER BY b.id LIMIT $8"),
    "$6"
));

pub(in crate::sql) struct PutBudget {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) budget: Budget,
}

impl Operation for PutBudget {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;
    const LOCK: Lock = Lock::Budgets;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        let budget = &self.budget;
        if budget.alert_at.contains(&0) {
            let text = "an alert is at 1 percent of a budget at least".to_owned();
            return Err(CatalogError::Invalid(text));
        }
        let percents: Vec<_> = budget.alert_at.iter().map(u8::to_string).collect();
        let percents = percents.join(",");
        let (kind, scope) = match &budget.scope {
            Scope::Organisation(id) => ("organisation", id.as_str()),
            Scope::Project(id) => ("project", id.as_str()),
            Scope::Key(id) => ("key", id.as_str()),
        };
        let period = match budget.period {
            Period::Day => "day",
            Period::Month => "month",
        };
        let id = budget.id.as_str();
        let nanos = i64::try_from(budget.limit.0).unwrap_or(i64::MAX);
        let (limit, alerts) = (nanos.into(), percents.as_str().into());
        let row = [
            id.into(),
            kind.into(),
            scope.into(),
            period.into(),
            limit,
            alerts,
        ];
        if sql.execute(&ADD, &row).await? == 0 {
            let [id, kind, scope, period, limit, alerts] = row;
            let row = [limit, alerts, id, kind, scope, period];
            if sql.execute(&CHANGE, &row).await? == 0 {
                return Err(CatalogError::Invalid(format!(
                    "budget `{}` has another scope or period: delete it, or choose another id",
                    budget.id
                )));
            }
        }
        let detail = format!("{kind} {scope}, {} a {period}", budget.limit);
        let what = (id, detail.as_str());
        record(sql, &self.by, ChangeKind::Budget, "budget.put", what).await
    }
}

pub(in crate::sql) struct DeleteBudget {
    pub(in crate::sql) by: Actor,
    pub(in crate::sql) id: BudgetId,
}

impl Operation for DeleteBudget {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;
    const LOCK: Lock = Lock::Budgets;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        let id = self.id.as_str();
        for statement in [&DELETE_HOLDS, &DELETE_WINDOWS] {
            sql.execute(statement, &[id.into()]).await?;
        }
        if sql.execute(&DELETE, &[id.into()]).await? == 0 {
            let (what, id) = ("budget", id.to_owned());
            return Err(CatalogError::NotFound { what, id });
        }
        record(sql, &self.by, ChangeKind::Budget, "budget.delete", (id, "")).await
    }
}

pub(in crate::sql) struct ListBudgets {
    pub(in crate::sql) payer: Option<Payer>,
    pub(in crate::sql) after: Option<BudgetId>,
    pub(in crate::sql) limit: usize,
    pub(in crate::sql) now: UnixMillis,
}

impl Operation for ListBudgets {
    type Output = Vec<BudgetState>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<BudgetState>, CatalogError> {
        let after = after(self.after.as_ref().map(BudgetId::as_str));
        let now = self.now;
        let rows = if let Some(payer) = &self.payer {
            let [day, month, organisation, project, key] = present(payer, now);
            let parameters = [
                day,
                month,
                organisation,
                project,
                key,
                now.into(),
                after,
                limit(self.limit),
            ];
            sql.query(&STATES_OF, &parameters).await?
        } else {
            let (day, month) = (day_start(now).into(), month_start(now).into());
            let parameters = [day, month, now.into(), after, limit(self.limit)];
            sql.query(&STATES, &parameters).await?
        };
        let mut states = Vec::with_capacity(rows.len());
        for row in &rows {
            let budget = read_budget(row)?;
            let since = budget.period.start(now);
            let spent = match row.maybe(6, Row::count)? {
                Some(spent) => spent,
                None => window::spent(sql, &budget, since).await?,
            };
            states.push(BudgetState {
                since,
                until: budget.period.end(now),
                budget,
                spent,
                reserved: row.count(7)?,
            });
        }
        Ok(states)
    }
}

pub(in crate::sql) struct Reserve(pub(in crate::sql) ReserveRequest);

impl Operation for Reserve {
    type Output = Reserved;
    const EFFECT: Effect = Effect::Leases;
    const LOCK: Lock = Lock::Spending;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Reserved, CatalogError> {
        let asked = &self.0;
        let subject = (asked.stream, asked.now);
        let mut windows = window::lock(sql, &asked.payer, asked.at, subject).await?;
        if windows.is_empty() {
            return Ok(Reserved::Held(Vec::new()));
        }
        self.free_lapsed(sql, &mut windows).await?;
        if self.is_held(sql, &windows).await? {
            return Ok(Reserved::Held(held(&windows, 0)));
        }
        let is_used_up = |w: &&Window| w.spent.saturating_add(w.reserved) >= w.budget.limit.0;
        if let Some(window) = windows.iter().find(is_used_up) {
            return Ok(Reserved::Refused(Refusal {
                budget: window.budget.id.clone(),
                limit: window.budget.limit,
                spent: window.spent,
                reserved: window.reserved,
                resets_at: window.budget.period.end(asked.at),
            }));
        }
        self.hold(sql, windows.len()).await?;
        Ok(Reserved::Held(held(&windows, asked.amount.0)))
    }
}

impl Reserve {
    /// What a dead process left counts no more.
    async fn free_lapsed<S: Sql>(
        &self,
        sql: &mut S,
        windows: &mut [Window],
    ) -> Result<(), CatalogError> {
        for window in windows.iter_mut().filter(|window| window.lapsed > 0) {
            let id = window.budget.id.as_str();
            let freed = hold::free_lapsed_of(sql, id, self.0.now).await?;
            let here = freed.get(&(id.to_owned(), window.since)).copied();
            window.reserved = window.reserved.saturating_sub(here.unwrap_or(0));
        }
        Ok(())
    }

    /// Whether the stream has a reserve that did not lapse; then its lease is renewed.
    async fn is_held<S: Sql>(&self, sql: &mut S, windows: &[Window]) -> Result<bool, CatalogError> {
        if !windows.iter().any(|window| window.has_stream) {
            return Ok(false);
        }
        let lease = (self.0.now, self.0.lease_until);
        let stream = [self.0.stream];
        let is_held = !hold::renew(sql, &stream, lease).await?.is_empty();
        if !is_held {
            // What lapsed in these budgets is freed already, but not what did in others.
            hold::free(sql, &stream).await?;
        }
        Ok(is_held)
    }

    async fn hold<S: Sql>(&self, sql: &mut S, windows: usize) -> Result<(), CatalogError> {
        let asked = &self.0;
        let [day, month, organisation, project, key] = present(&asked.payer, asked.at);
        let stream = stream_value(asked.stream);
        let amount = i64::try_from(asked.amount.0).unwrap_or(i64::MAX);
        let parameters = [
            day,
            month,
            organisation,
            project,
            key,
            stream.clone(),
            amount.into(),
            asked.lease_until.into(),
        ];
        let held = sql.execute(&ADD_HOLDS, &parameters).await?;
        if usize::try_from(held) != Ok(windows) {
            return Err(CatalogError::Busy(
                "the same stream is being reserved twice at once: ask again".to_owned(),
            ));
        }
        let parameters = [amount.into(), stream];
        sql.execute(&ADD_RESERVED, &parameters).await.map(drop)
    }
}

fn held(windows: &[Window], amount: u64) -> Vec<Held> {
    let held = |window: &Window| Held {
        budget: window.budget.id.clone(),
        limit: window.budget.limit,
        spent: window.spent,
        reserved: window.reserved.saturating_add(amount),
    };
    windows.iter().map(held).collect()
}

pub(in crate::sql) struct Renew {
    pub(in crate::sql) streams: Vec<StreamId>,
    pub(in crate::sql) now: UnixMillis,
    pub(in crate::sql) lease_until: UnixMillis,
}

impl Operation for Renew {
    type Output = Vec<StreamId>;
    const EFFECT: Effect = Effect::Leases;
    const LOCK: Lock = Lock::Spending;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<StreamId>, CatalogError> {
        hold::renew(sql, &self.streams, (self.now, self.lease_until)).await
    }
}

pub(in crate::sql) struct Release(pub(in crate::sql) StreamId);

impl Operation for Release {
    type Output = ();
    const EFFECT: Effect = Effect::Leases;
    const LOCK: Lock = Lock::Spending;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        hold::free(sql, &[self.0]).await.map(drop)
    }
}

pub(in crate::sql) struct Sweep(pub(in crate::sql) UnixMillis);

impl Operation for Sweep {
    type Output = u64;
    const EFFECT: Effect = Effect::Leases;
    const LOCK: Lock = Lock::Spending;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<u64, CatalogError> {
        hold::free_lapsed(sql, self.0).await
    }
}
