//! The ledger.

use std::collections::{BTreeMap, HashMap};

use everstream_core::event::Usage;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::money::Money;

use super::window::{Window, read_stream, stream_value};
use super::{hold, window};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Lock, Operation, Row, Sql, Statement, Value};
use crate::sql::values::{Alert, LedgerEntry, Payer, Settlement, day_start, month_start};

const ADD: Statement = Statement::new(
    "INSERT INTO ledger (stream, organisation, project, key_id, model, upstream, at, month,
        input_tokens, output_tokens, cached_tokens, cache_write_tokens, audio_input_tokens,
        audio_output_tokens, reasoning_tokens, estimated, cost)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
     ON CONFLICT (at, stream) DO NOTHING",
);
/// Whether there are budgets, and reserves.
const IN_USE: Statement = Statement::new(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM budgets) THEN 1 ELSE 0 END,
        CASE WHEN EXISTS (SELECT 1 FROM holds) THEN 1 ELSE 0 END",
);
const SPEND: Statement =
    Statement::new("UPDATE budget_windows SET spent = spent + $1 WHERE budget = $2 AND since = $3");
const GET: Statement = Statement::new(
    "SELECT stream, organisation, project, key_id, model, upstream, at,
        input_tokens, output_tokens, cached_tokens, cache_write_tokens, audio_input_tokens,
        audio_output_tokens, reasoning_tokens, estimated, cost
     FROM ledger WHERE stream = $1",
);

/// A million dollars: more than any generation costs, and few enough that the sum of nine thousand such
/// rows still fits what a database adds up in.
const MOST: Money = Money(1_000_000_000_000_000);

pub(in crate::sql) struct Settle(pub(in crate::sql) Vec<LedgerEntry>);

/// A window, and what this settlement adds.
struct Spending {
    window: Window,
    added: u64,
}

/// By budget and the beginning of its period.
type Spendings = BTreeMap<(String, UnixMillis), Spending>;

impl Operation for Settle {
    type Output = Settlement;
    const EFFECT: Effect = Effect::Writes;
    const LOCK: Lock = Lock::Spending;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Settlement, CatalogError> {
        let mut entries: Vec<_> = self.0.iter().collect();
        // Whoever settles many locks windows in the same order, so that nobody waits in a circle.
        entries.sort_by_cached_key(|entry| {
            let payer = &entry.payer;
            let key = payer.key.as_ref().map(ToString::to_string);
            (
                payer.organisation.clone(),
                payer.project.clone(),
                key,
                entry.at,
            )
        });
        let in_use = sql.query(&IN_USE, &[]).await?;
        let in_use = |column| in_use.first().map_or(Ok(false), |row| row.flag(column));
        let (has_budgets, has_holds) = (in_use(0)?, in_use(1)?);
        let mut spendings = Spendings::new();
        let mut covering: HashMap<(&Payer, UnixMillis), Vec<(String, UnixMillis)>> = HashMap::new();
        for entry in entries.iter().filter(|_| has_budgets) {
            let day = (&entry.payer, day_start(entry.at));
            if covering.contains_key(&day) {
                continue;
            }
            let subject = (entry.stream, UnixMillis(0));
            let windows = window::lock(sql, &entry.payer, entry.at, subject).await?;
            let mut keys = Vec::with_capacity(windows.len());
            for window in windows {
                let key = (window.budget.id.to_string(), window.since);
                keys.push(key.clone());
                let spending = Spending { window, added: 0 };
                spendings.entry(key).or_insert(spending);
            }
            covering.insert(day, keys);
        }
        let mut done = Settlement::default();
        let rows: Vec<_> = entries.iter().map(|entry| row(entry)).collect();
        let added = sql.execute_each(&ADD, &rows).await?;
        for (entry, added) in entries.iter().zip(added) {
            if added == 0 {
                done.repeated += 1;
                continue;
            }
            done.settled += 1;
            for key in covering
                .get(&(&entry.payer, day_start(entry.at)))
                .into_iter()
                .flatten()
            {
                if let Some(spending) = spendings.get_mut(key) {
                    spending.added += entry.cost.0.min(MOST.0);
                }
            }
        }
        done.alerts = spend(sql, &spendings).await?;
        if has_holds {
            let streams: Vec<_> = entries.iter().map(|entry| entry.stream).collect();
            hold::free(sql, &streams).await?;
        }
        Ok(done)
    }
}

async fn spend<S: Sql>(sql: &mut S, spendings: &Spendings) -> Result<Vec<Alert>, CatalogError> {
    let mut alerts = Vec::new();
    for ((budget, since), Spending { window, added }) in spendings {
        if *added == 0 {
            continue;
        }
        let nanos = i64::try_from(*added).unwrap_or(i64::MAX);
        let parameters = [nanos.into(), budget.as_str().into(), (*since).into()];
        sql.execute(&SPEND, &parameters).await?;
        let limit = window.budget.limit;
        let spent = window.spent.saturating_add(*added);
        for &percent in &window.budget.alert_at {
            let threshold = limit.0 * u64::from(percent) / 100;
            if window.spent < threshold && threshold <= spent {
                alerts.push(Alert {
                    budget: window.budget.id.clone(),
                    since: *since,
                    percent,
                    limit,
                    spent,
                });
            }
        }
    }
    Ok(alerts)
}

fn row(entry: &LedgerEntry) -> Vec<Value> {
    let count = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let LedgerEntry { payer, usage, .. } = entry;
    vec![
        stream_value(entry.stream),
        payer
            .organisation
            .as_ref()
            .map_or("", |id| id.as_str())
            .into(),
        (&payer.project).into(),
        payer.key.as_ref().map_or("", |id| id.as_str()).into(),
        clean(&entry.model),
        clean(&entry.upstream),
        entry.at.into(),
        month_start(entry.at).into(),
        count(usage.input_tokens),
        count(usage.output_tokens),
        count(usage.cached_tokens),
        count(usage.cache_write_tokens),
        count(usage.audio_input_tokens),
        count(usage.audio_output_tokens),
        count(usage.reasoning_tokens),
        usage.estimated.into(),
        count(entry.cost.0.min(MOST.0)),
    ]
}

/// What was used is settled whatever it is called, and no `PostgreSQL` text holds a zero.
fn clean(text: &str) -> Value {
    Value::Text(text.replace('\0', "\u{fffd}"))
}

pub(in crate::sql) struct GetEntry(pub(in crate::sql) StreamId);

impl Operation for GetEntry {
    type Output = Option<LedgerEntry>;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Option<LedgerEntry>, CatalogError> {
        let rows = sql.query(&GET, &[stream_value(self.0)]).await?;
        rows.first().map(entry).transpose()
    }
}

fn entry(row: &Row) -> Result<LedgerEntry, CatalogError> {
    let has = |column| row.text(column).map(|text| !text.is_empty());
    Ok(LedgerEntry {
        stream: read_stream(row, 0)?,
        payer: Payer {
            organisation: has(1)?.then(|| row.parse(1)).transpose()?,
            project: row.parse(2)?,
            key: has(3)?.then(|| row.parse(3)).transpose()?,
        },
        model: row.text(4)?.to_owned(),
        upstream: row.text(5)?.to_owned(),
        at: row.time(6)?,
        usage: Usage {
            input_tokens: row.count(7)?,
            output_tokens: row.count(8)?,
            cached_tokens: row.count(9)?,
            cache_write_tokens: row.count(10)?,
            audio_input_tokens: row.count(11)?,
            audio_output_tokens: row.count(12)?,
            reasoning_tokens: row.count(13)?,
            estimated: row.flag(14)?,
        },
        cost: Money(row.count(15)?),
    })
}
