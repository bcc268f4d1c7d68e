//! Limits: how many requests and tokens in a time ([`rate`]), and how many at once ([`slots`]);
//! how they are written ([`bound`]), and what clients are told of them ([`fields`]).

pub mod bound;
pub mod fields;
pub mod rate;
pub mod slots;

use std::fmt;
use std::time::Duration;

use crate::limits::{QUOTA_CAPACITY, QUOTA_WINDOW};

/// Whom a limit is for. The text is its place in names and in keys of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A client's address.
    Address,
    /// An API key.
    Key,
    /// A project: all its keys together.
    Project,
    /// A model: all who use it together.
    Model,
}

impl Subject {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::Project => "project",
            Self::Model => "model",
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Requests.
    Requests,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens of answers.
    OutputTokens,
}

impl Metric {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input-tokens",
            Self::OutputTokens => "output-tokens",
        }
    }
}

/// So many units in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    units: u64,
    /// Milliseconds.
    window: u64,
}

/// Text for a person: what a quota must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// None or too many units.
    #[error("a quota is at least 1, and times its window in milliseconds below 2^62")]
    Units,
    /// Too short or too long.
    #[error("a window is of whole seconds, from 1s to 31d")]
    Window,
}

impl Quota {
    /// `units` in each `window`: all of them at once after a pause, and as many again in the course
    /// of each further window.
    pub fn new(units: u64, window: Duration) -> Result<Self, QuotaError> {
        let whole = window.subsec_nanos() == 0;
        if !whole || window.is_zero() || window > QUOTA_WINDOW {
            return Err(QuotaError::Window);
        }
        let window = window.as_secs() * 1000;
        match units.checked_mul(window) {
            Some(1..=QUOTA_CAPACITY) => Ok(Self { units, window }),
            _ => Err(QuotaError::Units),
        }
    }

    /// The units.
    pub const fn units(self) -> u64 {
        self.units
    }

    /// The window, whole seconds.
    pub const fn window(self) -> Duration {
        Duration::from_millis(self.window)
    }
}

/// One limit of one kind of subject. Its text is its policy's name in header fields, such as
/// `key-requests-60s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whom it is for.
    pub subject: Subject,
    /// What it counts.
    pub metric: Metric,
    /// How many.
    pub quota: Quota,
}

impl Limit {
    /// The key under which a shared store holds the level of the subject with this `name`. The braces
    /// put all of one subject's into one slot of a Redis cluster, for one script to charge together.
    ///
    /// The window is part of it, as levels count in it; another quota for the same window goes on
    /// with the same level.
    pub fn store_key(&self, name: &str) -> String {
        let (subject, metric) = (self.subject.as_str(), self.metric.as_str());
        let seconds = self.quota.window / 1000;
        format!("everstream:limit:{{{subject}:{name}}}:{metric}:{seconds}")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, metric) = (self.subject.as_str(), self.metric.as_str());
        write!(f, "{subject}-{metric}-{}s", self.quota.window / 1000)
    }
}

#[cfg(test)]
mod tests;
