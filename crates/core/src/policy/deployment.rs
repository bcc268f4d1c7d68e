//! What is known of one deployment, and whether it may be asked: its breaker, its capacity, its rate
//! limit, its speed and what became of the requests to it.

use std::time::Duration;

use crate::id::UnixMillis;
use crate::policy::attempt::FailureKind;
use crate::policy::backoff::{RetryBudget, RetryBudgetSettings};
use crate::policy::breaker::{Breaker, BreakerSettings, BreakerState, Permit, Verdict};
use crate::policy::hedge::{HedgeAfter, LatencySketch};
use crate::policy::keys::Keys;
use crate::policy::overload::{Capacity, Ceiling, Load};
use crate::policy::select::PeakEwma;

/// How a deployment is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentSettings {
    /// Its breaker.
    pub breaker: BreakerSettings,
    /// How much may be under way at once.
    pub ceiling: Ceiling,
    /// How often it is asked again.
    pub retries: RetryBudgetSettings,
    /// After a rate limit it is left alone for as long as it says. Else it says so itself each time,
    /// which is better where nobody else can be asked.
    pub heeds_limits: bool,
    /// How many keys take turns.
    pub keys: u32,
}

impl Default for DeploymentSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            ceiling: Ceiling::None,
            retries: RetryBudgetSettings::default(),
            heeds_limits: true,
            keys: 1,
        }
    }
}

/// The state of a deployment. Every [`Admitted`] is given back by one [`finish`](Self::finish).
#[derive(Clone, Debug)]
pub struct DeploymentState {
    breaker: Breaker,
    capacity: Capacity,
    retries: RetryBudget,
    latency: PeakEwma,
    first_contents: LatencySketch,
    keys: Keys,
    heeds_limits: bool,
    /// It wants to be left alone until then.
    limited_until: UnixMillis,
    /// An operator took it out.
    drained: bool,
    outcomes: Outcomes,
    last_failure: Option<(FailureKind, UnixMillis)>,
}

/// Leave to ask a deployment once.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    permit: Permit,
    key: usize,
}

impl Admitted {
    /// The place of the key to ask with, from 0.
    pub const fn key(&self) -> usize {
        self.key
    }
}

/// Why a deployment is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// An operator took it out.
    Drained,
    /// Its breaker is open until then.
    Broken(UnixMillis),
    /// It said that it wants to be left alone until then.
    Limited(UnixMillis),
    /// As much as may be is under way.
    Full,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it says of the deployment.
    pub verdict: Verdict,
    /// What failed, if anything did.
    pub failure: Option<FailureKind>,
    /// How long the deployment wants to be left alone.
    pub retry_after: Option<Duration>,
    /// How long it took to say something.
    pub first_content: Option<Duration>,
    /// The answer was to be streamed; else its first content is all of it.
    pub streamed: bool,
}

/// What became of all attempts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Whole answers.
    pub succeeded: u64,
    /// Failures, by kind, in the order of [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// Cancelled, and the like.
    pub other: u64,
}

/// What an operator sees of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The breaker's state.
    pub breaker: BreakerState,
    /// Why it is not asked just now, if it is not.
    pub closed: Option<Closed>,
    /// Answers under way.
    pub in_flight: u32,
    /// How many may be.
    pub limit: Option<u32>,
    /// How long it took to say something, of late.
    pub latency_micros: u64,
    /// Thousandths of its weight.
    pub share: u32,
    /// How many keys there are, and how many of them do not rest.
    pub keys: (usize, usize),
    /// Failures and all outcomes in the breaker's window.
    pub recent: (u32, u32),
    /// What became of all attempts.
    pub outcomes: Outcomes,
    /// What failed last, and when.
    pub last_failure: Option<(FailureKind, UnixMillis)>,
}

/// Left alone for so long when a rate limit names no time.
const LIMITED_FOR: Duration = Duration::from_secs(1);
/// One of several keys rests for so long when it is refused.
const REFUSED_FOR: Duration = Duration::from_mins(1);

impl DeploymentState {
    /// A deployment of which nothing is known.
    pub fn new(settings: DeploymentSettings, now: UnixMillis) -> Self {
        Self {
            breaker: Breaker::new(settings.breaker),
            capacity: Capacity::new(settings.ceiling),
            retries: RetryBudget::new(settings.retries, now),
            latency: PeakEwma::default(),
            first_contents: LatencySketch::default(),
            keys: Keys::new(settings.keys),
            heeds_limits: settings.heeds_limits,
            limited_until: UnixMillis(0),
            drained: false,
            outcomes: Outcomes::default(),
            last_failure: None,
        }
    }

    /// Why it takes no request just now, if it does not.
    pub fn closed(&self, now: UnixMillis) -> Option<Closed> {
        if self.drained {
            return Some(Closed::Drained);
        }
        if now < self.limited_until {
            return Some(Closed::Limited(self.limited_until));
        }
        if let Some(until) = self.keys.back_at(now).filter(|_| self.heeds_limits) {
            return Some(Closed::Limited(until));
        }
        if let Some(until) = self.breaker.refuses_until(now) {
            return Some(Closed::Broken(until));
        }
        (!self.capacity.has_room()).then_some(Closed::Full)
    }

    /// Lets a request through. `again` says that it is a retry, for which there has to be budget:
    /// see [`may_retry`](Self::may_retry).
    ///
    /// # Errors
    /// Why it does not.
    pub fn admit(&mut self, now: UnixMillis, again: bool) -> Result<Admitted, Closed> {
        if let Some(closed) = self.closed(now) {
            return Err(closed);
        }
        let permit = self.breaker.admit(now).map_err(Closed::Broken)?;
        let _has_room = self.capacity.enter();
        if !again {
            self.retries.deposit(now);
        }
        let key = self.keys.take(now);
        Ok(Admitted { permit, key })
    }

    /// Takes one retry out of its budget, if there is one.
    #[must_use]
    pub fn may_retry(&mut self, now: UnixMillis) -> bool {
        self.retries.withdraw(now)
    }

    /// How long its first content may take before another deployment is asked beside; `None` while too
    /// little is known of it.
    pub fn hedge_after(&mut self, now: UnixMillis, after: HedgeAfter) -> Option<Duration> {
        after.time(&mut self.first_contents, now)
    }

    /// An attempt is over.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "leave that was given back cannot be given back again"
    )]
    pub fn finish(&mut self, now: UnixMillis, admitted: Admitted, report: Report) {
        self.rest(now, admitted.key, &report);
        let verdict = match report.failure {
            // It is the key's fault, and there are others.
            Some(FailureKind::KeyRefused) if self.keys.awake(now) > 0 && self.keys.count() > 1 => {
                Verdict::Neutral
            }
            _ => report.verdict,
        };
        self.breaker.report(now, admitted.permit, verdict);
        let load = match (report.failure, report.verdict) {
            (None, Verdict::Success) => Load::Served,
            (Some(FailureKind::RateLimited | FailureKind::Overloaded | FailureKind::Silent), _) => {
                Load::Overloaded
            }
            _ => Load::Unknown,
        };
        self.capacity.leave(now, load);
        if let Some(took) = report.first_content {
            self.latency.observe(now, took);
            if report.streamed {
                self.first_contents.observe(now, took);
            }
        }
        if report.failure == Some(FailureKind::Overloaded)
            && self.heeds_limits
            && let Some(alone) = report.retry_after
        {
            self.limited_until = self.limited_until.max(now.plus(alone));
        }
        self.outcomes.count(&report);
        self.last_failure = report.failure.map(|kind| (kind, now)).or(self.last_failure);
    }

    /// Takes what came of asking whether it is there, without a request of anybody's. An answer to
    /// that is no proof while requests go through, and may end a time of trying.
    pub fn probed(&mut self, now: UnixMillis, answered: bool) {
        let verdict = match (answered, self.breaker.state(now)) {
            (false, _) => Verdict::Failure,
            (true, BreakerState::HalfOpen) => Verdict::Success,
            (true, BreakerState::Closed | BreakerState::Open) => return,
        };
        if let Ok(permit) = self.breaker.admit(now) {
            self.breaker.report(now, permit, verdict);
        }
    }

    /// How many keys there are, and how many of them do not rest.
    pub fn keys(&self, now: UnixMillis) -> (usize, usize) {
        (self.keys.count(), self.keys.awake(now))
    }

    /// Lets a key rest that failed. The only one is used on if it was refused: its upstream may have
    /// been wrong, and says so itself if not.
    fn rest(&mut self, now: UnixMillis, key: usize, report: &Report) {
        let rest = match report.failure {
            Some(FailureKind::RateLimited) => report.retry_after.unwrap_or(LIMITED_FOR),
            Some(FailureKind::KeyRefused) if self.keys.count() > 1 => {
                report.retry_after.unwrap_or(REFUSED_FOR)
            }
            _ => return,
        };
        self.keys.rest(key, now.plus(rest));
    }

    /// Takes it out, or back in. What is under way goes on.
    pub fn drain(&mut self, drained: bool) {
        self.drained = drained;
    }

    /// What an operator sees.
    pub fn sight(&mut self, now: UnixMillis) -> Sight {
        Sight {
            breaker: self.breaker.state(now),
            closed: self.closed(now),
            in_flight: self.capacity.in_flight(),
            limit: self.capacity.limit(),
            latency_micros: self.latency.micros(now),
            share: self.breaker.share(now),
            keys: self.keys(now),
            recent: self.breaker.recent(now),
            outcomes: self.outcomes,
            last_failure: self.last_failure,
        }
    }
}

impl Outcomes {
    fn count(&mut self, report: &Report) {
        let count = match report.failure {
            Some(kind) => {
                let place = FailureKind::ALL.iter().position(|known| *known == kind);
                place.and_then(|place| self.failed.get_mut(place))
            }
            None if report.verdict == Verdict::Success => Some(&mut self.succeeded),
            None => Some(&mut self.other),
        };
        if let Some(count) = count {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests;
