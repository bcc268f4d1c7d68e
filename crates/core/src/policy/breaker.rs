//! The circuit breaker of one deployment: whether it may be asked just now.
//!
//! It learns from how generations *end*, not from statuses: an answer of 200 that stalls or breaks
//! off is a failure, a 400 that blames the request is not.
//!
//! ```text
//!            too many failures                  its time is over
//!   closed ---------------------> open ---------------------------> half open
//!     ^                            ^                                  |    |
//!     |                            |          a probe fails           |    |
//!     |                            +----------------------------------+    |
//!     |     enough probes succeed; its share then grows step by step       |
//!     +--------------------------------------------------------------------+
//! ```

use std::time::Duration;

use crate::id::UnixMillis;

mod window;

use window::Window;

/// When it opens and how it closes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// How far back outcomes count.
    pub window: Duration,
    /// Failures, in percent of the outcomes in the window, from which it opens.
    pub failure_percent: u32,
    /// With fewer outcomes in the window, their share says nothing.
    pub least_outcomes: u32,
    /// Failures without a success between them that open it whatever their share.
    pub failures_in_a_row: u32,
    /// How long it stays open the first time; twice as long after each probe that fails.
    pub open_for: Duration,
    /// The longest time it stays open.
    pub open_for_most: Duration,
    /// Requests that may try it at once while it is half open, and that have to succeed.
    pub probes: u32,
    /// How long a probe may take before another is let through in its place.
    pub probe_patience: Duration,
    /// How long its share of the traffic grows after it closed.
    pub slow_start: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self::USUAL
    }
}

impl BreakerSettings {
    /// It never opens, and only counts.
    pub const NEVER: Self = Self {
        failure_percent: u32::MAX,
        failures_in_a_row: u32::MAX,
        ..Self::USUAL
    };
    const USUAL: Self = Self {
        window: Duration::from_secs(30),
        failure_percent: 50,
        least_outcomes: 10,
        failures_in_a_row: 5,
        open_for: Duration::from_secs(1),
        open_for_most: Duration::from_secs(15),
        probes: 2,
        probe_patience: Duration::from_secs(30),
        slow_start: Duration::from_secs(10),
    };
}

/// How a request to a deployment ended, as far as it speaks for or against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A whole answer.
    Success,
    /// It failed, or was unreachable, or said that it is overloaded.
    Failure,
    /// It fell silent. Each costs a client its whole patience, so it weighs as two failures.
    Stall,
    /// The request was at fault, or somebody cancelled it.
    Neutral,
}

/// What the state is called in the API and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Requests go through.
    Closed,
    /// None does.
    Open,
    /// Some do, to try it.
    HalfOpen,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Leave to ask the deployment once. Whoever has it reports one [`Verdict`] with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    /// How often the breaker had changed its state. What began before a change says nothing after.
    era: u64,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    era: u64,
    window: Window,
    failures_in_a_row: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        /// When it closed, if it was open before.
        since: Option<UnixMillis>,
    },
    Open {
        until: UnixMillis,
        /// How long it is open this time.
        for_now: Duration,
    },
    HalfOpen {
        under_way: u32,
        succeeded: u32,
        /// When the probes under way count as lost.
        patience_until: UnixMillis,
        /// How long it was open.
        was: Duration,
    },
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            window: Window::new(settings.window),
            settings,
            phase: Phase::Closed { since: None },
            era: 0,
            failures_in_a_row: 0,
        }
    }

    /// Its state at `now`.
    pub fn state(&self, now: UnixMillis) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until, .. } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Until when [`admit`](Self::admit) refuses; `None` if it would let a request through.
    pub fn refuses_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        let until = match self.phase {
            Phase::Closed { .. } => return None,
            Phase::Open { until, .. } => until,
            Phase::HalfOpen {
                under_way,
                succeeded,
                ..
            } if under_way + succeeded < self.settings.probes => return None,
            Phase::HalfOpen { patience_until, .. } => patience_until,
        };
        (now < until).then_some(until)
    }

    /// Lets a request through, or says when to ask again.
    ///
    /// # Errors
    /// The time from which the answer may be another one.
    pub fn admit(&mut self, now: UnixMillis) -> Result<Permit, UnixMillis> {
        if let Some(until) = self.refuses_until(now) {
            return Err(until);
        }
        if let Phase::Open { for_now, .. } = self.phase {
            self.change(Phase::HalfOpen {
                under_way: 0,
                succeeded: 0,
                patience_until: now.plus(self.settings.probe_patience),
                was: for_now,
            });
        }
        if let Phase::HalfOpen {
            under_way,
            patience_until,
            ..
        } = &mut self.phase
        {
            if *patience_until <= now {
                // Who began a probe and never came back is not waited for.
                *under_way = 0;
                *patience_until = now.plus(self.settings.probe_patience);
            }
            *under_way += 1;
        }
        Ok(Permit { era: self.era })
    }

    /// Takes how a request ended.
    pub fn report(&mut self, now: UnixMillis, permit: Permit, verdict: Verdict) {
        if permit.era != self.era {
            return;
        }
        match self.phase {
            Phase::Closed { .. } => self.on_closed(now, verdict),
            Phase::HalfOpen { .. } => self.on_probe(now, verdict),
            // No permit is given out in it.
            Phase::Open { .. } => {}
        }
    }

    /// The share of its weight that it may have, in thousandths: after it closed it grows from a
    /// tenth to the whole.
    pub fn share(&self, now: UnixMillis) -> u32 {
        let Phase::Closed { since: Some(since) } = self.phase else {
            return 1_000;
        };
        let (passed, whole) = (now.since(since), self.settings.slow_start);
        if passed >= whole {
            return 1_000;
        }
        let grown = passed.as_millis() * 900 / whole.as_millis().max(1);
        100 + u32::try_from(grown).unwrap_or(900)
    }

    /// Failures and all outcomes in the window.
    pub fn recent(&mut self, now: UnixMillis) -> (u32, u32) {
        self.window.sums(now)
    }

    fn on_closed(&mut self, now: UnixMillis, verdict: Verdict) {
        let failures = match verdict {
            Verdict::Neutral => return,
            Verdict::Success => 0,
            Verdict::Failure => 1,
            Verdict::Stall => 2,
        };
        self.window.add(now, failures, failures.max(1));
        if failures == 0 {
            self.failures_in_a_row = 0;
            return;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(failures);
        let settings = &self.settings;
        let (failed, all) = self.window.sums(now);
        let often = all >= settings.least_outcomes
            && u64::from(failed) * 100 >= u64::from(all) * u64::from(settings.failure_percent);
        if often || self.failures_in_a_row >= settings.failures_in_a_row {
            self.open(now, settings.open_for);
        }
    }

    fn on_probe(&mut self, now: UnixMillis, verdict: Verdict) {
        let Phase::HalfOpen {
            under_way,
            succeeded,
            was,
            ..
        } = &mut self.phase
        else {
            return;
        };
        *under_way = under_way.saturating_sub(1);
        match verdict {
            Verdict::Neutral => {}
            Verdict::Success => {
                *succeeded += 1;
                if *succeeded >= self.settings.probes {
                    self.window.clear();
                    self.failures_in_a_row = 0;
                    self.change(Phase::Closed { since: Some(now) });
                }
            }
            Verdict::Failure | Verdict::Stall => {
                let longer = (*was * 2).min(self.settings.open_for_most);
                self.open(now, longer);
            }
        }
    }

    fn open(&mut self, now: UnixMillis, for_now: Duration) {
        self.change(Phase::Open {
            until: now.plus(for_now),
            for_now,
        });
    }

    fn change(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests;
