//! Limits: how much keys, projects, models and addresses may use in a time, and how much at once.
//!
//! A request that is to start something takes of all limits that it falls under, or of none, and holds
//! what it took as a [`Permit`] until its end. What is shared by several gateways is counted in their
//! database ([`shared`]); all else in memory.

mod permit;
mod refusal;
mod rules;
mod shared;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use everstream_core::config::Config;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits::SLOT_LEASE;
use everstream_core::policy::limit::Metric;
use everstream_store::counters::{Charge, MemoryCounters, Settle, Take, Taken};
use everstream_store::sql::Catalog;
use tokio_util::sync::CancellationToken;

use crate::access::Caller;
use crate::clock::Clock;
use crate::random;
use crate::telemetry::metrics::LimitMetrics;
use permit::{Held, Way};
pub use permit::{Permit, Told};
use rules::{Due, Rules};
use shared::Shared;

/// All limits, and what is used of them.
pub struct Limits {
    rules: Rules,
    local: MemoryCounters,
    shared: Option<Arc<Shared>>,
    clock: Clock,
    assumed_output: u64,
    metrics: LimitMetrics,
}

/// Who wants to start something.
pub struct Asks<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// What limits call the model that it asks. Asked for only where there are limits of models.
    pub model: &'a (dyn Fn() -> String + Sync),
    /// How much it may use. Asked for only where there are limits on tokens.
    pub tokens: &'a (dyn Fn() -> Tokens + Sync),
}

/// How much a request may use, as far as that is known beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of its prompt, estimated.
    pub input: u64,
    /// Of its answer; `None` if it sets no limit.
    pub output: Option<u64>,
}

impl Limits {
    /// The limits of a configuration, shared by way of the catalogue if it can do that.
    pub fn new(config: &Config, catalog: Option<Arc<dyn Catalog>>, clock: Clock) -> Arc<Self> {
        let catalog = catalog.filter(|_| config.database.shared_limits);
        let metrics = LimitMetrics::default();
        Arc::new(Self {
            rules: Rules::new(&config.rate_limits),
            local: MemoryCounters::default(),
            shared: catalog.and_then(|catalog| Shared::new(catalog, clock)),
            clock,
            assumed_output: config.limits.assumed_output_tokens,
            metrics,
        })
    }

    /// What is counted of refusals.
    pub fn metrics(&self) -> &LimitMetrics {
        &self.metrics
    }

    /// Whether the limits that gateways share are shared just now; `None` if there are no such.
    pub fn is_shared(&self) -> Option<bool> {
        self.shared.as_ref().map(|shared| shared.is_there())
    }

    /// Takes of all limits that a request falls under. What it gets holds until it is settled or
    /// dropped.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`]: then nothing was taken.
    pub async fn enter(self: &Arc<Self>, asks: &Asks<'_>) -> Result<Permit, Error> {
        let own = &asks.caller.scopes.limits;
        if self.rules.is_empty() && own.is_empty() {
            return Ok(Permit::default());
        }
        let due = self.rules.due(asks);
        if due.is_empty() {
            return Ok(Permit::default());
        }
        let needs_tokens = due
            .rates
            .iter()
            .any(|(limit, _)| limit.metric != Metric::Requests);
        let tokens = if needs_tokens {
            (asks.tokens)()
        } else {
            Tokens::default()
        };
        let wish = self.wish(&due, tokens)?;
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_there()) else {
            return self.judge_here(&due, wish);
        };
        // In a task of its own: a client that leaves meanwhile gives back what was taken for it.
        let (limits, shared) = (Arc::clone(self), Arc::clone(shared));
        let asked = tokio::spawn(async move {
            if let Some(taken) = shared.take(wish.clone()).await {
                return limits.judge(&due, wish, &taken, Way::Shared);
            }
            limits.metrics.unshared();
            limits.judge_here(&due, wish)
        });
        let died = |_| Error::new(ErrorCode::Internal, "The limits could not be checked.");
        asked.await.map_err(died)?
    }

    /// Looks after what is shared until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if let Some(shared) = &self.shared {
            shared.run(stop).await;
        }
    }

    fn wish(&self, due: &Due, tokens: Tokens) -> Result<Take, Error> {
        let random = random::u64().map_err(|error| {
            let message = format!("The system gave no randomness: {error}.");
            Error::new(ErrorCode::Internal, message)
        })?;
        let charges = due.rates.iter().map(|(limit, name)| {
            let quota = limit.quota;
            Charge {
                key: limit.store_key(name),
                quota,
                cost: match limit.metric {
                    Metric::Requests => 1,
                    // Estimates refuse nothing for good.
                    Metric::InputTokens => tokens.input.min(quota.units()),
                    Metric::OutputTokens => tokens
                        .output
                        .unwrap_or_else(|| self.assumed_output.min(quota.units())),
                },
            }
        });
        let now = self.clock.now();
        Ok(Take {
            holder: StreamId::from_bits(random),
            charges: charges.collect(),
            seats: due.seats(),
            now,
            until: now.plus(SLOT_LEASE),
        })
    }

    fn judge_here(self: &Arc<Self>, due: &Due, mut wish: Take) -> Result<Permit, Error> {
        // Who dies takes this memory along.
        wish.until = UnixMillis(u64::MAX);
        let taken = self.local.take_now(&wish);
        self.judge(due, wish, &taken, Way::Local)
    }

    fn judge(
        self: &Arc<Self>,
        due: &Due,
        wish: Take,
        taken: &Taken,
        way: Way,
    ) -> Result<Permit, Error> {
        let told = Told::new(due, &taken.standings);
        if let Some(refusal) = taken.refusal {
            let (subject, metric) = refusal::culprit(due, refusal);
            self.metrics.limited(subject.as_str(), metric);
            return Err(refusal::error(due, &wish, refusal, told));
        }
        Ok(Permit::new(Held {
            limits: Arc::clone(self),
            way,
            holder: wish.holder,
            charges: wish.charges,
            metrics: due.rates.iter().map(|(limit, _)| limit.metric).collect(),
            seats: wish.seats.into_iter().map(|seat| seat.key).collect(),
            told,
            began: false,
        }))
    }

    fn settle(&self, way: Way, end: Settle) {
        match (&self.shared, way) {
            (Some(shared), Way::Shared) => shared.settle(end),
            _ => self.local.settle_now(&[end]),
        }
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
