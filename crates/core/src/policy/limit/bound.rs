//! Limits as people write them: `requests=60/1m`, `concurrency=5`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Metric, Quota, QuotaError};
use crate::limits::SLOTS;
use crate::units::{DurationUnit, UnitError, parse_duration_in};

/// How much of one thing, for a subject that is not said here.
///
/// Its text is `<metric>=<units>/<window>`, as in `requests=60/1m`, `input-tokens=100000/1h` or
/// `output-tokens=5000/60s`; or `concurrency=<streams>`. It is shown as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So much in a window of time, which is shown in this unit.
    Rate(Metric, Quota, DurationUnit),
    /// So many at once: 1 to [`SLOTS`].
    Concurrency(u32),
}

/// Text that is no [`Bound`]. The message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// What it counts is not known.
    #[error(
        "a limit is `requests=60/1m`, `input-tokens=100000/1h`, `output-tokens=5000/1m` or \
         `concurrency=5`"
    )]
    Form,
    /// No units, or no window.
    #[error("a rate is a whole number and a window, such as `60/1m`")]
    Rate,
    /// The window is no duration.
    #[error("{0}")]
    Window(#[from] UnitError),
    /// Units or window out of range.
    #[error("{0}")]
    Quota(#[from] QuotaError),
    /// A number of streams out of range.
    #[error("concurrency is a whole number from 1 to {SLOTS}")]
    Concurrency,
}

impl Bound {
    /// What it counts, as text.
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::Rate(metric, ..) => metric.as_str(),
            Self::Concurrency(_) => CONCURRENCY,
        }
    }
}

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let (name, amount) = text.split_once('=').ok_or(BoundError::Form)?;
        if name == CONCURRENCY {
            return match amount.parse() {
                Ok(streams @ 1..=SLOTS) => Ok(Self::Concurrency(streams)),
                _ => Err(BoundError::Concurrency),
            };
        }
        let metrics = [Metric::Requests, Metric::InputTokens, Metric::OutputTokens];
        let metric = metrics.into_iter().find(|metric| metric.as_str() == name);
        let metric = metric.ok_or(BoundError::Form)?;
        let (units, window) = amount.split_once('/').ok_or(BoundError::Rate)?;
        let units = units.parse().map_err(|_| BoundError::Rate)?;
        let (window, unit) = parse_duration_in(window)?;
        Ok(Self::Rate(metric, Quota::new(units, window)?, unit))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(metric, quota, unit) => {
                let (name, window) = (metric.as_str(), unit.show(quota.window()));
                write!(f, "{name}={}/{window}", quota.units())
            }
            Self::Concurrency(streams) => write!(f, "{CONCURRENCY}={streams}"),
        }
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const CONCURRENCY: &str = "concurrency";
