//! When a first content is late: after a fixed time, or when most of those of late were there already.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::id::UnixMillis;
use crate::limits::HEDGE_FLOOR;
use crate::units::{parse_duration, show_duration};

/// When a second deployment is asked beside the first. Text: a duration, or a percentile such as `p95`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// After this time.
    Time(Duration),
    /// When so many in a hundred first contents of the first deployment were there, from 50 to 99.
    Percentile(u32),
}

impl HedgeAfter {
    /// The time that this comes to for a deployment with these latencies; `None` while too little is
    /// known.
    pub fn time(self, latencies: &mut LatencySketch, now: UnixMillis) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            Self::Percentile(percent) => {
                let time = latencies.percentile(now, percent)?;
                Some(time.max(HEDGE_FLOOR))
            }
        }
    }
}

impl FromStr for HedgeAfter {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Some(percent) = text.strip_prefix('p') {
            let percent = percent.parse().ok().filter(|p| (50..=99).contains(p));
            return percent.map(Self::Percentile).ok_or(NotATime);
        }
        let time = parse_duration(text).ok().filter(|time| !time.is_zero());
        time.map(Self::Time).ok_or(NotATime)
    }
}

impl fmt::Display for HedgeAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => f.write_str(&show_duration(*time)),
            Self::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

/// Text that is no [`HedgeAfter`]. The message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration such as `800ms`, or a percentile from `p50` to `p99`")]
pub struct NotATime;

/// How long first contents took of late: a histogram whose buckets are an eighth of their lower border
/// wide, in which old ones weigh ever less.
#[derive(Clone, Debug)]
pub struct LatencySketch {
    buckets: [u16; BUCKETS],
    total: u32,
    /// When all counts were halved last.
    halved_at: UnixMillis,
}

/// Buckets of each doubling, and of the first milliseconds.
const EACH: u32 = 8;
/// Up to 2^21 ms, which is more than half an hour; whatever takes longer counts as that.
const DOUBLINGS: u32 = 18;
const BUCKETS: usize = (EACH * (1 + DOUBLINGS)) as usize;
/// So many count at most: all are halved then.
const MOST: u32 = 1_000;
/// With less, no percentile is known.
const LEAST: u32 = 20;
/// After this time each counts half.
const HALF_LIFE: Duration = Duration::from_mins(10);

impl Default for LatencySketch {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            total: 0,
            halved_at: UnixMillis(0),
        }
    }
}

impl LatencySketch {
    /// Takes a measurement.
    pub fn observe(&mut self, now: UnixMillis, took: Duration) {
        self.forget(now);
        if self.total >= MOST {
            self.halve();
        }
        // No bucket can hold more than all.
        self.buckets[bucket(took)] += 1;
        self.total += 1;
    }

    /// The time, to an eighth, within which so many in a hundred were there. `None` while there are
    /// too few to say so: less than 20, or too few for one of them to be later.
    pub fn percentile(&mut self, now: UnixMillis, percent: u32) -> Option<Duration> {
        self.forget(now);
        let percent = percent.min(100);
        if self.total < LEAST || self.total * (100 - percent) < 100 {
            return None;
        }
        let wanted = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        let place = self.buckets.iter().position(|&count| {
            seen += u32::from(count);
            seen >= wanted
        });
        place.map(upper_border)
    }

    fn forget(&mut self, now: UnixMillis) {
        if self.total == 0 {
            self.halved_at = now;
        }
        while self.total > 0 && now.since(self.halved_at) >= HALF_LIFE {
            self.halved_at = self.halved_at.plus(HALF_LIFE);
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.buckets.iter_mut().for_each(|count| *count /= 2);
        self.total = self.buckets.iter().copied().map(u32::from).sum();
    }
}

fn bucket(took: Duration) -> usize {
    let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
    let Some(doubling) = (millis / EACH).checked_ilog2() else {
        return millis as usize;
    };
    if doubling >= DOUBLINGS {
        return BUCKETS - 1;
    }
    let eighth = (millis >> doubling) - EACH;
    (EACH * (1 + doubling) + eighth) as usize
}

/// Whatever is in this bucket took less.
#[expect(
    clippy::cast_possible_truncation,
    reason = "there are less than 200 buckets"
)]
fn upper_border(bucket: usize) -> Duration {
    let bucket = bucket as u32;
    let millis = match (bucket / EACH).checked_sub(1) {
        None => bucket + 1,
        Some(doubling) => (EACH + bucket % EACH + 1) << doubling,
    };
    Duration::from_millis(millis.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A sketch of these, all measured now.
    fn of(times: impl IntoIterator<Item = u64>) -> LatencySketch {
        let mut sketch = LatencySketch::default();
        for time in times {
            sketch.observe(NOW, millis(time));
        }
        sketch
    }

    #[test]
    fn text_round_trips() {
        for text in ["800ms", "2s", "p50", "p95", "p99"] {
            let after: HedgeAfter = text.parse().unwrap();
            assert_eq!(after.to_string(), text);
        }
        for wrong in ["", "p", "p49", "p100", "p9.5", "P95", "95", "0s", "soon"] {
            assert_eq!(wrong.parse::<HedgeAfter>(), Err(NotATime), "{wrong}");
        }
    }

    #[test]
    fn a_percentile_needs_some_and_one_beyond_it() {
        let p95 = |times| of(0..times).percentile(NOW, 95);
        assert_eq!((p95(19), p95(20)), (None, Some(millis(20))));
        let p99 = |times| of(std::iter::repeat_n(100, times)).percentile(NOW, 99);
        assert_eq!((p99(99), p99(100)), (None, Some(millis(104))));
    }

    #[test]
    fn a_percentile_that_is_very_short_is_not_kept_to() {
        let after = HedgeAfter::Percentile(95);
        assert_eq!(after.time(&mut of([2; 40]), NOW), Some(HEDGE_FLOOR));
        assert_eq!(after.time(&mut of([]), NOW), None);
        let after = HedgeAfter::Time(millis(1));
        assert_eq!(after.time(&mut of([]), NOW), Some(millis(1)));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut sketch = of([5_000; 100]);
        let later = NOW.plus(HALF_LIFE);
        (0..100).for_each(|_| sketch.observe(later, millis(100)));
        assert_eq!(sketch.percentile(later, 50), Some(millis(104)));
        assert!(sketch.percentile(later, 95) > Some(millis(4_000)));
        for _ in 0..2_000 {
            sketch.observe(later, millis(100));
        }
        assert_eq!(sketch.percentile(later, 95), Some(millis(104)));
        let much_later = NOW.plus(HALF_LIFE * 10);
        assert_eq!(sketch.percentile(much_later, 50), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_right_to_an_eighth(
            mut times in proptest::collection::vec(0..2_000_000u64, 100..900),
            percent in 50..=99u32,
        ) {
            let found = of(times.iter().copied()).percentile(NOW, percent).unwrap();
            times.sort_unstable();
            let right = (times.len() * percent as usize).div_ceil(100) - 1;
            let right = millis(times[right]);
            prop_assert!(found > right && found <= right + right / 8 + millis(1), "{:?}", (found, right));
        }

        #[test]
        fn any_time_has_a_bucket(took in 0..u64::MAX / 2, now: u32) {
            let mut sketch = LatencySketch::default();
            sketch.observe(UnixMillis(now.into()), millis(took));
            prop_assert_eq!(sketch.total, 1);
        }
    }
}
