//! How long to wait before asking again, and how often all together.

use std::time::Duration;

use crate::id::UnixMillis;

/// Pauses between attempts: exponential, with full jitter, so that those who failed together do not
/// come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first pause.
    pub first: Duration,
    /// The longest pause of all.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            most: Duration::from_secs(8),
        }
    }
}

impl Backoff {
    /// The pause after `failed` attempts in a row, at least one: a random part of a bound that
    /// doubles each time. `random` is any number, evenly spread.
    pub fn pause(&self, failed: u32, random: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.most);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        // The upper half of the product is evenly spread from 0 to the bound.
        let product = u128::from(nanos) * u128::from(random);
        Duration::from_nanos(u64::try_from(product >> 64).unwrap_or(nanos))
    }
}

/// How many retries an upstream gets beside its first attempts, so that retries cannot multiply an
/// outage: a share of what it is asked anyhow, and a few more for an upstream that is hardly used.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    settings: RetryBudgetSettings,
    /// Thousandths of a retry.
    left: u64,
    at: UnixMillis,
}

/// See [`RetryBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudgetSettings {
    /// Retries for each hundred first attempts.
    pub percent: u32,
    /// Retries a minute that are there in any case.
    pub least_per_minute: u32,
    /// The most that are saved up.
    pub most_saved: u32,
}

impl Default for RetryBudgetSettings {
    fn default() -> Self {
        Self {
            percent: 20,
            least_per_minute: 60,
            most_saved: 100,
        }
    }
}

const RETRY: u64 = 1_000;

impl RetryBudget {
    /// A budget that has saved what a minute brings.
    pub fn new(settings: RetryBudgetSettings, now: UnixMillis) -> Self {
        let left = u64::from(settings.least_per_minute.min(settings.most_saved)) * RETRY;
        Self {
            settings,
            left,
            at: now,
        }
    }

    /// A first attempt was made.
    pub fn deposit(&mut self, now: UnixMillis) {
        self.accrue(now);
        self.save(u64::from(self.settings.percent) * RETRY / 100);
    }

    /// Takes one retry, if there is one.
    #[must_use]
    pub fn withdraw(&mut self, now: UnixMillis) -> bool {
        self.accrue(now);
        let left = self.left.checked_sub(RETRY);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn accrue(&mut self, now: UnixMillis) {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let a_minute = u64::from(self.settings.least_per_minute) * RETRY;
        let accrued = millis.saturating_mul(a_minute) / 60_000;
        // What is too little for a thousandth goes on counting.
        if accrued > 0 {
            self.at = now;
            self.save(accrued);
        }
    }

    fn save(&mut self, more: u64) {
        let most = u64::from(self.settings.most_saved) * RETRY;
        self.left = self.left.saturating_add(more).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_pause() {
        let longest = |failed| Backoff::default().pause(failed, u64::MAX).as_millis();
        let pauses: Vec<_> = (1..=8).map(longest).collect();
        assert_eq!(pauses, [249, 499, 999, 1_999, 3_999, 7_999, 7_999, 7_999]);
        assert_eq!(Backoff::default().pause(3, 0), Duration::ZERO);
        assert_eq!(Backoff::default().pause(3, 1 << 63).as_millis(), 500);
        assert_eq!(longest(u32::MAX), 7_999);
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let now = UnixMillis(0);
        let settings = RetryBudgetSettings {
            least_per_minute: 0,
            ..RetryBudgetSettings::default()
        };
        let mut budget = RetryBudget::new(settings, now);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit(now);
            while budget.withdraw(now) {
                retries += 1;
            }
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn who_is_hardly_asked_is_asked_again_too() {
        let mut budget = RetryBudget::new(RetryBudgetSettings::default(), UnixMillis(0));
        let minute =
            |budget: &mut RetryBudget, now| (0..200).filter(|_| budget.withdraw(now)).count();
        assert_eq!(minute(&mut budget, UnixMillis(0)), 60);
        assert_eq!(minute(&mut budget, UnixMillis(0)), 0);
        // Asked every millisecond, it still saves up.
        let drawn = (1..=60_000)
            .filter(|&at| budget.withdraw(UnixMillis(at)))
            .count();
        assert_eq!(drawn, 60);
        assert_eq!(minute(&mut budget, UnixMillis(3_600_000)), 100);
    }

    proptest! {
        #[test]
        fn a_pause_is_within_its_bound(failed: u32, random: u64) {
            prop_assert!(Backoff::default().pause(failed, random) <= Backoff::default().most);
        }
    }
}
