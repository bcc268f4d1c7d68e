//! How fast refusals are told.
//!
//! Who makes up keys asks again as soon as it is answered. Answered at once, all its connections together
//! take what the machine has, and those who have keys wait behind them: a refusal costs little, and as
//! many as there can be cost everything. So refusals are told one after the other, so many a second of
//! all callers together, and nobody waits for long: a wrong key alone is told at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use everstream_core::limits::{REFUSAL_GAP, REFUSAL_PATIENCE, REFUSALS_AT_ONCE};
use tokio::time::{Instant, sleep};

/// When the next refusal is told.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all that were told so far would have been, one after the other.
    told: Mutex<Instant>,
}

impl Pace {
    /// Nobody was refused. Needs a runtime's context.
    pub(super) fn new() -> Self {
        Self {
            told: Mutex::new(Instant::now()),
        }
    }

    /// Waits until it is one's turn, or for [`REFUSAL_PATIENCE`].
    pub(super) async fn turn(&self) {
        let wait = self.wait(Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = told.saturating_duration_since(now);
        let wait = ahead.saturating_sub(REFUSAL_GAP * REFUSALS_AT_ONCE);
        if wait > REFUSAL_PATIENCE {
            // It takes nobody's turn, so that those after it wait no longer than this.
            return REFUSAL_PATIENCE;
        }
        *told = now + ahead + REFUSAL_GAP;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_at_once_and_the_rest_one_after_the_other() {
        let (pace, now) = (Pace::new(), Instant::now());
        let waits: Vec<_> = (0..REFUSALS_AT_ONCE + 3).map(|_| pace.wait(now)).collect();
        let (first, rest) = waits.split_at(REFUSALS_AT_ONCE as usize + 1);
        assert!(first.iter().all(Duration::is_zero), "{first:?}");
        assert_eq!(rest, [REFUSAL_GAP, 2 * REFUSAL_GAP]);
        let later = now + REFUSAL_GAP * (REFUSALS_AT_ONCE + 3);
        assert!(pace.wait(later).is_zero());
    }

    #[test]
    fn nobody_waits_for_long_however_many_there_are() {
        let (pace, now) = (Pace::new(), Instant::now());
        let longest = (0..100_000).map(|_| pace.wait(now)).max();
        assert_eq!(longest, Some(REFUSAL_PATIENCE));
        let soon = now + REFUSAL_PATIENCE + REFUSAL_GAP;
        assert!(pace.wait(soon) <= REFUSAL_GAP * 2, "{:?}", pace.wait(soon));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_as_fast_as_it_says() {
        let (pace, began) = (Pace::new(), Instant::now());
        for _ in 0..REFUSALS_AT_ONCE + 501 {
            pace.turn().await;
        }
        assert_eq!(began.elapsed(), 500 * REFUSAL_GAP);
    }
}
