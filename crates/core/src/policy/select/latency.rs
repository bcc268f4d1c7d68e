use std::time::Duration;

use super::UnixMillis;

/// How slow something is of late: a mean that forgets, but takes a new peak at once, so that one
/// that turns bad is left alone from its first slow answer on.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma {
    micros: f64,
    at: UnixMillis,
}

/// After this time a peak weighs about a third of what it did.
const MEMORY: Duration = Duration::from_secs(10);

impl PeakEwma {
    /// Takes a measurement.
    pub fn observe(&mut self, now: UnixMillis, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let old = self.faded(now);
        self.micros = if micros > old || self.micros == 0.0 {
            micros
        } else {
            // What is left of the old weighs as much as time has left of it.
            let weight = self.weight(now);
            self.micros * weight + micros * (1.0 - weight)
        };
        self.at = now;
    }

    /// Its value at `now`, in microseconds; 0 if nothing was ever measured. It fades, so that one
    /// that was slow is tried again.
    pub fn micros(&self, now: UnixMillis) -> u64 {
        // A cast of a float saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative"
        )]
        let micros = self.faded(now) as u64;
        micros
    }

    fn faded(&self, now: UnixMillis) -> f64 {
        self.micros * self.weight(now)
    }

    fn weight(&self, now: UnixMillis) -> f64 {
        (-now.since(self.at).as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(seconds * 1_000)
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut latency = PeakEwma::default();
        latency.observe(at(0), Duration::from_millis(100));
        latency.observe(at(1), Duration::from_secs(3));
        assert_eq!(latency.micros(at(1)), 3_000_000);
        assert_eq!(latency.micros(at(11)), 1_103_638);
        latency.observe(at(11), Duration::from_millis(100));
        let micros = latency.micros(at(11));
        assert!((1_100_000..1_200_000).contains(&micros), "{micros}");
        assert!(latency.micros(at(60)) < 20_000);
    }
}
