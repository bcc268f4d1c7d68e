//! What is known of one deployment, and whether it may be asked: its breaker, its capacity, its rate
//! limit, its speed and what became of the requests to it.

use std::time::Duration;

use crate::id::UnixMillis;
use crate::policy::attempt::FailureKind;
use crate::policy::backoff::{RetryBudget, RetryBudgetSettings};
use crate::policy::breaker::{Breaker, BreakerSettings, BreakerState, Permit, Verdict};
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
}

impl Default for DeploymentSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            ceiling: Ceiling::None,
            retries: RetryBudgetSettings::default(),
            heeds_limits: true,
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
    /// Failures and all outcomes in the breaker's window.
    pub recent: (u32, u32),
    /// What became of all attempts.
    pub outcomes: Outcomes,
    /// What failed last, and when.
    pub last_failure: Option<(FailureKind, UnixMillis)>,
}

/// Left alone for so long when a rate limit names no time.
const LIMITED_FOR: Duration = Duration::from_secs(1);

impl DeploymentState {
    /// A deployment of which nothing is known.
    pub fn new(settings: DeploymentSettings, now: UnixMillis) -> Self {
        Self {
            breaker: Breaker::new(settings.breaker),
            capacity: Capacity::new(settings.ceiling),
            retries: RetryBudget::new(settings.retries, now),
            latency: PeakEwma::default(),
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
        Ok(Admitted { permit })
    }

    /// Takes one retry out of its budget, if there is one.
    #[must_use]
    pub fn may_retry(&mut self, now: UnixMillis) -> bool {
        self.retries.withdraw(now)
    }

    /// An attempt is over.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "leave that was given back cannot be given back again"
    )]
    pub fn finish(&mut self, now: UnixMillis, admitted: Admitted, report: Report) {
        self.breaker.report(now, admitted.permit, report.verdict);
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
        }
        let alone = match report.failure {
            Some(FailureKind::RateLimited) => Some(report.retry_after.unwrap_or(LIMITED_FOR)),
            Some(FailureKind::Overloaded) => report.retry_after,
            _ => None,
        };
        if let Some(alone) = alone.filter(|_| self.heeds_limits) {
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
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn failed(kind: FailureKind) -> Report {
        Report {
            verdict: kind.verdict(),
            failure: Some(kind),
            retry_after: None,
            first_content: None,
        }
    }

    const SERVED: Report = Report {
        verdict: Verdict::Success,
        failure: None,
        retry_after: None,
        first_content: Some(Duration::from_millis(80)),
    };

    fn state(ceiling: Ceiling) -> DeploymentState {
        let settings = DeploymentSettings {
            ceiling,
            ..DeploymentSettings::default()
        };
        DeploymentState::new(settings, NOW)
    }

    fn ask(state: &mut DeploymentState, now: UnixMillis, report: Report) {
        let admitted = state.admit(now, false).unwrap();
        state.finish(now, admitted, report);
    }

    #[test]
    fn a_rate_limit_is_kept_and_breaks_nothing() {
        let mut state = state(Ceiling::None);
        let limited = Report {
            retry_after: Some(Duration::from_secs(3)),
            ..failed(FailureKind::RateLimited)
        };
        ask(&mut state, NOW, limited);
        let until = NOW.plus(Duration::from_secs(3));
        assert_eq!(state.closed(NOW), Some(Closed::Limited(until)));
        assert_eq!(state.closed(until), None);
        ask(&mut state, until, failed(FailureKind::RateLimited));
        assert_eq!(
            state.closed(until),
            Some(Closed::Limited(until.plus(LIMITED_FOR)))
        );
        assert_eq!(state.sight(until).breaker, BreakerState::Closed);
    }

    #[test]
    fn a_rate_limit_can_be_left_to_the_deployment_itself() {
        let settings = DeploymentSettings {
            heeds_limits: false,
            ..DeploymentSettings::default()
        };
        let mut state = DeploymentState::new(settings, NOW);
        ask(&mut state, NOW, failed(FailureKind::RateLimited));
        assert_eq!(state.closed(NOW), None);
    }

    #[test]
    fn failures_break_it_and_are_counted() {
        let mut state = state(Ceiling::None);
        ask(&mut state, NOW, SERVED);
        for _ in 0..5 {
            ask(&mut state, NOW, failed(FailureKind::Overloaded));
        }
        let sight = state.sight(NOW);
        assert_eq!(sight.breaker, BreakerState::Open);
        let until = NOW.plus(Duration::from_secs(1));
        assert_eq!(sight.closed, Some(Closed::Broken(until)));
        assert_eq!(
            (sight.outcomes.succeeded, sight.latency_micros),
            (1, 80_000)
        );
        assert_eq!(sight.outcomes.failed.iter().sum::<u64>(), 5);
        assert_eq!(sight.last_failure, Some((FailureKind::Overloaded, NOW)));
        assert!(matches!(state.admit(NOW, false), Err(Closed::Broken(_))));
        assert!(state.admit(until, false).is_ok());
    }

    #[test]
    fn it_is_full_until_one_leaves() {
        let mut state = state(Ceiling::Fixed(1));
        let admitted = state.admit(NOW, false).unwrap();
        assert_eq!(state.admit(NOW, false).unwrap_err(), Closed::Full);
        state.finish(NOW, admitted, SERVED);
        assert_eq!(state.closed(NOW), None);
    }

    #[test]
    fn probes_open_it_and_close_it_again_and_count_as_no_attempt() {
        let mut state = state(Ceiling::Fixed(1));
        for _ in 0..4 {
            state.probed(NOW, false);
            state.probed(NOW, true);
        }
        assert_eq!(state.sight(NOW).breaker, BreakerState::Closed);
        state.probed(NOW, false);
        assert_eq!(state.sight(NOW).breaker, BreakerState::Open);
        state.probed(NOW, true);
        let later = NOW.plus(Duration::from_secs(1));
        assert_eq!(state.sight(later).breaker, BreakerState::HalfOpen);
        state.probed(later, false);
        assert_eq!(state.sight(later).breaker, BreakerState::Open);
        let later = later.plus(Duration::from_secs(2));
        state.probed(later, true);
        assert_eq!(state.sight(later).breaker, BreakerState::HalfOpen);
        state.probed(later, true);
        let sight = state.sight(later);
        assert_eq!(
            (sight.breaker, sight.share, sight.in_flight),
            (BreakerState::Closed, 100, 0)
        );
        assert_eq!((sight.outcomes, sight.last_failure), Default::default());
    }

    #[test]
    fn an_operator_takes_it_out_and_back_in() {
        let mut state = state(Ceiling::None);
        state.drain(true);
        assert_eq!(state.closed(NOW), Some(Closed::Drained));
        state.drain(false);
        ask(&mut state, NOW, SERVED);
    }
}
