//! What is used of limits, in `PostgreSQL`: each operation is one call of a function of
//! `migrations/postgres/0002_limits.sql`, and so one round trip.

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::limit::rate::{self, Level};
use everstream_core::policy::limit::slots::SlotsTaken;
use serde_json::{Value as Json, json};

use super::all;
use crate::counters::{Charge, Correction, Hold, Refusal, Seat, Settle, Take, Taken};
use crate::sql::CatalogError;
use crate::sql::engine::{Effect, Operation, Row, Sql, Statement};

const TAKE: Statement = Statement::new("SELECT first, second FROM limit_take($1)");
const SETTLE: Statement = Statement::new("SELECT limit_settle($1)");
const RENEW: Statement = Statement::new(
    "INSERT INTO limit_slots (key, holder, expires_at)
     SELECT hold.key, hold.holder, $2
     FROM jsonb_to_recordset($1::TEXT::JSONB) AS hold (key TEXT, holder BIGINT)
     ORDER BY hold.key, hold.holder
     ON CONFLICT (key, holder) DO UPDATE SET expires_at = excluded.expires_at",
);
const SWEEP: Statement = Statement::new(
    "WITH slots AS (
         DELETE FROM limit_slots WHERE (key, holder) IN (
             SELECT key, holder FROM limit_slots WHERE expires_at <= $1 FOR UPDATE SKIP LOCKED))
     DELETE FROM limit_levels WHERE key IN (
         SELECT key FROM limit_levels WHERE idle_at <= $1 FOR UPDATE SKIP LOCKED)",
);

/// See [`Counters::take`](crate::counters::Counters::take).
pub(in crate::sql) struct TakeLimits {
    text: String,
    wishes: Vec<Take>,
}

impl TakeLimits {
    pub(in crate::sql) fn new(wishes: &[Take]) -> Self {
        let charge = |charge: &Charge| {
            let Charge { key, quota, cost } = charge;
            let span = millis(*quota);
            json!({ "key": key, "units": quota.units(), "span": span, "cost": cost })
        };
        let seat = |seat: &Seat| json!({ "key": seat.key, "limit": seat.limit });
        let wish = |wish: &Take| {
            json!({
                "holder": holder(wish.holder),
                "now": wish.now.0,
                "until": wish.until.0,
                "charges": wish.charges.iter().map(charge).collect::<Vec<_>>(),
                "seats": wish.seats.iter().map(seat).collect::<Vec<_>>(),
            })
        };
        Self {
            text: wishes.iter().map(wish).collect::<Json>().to_string(),
            wishes: wishes.to_vec(),
        }
    }
}

impl Operation for TakeLimits {
    type Output = Vec<Taken>;
    const EFFECT: Effect = Effect::Single;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<Vec<Taken>, CatalogError> {
        let rows = sql.query(&TAKE, &[self.text.as_str().into()]).await?;
        let mut rows = rows.as_slice();
        let mut all_taken = Vec::with_capacity(self.wishes.len());
        for wish in &self.wishes {
            let Some((own, rest)) = rows.split_at_checked(1 + wish.charges.len()) else {
                let missing = "limit_take did not answer for each wish";
                return Err(CatalogError::Damaged(missing.to_owned()));
            };
            all_taken.push(taken(wish, own)?);
            rows = rest;
        }
        Ok(all_taken)
    }
}

/// What came of a wish, by a row for it and one for each of its charges.
fn taken(wish: &Take, rows: &[Row]) -> Result<Taken, CatalogError> {
    let (verdict, mut levels) = (&rows[0], all(&rows[1..], level)?);
    let (charges, now) = (&wish.charges, wish.now);
    let standings = charges.iter().zip(&levels);
    let standings = standings.map(|(charge, level)| rate::peek(charge.quota, level, now));
    let standings = standings.collect();
    if verdict.flag(0)? {
        let refusal = None;
        return Ok(Taken { refusal, standings });
    }
    let charges = charges.iter().zip(&mut levels);
    let charges = charges.map(|(charge, level)| rate::Charge {
        quota: charge.quota,
        level,
        cost: charge.cost,
    });
    let refusal = match rate::reserve(&mut charges.collect::<Vec<_>>(), now) {
        Err(refusal) => Refusal::Rate(refusal),
        Ok(()) => Refusal::Slots(SlotsTaken {
            seat: usize::try_from(verdict.int(1)?).unwrap_or_default(),
        }),
    };
    let refusal = Some(refusal);
    Ok(Taken { refusal, standings })
}

/// See [`Counters::settle`](crate::counters::Counters::settle).
pub(in crate::sql) struct SettleLimits(String);

impl SettleLimits {
    pub(in crate::sql) fn new(ends: &[Settle]) -> Self {
        let correction = |one: &Correction| {
            json!({
                "key": one.key, "units": one.quota.units(), "span": millis(one.quota),
                "cost": one.actual, "reserved": one.reserved,
            })
        };
        let end = |end: &Settle| {
            let seats = end.seats.iter().map(|key| json!({ "key": key }));
            json!({
                "holder": holder(end.holder),
                "now": end.now.0,
                "charges": end.corrections.iter().map(correction).collect::<Vec<_>>(),
                "seats": seats.collect::<Vec<_>>(),
            })
        };
        Self(ends.iter().map(end).collect::<Json>().to_string())
    }
}

impl Operation for SettleLimits {
    type Output = ();
    const EFFECT: Effect = Effect::Single;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        sql.query(&SETTLE, &[self.0.as_str().into()]).await?;
        Ok(())
    }
}

/// See [`Counters::renew`](crate::counters::Counters::renew).
pub(in crate::sql) struct RenewSlots {
    holds: String,
    until: UnixMillis,
}

impl RenewSlots {
    pub(in crate::sql) fn new(holds: &[Hold], until: UnixMillis) -> Self {
        let hold = |hold: &Hold| json!({ "key": hold.key, "holder": holder(hold.holder) });
        let holds = holds.iter().map(hold).collect::<Json>().to_string();
        Self { holds, until }
    }
}

impl Operation for RenewSlots {
    type Output = ();
    const EFFECT: Effect = Effect::Single;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        let parameters = [self.holds.as_str().into(), self.until.into()];
        sql.execute(&RENEW, &parameters).await?;
        Ok(())
    }
}

/// See [`Counters::sweep`](crate::counters::Counters::sweep).
pub(in crate::sql) struct SweepLimits(pub(in crate::sql) UnixMillis);

impl Operation for SweepLimits {
    type Output = ();
    const EFFECT: Effect = Effect::Single;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        sql.execute(&SWEEP, &[self.0.into()]).await?;
        Ok(())
    }
}

fn level(row: &Row) -> Result<Level, CatalogError> {
    Ok(Level {
        debt: row.count(0)?,
        at: row.time(1)?,
    })
}

fn millis(quota: everstream_core::policy::limit::Quota) -> u64 {
    quota.window().as_secs() * 1000
}

fn holder(holder: StreamId) -> i64 {
    holder.to_bits().cast_signed()
}
