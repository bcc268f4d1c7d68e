//! The one clock: wall time that never runs backwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everstream_core::id::UnixMillis;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a clock that follows the machine's is compared with it.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// What two clocks may differ by.
const TOLERANCE: Duration = Duration::from_secs(1);

/// By how many milliseconds the clocks of this process were put forward, all of them together.
static SKIPPED: AtomicU64 = AtomicU64::new(0);

/// Wall time, read once at start and moved on by the runtime's monotonic clock, so that deadlines
/// survive a correction of the machine's clock, and tests can pause it. That one stands still while
/// the machine sleeps: [`follow`](Self::follow) puts the clock forward then, and never back, as the
/// order of ids depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Less what was skipped until then.
    started_at: UnixMillis,
    skipped: &'static AtomicU64,
}

impl Clock {
    /// A clock that starts from the machine's wall time. Needs a runtime's context.
    pub fn start() -> Self {
        Self::start_at(machine())
    }

    /// A clock that takes it to be `wall` now. Needs a runtime's context.
    pub fn start_at(wall: UnixMillis) -> Self {
        Self::start_on(wall, &SKIPPED)
    }

    fn start_on(wall: UnixMillis, skipped: &'static AtomicU64) -> Self {
        let before = skipped.load(Ordering::Relaxed);
        Self {
            started: Instant::now(),
            started_at: UnixMillis(wall.0.saturating_sub(before)),
            skipped,
        }
    }

    /// Now.
    pub fn now(&self) -> UnixMillis {
        self.origin().plus(self.started.elapsed())
    }

    /// The runtime's instant for a wall time, if nothing is skipped until then.
    pub fn instant(&self, at: UnixMillis) -> Instant {
        self.started + at.since(self.origin())
    }

    /// Keeps the clocks of this process from falling behind the machine's, as they do while it sleeps
    /// or, being a virtual one, is paused.
    pub async fn follow(self, stop: CancellationToken) {
        let mut is_ahead = false;
        while let Some(()) = stop.run_until_cancelled(sleep(COMPARE_EVERY)).await {
            let drift = self.catch_up(machine());
            match drift {
                Drift::Behind(by) => {
                    tracing::warn!(?by, "the machine slept, or its clock was put forward");
                }
                Drift::Ahead(by) if !is_ahead => tracing::warn!(
                    ?by,
                    "the machine's clock was put back; the time here goes on as it was until a restart"
                ),
                Drift::Ahead(_) | Drift::None => {}
            }
            is_ahead = matches!(drift, Drift::Ahead(_));
        }
    }

    /// Goes to `wall` if that is ahead, and says what the difference was.
    fn catch_up(&self, wall: UnixMillis) -> Drift {
        let drift = Drift::between(self.now(), wall);
        if let Drift::Behind(by) = drift {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            self.skipped.fetch_add(by, Ordering::Relaxed);
        }
        drift
    }

    fn origin(&self) -> UnixMillis {
        let skipped = self.skipped.load(Ordering::Relaxed);
        UnixMillis(self.started_at.0.saturating_add(skipped))
    }
}

/// How a clock stands to the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drift {
    /// They show the same, but for what is tolerated.
    None,
    /// It is behind by so much.
    Behind(Duration),
    /// It is ahead by so much.
    Ahead(Duration),
}

impl Drift {
    fn between(own: UnixMillis, machine: UnixMillis) -> Self {
        let (behind, ahead) = (machine.since(own), own.since(machine));
        if behind > TOLERANCE {
            Self::Behind(behind)
        } else if ahead > TOLERANCE {
            Self::Ahead(ahead)
        } else {
            Self::None
        }
    }
}

/// The machine's wall time.
fn machine() -> UnixMillis {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis::default().plus(wall.unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(1_800_000_000_000);

    fn skipped() -> &'static AtomicU64 {
        Box::leak(Box::default())
    }

    #[test]
    fn what_is_tolerated_is_no_drift() {
        let machine = |millis: i64| UnixMillis(AT.0.saturating_add_signed(millis));
        for (millis, drift) in [
            (0, Drift::None),
            (1_000, Drift::None),
            (-1_000, Drift::None),
            (1_001, Drift::Behind(Duration::from_millis(1_001))),
            (-1_001, Drift::Ahead(Duration::from_millis(1_001))),
            (86_400_000, Drift::Behind(Duration::from_hours(24))),
        ] {
            assert_eq!(Drift::between(AT, machine(millis)), drift, "{millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_copies_go_forward_and_none_goes_back() {
        let skipped = skipped();
        let clock = Clock::start_on(AT, skipped);
        let copy = clock;
        tokio::time::advance(Duration::from_mins(5)).await;
        let hour = Duration::from_hours(1);
        let drift = clock.catch_up(AT.plus(hour));
        assert_eq!(drift, Drift::Behind(Duration::from_mins(55)));
        assert_eq!((clock.now(), copy.now()), (AT.plus(hour), AT.plus(hour)));
        assert_eq!(copy.instant(AT.plus(hour)), Instant::now());
        // One that is started later is not put forward by what was before.
        assert_eq!(Clock::start_on(AT, skipped).now(), AT);

        assert_eq!(clock.catch_up(AT), Drift::Ahead(hour));
        assert_eq!(copy.now(), AT.plus(hour));
        assert_eq!(clock.catch_up(AT.plus(hour)), Drift::None);
    }
}
