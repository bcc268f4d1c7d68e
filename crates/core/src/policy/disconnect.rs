//! What becomes of a generation that nobody reads.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units;

/// What happens when the last reader of a running generation leaves. Text: `continue`, `cancel` or
/// `linger:<duration>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It runs to its end.
    Continue,
    /// It is cancelled at once.
    Cancel,
    /// It is cancelled unless a reader comes within this time.
    Linger(Duration),
}

impl FromStr for OnDisconnect {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        match text {
            "continue" => Ok(Self::Continue),
            "cancel" => Ok(Self::Cancel),
            other => other
                .strip_prefix("linger:")
                .and_then(|time| units::parse_duration(time).ok())
                .map(Self::Linger)
                .ok_or(NotAPolicy),
        }
    }
}

impl fmt::Display for OnDisconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("continue"),
            Self::Cancel => f.write_str("cancel"),
            Self::Linger(time) => write!(f, "linger:{}", units::show_duration(*time)),
        }
    }
}

/// Text that is no [`OnDisconnect`]. The message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `continue`, `cancel` or `linger:<duration>` such as `linger:60s`")]
pub struct NotAPolicy;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in [
            "continue",
            "cancel",
            "linger:0s",
            "linger:1500ms",
            "linger:60s",
        ] {
            let policy: OnDisconnect = text.parse().unwrap();
            assert_eq!(policy.to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "Continue",
            "linger",
            "linger:",
            "linger:60",
            "linger: -1s",
        ] {
            assert_eq!(text.parse::<OnDisconnect>(), Err(NotAPolicy), "{text}");
        }
    }
}
