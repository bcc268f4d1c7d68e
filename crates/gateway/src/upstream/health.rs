//! What is known of each deployment, a model of an upstream, for all who ask it at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::id::UnixMillis;
use everstream_core::limits::DEPLOYMENTS;
use everstream_core::policy::breaker::{BreakerState, Verdict};
use everstream_core::policy::deployment::{
    Admitted, Closed, DeploymentSettings, DeploymentState, Report, Sight,
};
use everstream_core::policy::hedge::HedgeAfter;
use everstream_core::writer::Breakage;

use crate::clock::Clock;
use crate::telemetry::metrics::{DeploymentMetrics, UpstreamMetrics};

/// The state of one deployment.
#[derive(Debug)]
pub struct Health {
    /// `upstream/model`, for the operator.
    name: String,
    state: Mutex<DeploymentState>,
    metrics: DeploymentMetrics,
    clock: Clock,
    bell: Arc<Bell>,
}

/// Rung for those who wait until there is room: whenever an attempt is over, a probe came back, or an
/// operator took something out or back in.
#[derive(Default)]
pub struct Bell(OnceLock<Box<dyn Fn() + Send + Sync>>);

/// Leave to ask a deployment once. It is given back however the attempt ends.
#[derive(Debug)]
pub struct Leave {
    health: Arc<Health>,
    /// `None` once it is given back.
    admitted: Option<Admitted>,
}

/// Why a deployment is not asked, and when it makes sense to come again.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    why: Closed,
    rest: Duration,
}

/// When the others may be done, for want of a better guess: those that fill it, or try it.
const FULL_FOR: Duration = Duration::from_secs(1);
/// When an operator may be done.
const DRAINED_FOR: Duration = Duration::from_secs(30);

impl Health {
    /// A deployment of which nothing is known.
    pub fn new(
        name: String,
        settings: DeploymentSettings,
        clock: Clock,
        bell: Arc<Bell>,
    ) -> Arc<Self> {
        Self::counted(name, settings, DeploymentMetrics::default(), clock, bell)
    }

    /// The same, with counters that somebody can look at.
    fn counted(
        name: String,
        settings: DeploymentSettings,
        metrics: DeploymentMetrics,
        clock: Clock,
        bell: Arc<Bell>,
    ) -> Arc<Self> {
        let state = DeploymentState::new(settings, clock.now());
        Arc::new(Self {
            name,
            state: Mutex::new(state),
            metrics,
            clock,
            bell,
        })
    }

    /// Lets a request through; `again` says that it is a retry.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admit(self: &Arc<Self>, again: bool) -> Result<Leave, Refused> {
        let now = self.clock.now();
        let mut state = self.lock();
        let admitted = state.admit(now, again);
        let admitted = admitted.map_err(|why| Refused::new(why, &mut state, now))?;
        if again {
            self.metrics.retried();
        }
        Ok(Leave {
            health: Arc::clone(self),
            admitted: Some(admitted),
        })
    }

    /// Why it takes no request just now, if it does not.
    pub fn refused(&self) -> Option<Refused> {
        let now = self.clock.now();
        let mut state = self.lock();
        let why = state.closed(now)?;
        Some(Refused::new(why, &mut state, now))
    }

    /// Takes one retry out of its budget, if there is one.
    pub fn may_retry(&self) -> bool {
        let now = self.clock.now();
        self.lock().may_retry(now)
    }

    /// How long its first content may take before another deployment is asked beside.
    pub fn hedge_after(&self, after: HedgeAfter) -> Option<Duration> {
        let now = self.clock.now();
        self.lock().hedge_after(now, after)
    }

    /// Takes what came of asking whether it is there.
    pub fn probed(&self, answered: bool) {
        let now = self.clock.now();
        self.lock().probed(now, answered);
    }

    /// Whether it has several keys, of which one can be used just now.
    pub fn has_another_key(&self) -> bool {
        let now = self.clock.now();
        let (keys, awake) = self.lock().keys(now);
        keys > 1 && awake > 0
    }

    /// Takes it out, or back in. What is under way goes on.
    pub fn drain(&self, drained: bool) {
        self.lock().drain(drained);
    }

    /// What there is to see of it.
    pub fn sight(&self) -> Sight {
        let now = self.clock.now();
        self.lock().sight(now)
    }

    fn lock(&self) -> MutexGuard<'_, DeploymentState> {
        // Nothing that runs under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leave {
    /// The place of the key to ask with, from 0.
    pub fn key(&self) -> usize {
        self.admitted.as_ref().map_or(0, Admitted::key)
    }

    /// Gives it back, with what the attempt says of the deployment.
    pub fn finish(mut self, report: Report) {
        self.give_back(report);
    }

    fn give_back(&mut self, report: Report) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        let (health, key) = (&self.health, admitted.key() + 1);
        let now = health.clock.now();
        health.metrics.finished(&report);
        let mut state = health.lock();
        state.finish(now, admitted, report);
        let (keys, awake) = state.keys(now);
        drop(state);
        // Which one it was is for the operator alone, and by its place only.
        if let Some(kind) = report.failure.filter(|kind| kind.blames_key() && keys > 1) {
            let (deployment, why) = (&health.name, kind.as_str());
            tracing::warn!(deployment, why, awake, "key {key} of {keys} rests");
        }
        self.health.bell.ring();
    }
}

impl Bell {
    /// Who is called. Only the first one is.
    pub fn answer(&self, hear: impl Fn() + Send + Sync + 'static) {
        let _first = self.0.set(Box::new(hear));
    }

    fn ring(&self) {
        if let Some(hear) = self.0.get() {
            hear();
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.give_back(Report {
            verdict: Verdict::Neutral,
            failure: None,
            retry_after: None,
            first_content: None,
            streamed: false,
        });
    }
}

impl Refused {
    fn new(why: Closed, state: &mut DeploymentState, now: UnixMillis) -> Self {
        let rest = match why {
            Closed::Broken(_) if state.sight(now).breaker == BreakerState::HalfOpen => FULL_FOR,
            Closed::Limited(until) | Closed::Broken(until) => until.since(now),
            Closed::Full => FULL_FOR,
            Closed::Drained => DRAINED_FOR,
        };
        Self { why, rest }
    }

    /// Whether as much as may be is under way, so that room is made when something ends.
    pub const fn is_full(&self) -> bool {
        matches!(self.why, Closed::Full)
    }

    /// How long that lasts.
    pub const fn rest(&self) -> Duration {
        self.rest
    }

    /// As a failure of an attempt at this upstream.
    pub fn breakage(&self, upstream: &str) -> Breakage {
        let (code, why) = match self.why {
            Closed::Limited(_) => (
                ErrorCode::UpstreamLimited,
                "has reached a limit of its own, and is left alone until it can be asked again",
            ),
            Closed::Broken(_) => (
                ErrorCode::UpstreamUnavailable,
                "failed too often just now, and is left alone for a moment",
            ),
            Closed::Full => (
                ErrorCode::UpstreamUnavailable,
                "has as many requests under way as it may (max_concurrency)",
            ),
            Closed::Drained => (
                ErrorCode::UpstreamUnavailable,
                "was taken out by its operator",
            ),
        };
        Breakage {
            code,
            message: format!("Upstream `{upstream}` {why}; nothing was sent to it."),
            nothing_ran: true,
            retry_after: Some(self.rest),
        }
    }
}

/// The states of the deployments that were asked so far, and of those that are on a route.
#[derive(Debug)]
pub(super) struct Healths {
    clock: Clock,
    pub(super) bell: Arc<Bell>,
    metrics: UpstreamMetrics,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<(String, String), Arc<Health>>,
    /// Upstreams that an operator took out, with the models that nobody has asked for yet.
    drained: HashSet<String>,
}

impl Healths {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::start(),
            bell: Arc::default(),
            metrics: UpstreamMetrics::default(),
            inner: Mutex::default(),
        }
    }

    /// What is counted of them.
    pub(super) fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Takes a model of an upstream out, or back in; all of them, if none is named. False if nothing
    /// is known of it.
    pub(super) fn drain(&self, upstream: &str, model: Option<&str>, drained: bool) -> bool {
        let mut inner = self.lock();
        if model.is_none() {
            if drained {
                inner.drained.insert(upstream.to_owned());
            } else {
                inner.drained.remove(upstream);
            }
        }
        let mut known = false;
        for ((of, name), health) in &inner.known {
            if of == upstream && model.is_none_or(|model| model == name) {
                health.drain(drained);
                known = true;
            }
        }
        drop(inner);
        self.bell.ring();
        known || model.is_none()
    }

    /// Takes what came of asking an upstream whether it is there.
    pub(super) fn probed(&self, upstream: &str, answered: bool) {
        let inner = self.lock();
        let known = inner.known.iter().filter(|((of, _), _)| of == upstream);
        known.for_each(|(_, health)| health.probed(answered));
        drop(inner);
        self.bell.ring();
    }

    /// Whether all of an upstream was taken out.
    pub(super) fn is_drained(&self, upstream: &str) -> bool {
        self.lock().drained.contains(upstream)
    }

    /// What is known of each model of an upstream, by name. The one without a name stands for those
    /// that are too many.
    pub(super) fn sights(&self, upstream: &str) -> BTreeMap<String, Sight> {
        let inner = self.lock();
        let of = |((of, model), health): (&(String, String), &Arc<Health>)| {
            (of == upstream).then(|| (model.clone(), health.sight()))
        };
        inner.known.iter().filter_map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a model of an upstream. Clients may name models that do not exist: when there
    /// are too many names, those are forgotten of which nothing is under way and nothing bad is
    /// known, and after that all further ones share one state.
    pub(super) fn of(
        &self,
        upstream: &str,
        model: &str,
        settings: DeploymentSettings,
    ) -> Arc<Health> {
        let mut inner = self.lock();
        let Inner { known, drained } = &mut *inner;
        let mut key = (upstream.to_owned(), model.to_owned());
        if let Some(health) = known.get(&key) {
            return Arc::clone(health);
        }
        if known.len() >= DEPLOYMENTS {
            known.retain(|_, health| Arc::strong_count(health) > 1 || health.refused().is_some());
        }
        if known.len() >= DEPLOYMENTS {
            key.1.clear();
        }
        if let Some(health) = known.get(&key) {
            return Arc::clone(health);
        }
        let metrics = self.metrics.deployment(&key.0, &key.1);
        let name = format!("{}/{}", key.0, key.1);
        let bell = Arc::clone(&self.bell);
        let health = Health::counted(name, settings, metrics, self.clock, bell);
        if drained.contains(&key.0) {
            health.drain(true);
        }
        known.insert(key, Arc::clone(&health));
        health
    }
}

#[cfg(test)]
mod tests;
