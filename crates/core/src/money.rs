//! Amounts of money, as whole nano-dollars, so that sums are exact in any order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars: up to 18 thousand million dollars. Sums that would be more stay there.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(pub u64);

/// Nano-dollars in a dollar.
const DOLLAR: u64 = 1_000_000_000;
const DECIMALS: usize = 9;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing if `other` is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Text that is no amount. The message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an amount is in dollars, such as `2.50` or `0.0375`, with at most 9 decimals, below 18 \
     thousand million"
)]
pub struct MoneyError;

/// Reads dollars, exactly.
impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
            return Err(MoneyError);
        }
        let whole: u64 = whole.parse().map_err(|_| MoneyError)?;
        let nanos: u64 = format!("{decimals:0<DECIMALS$}")
            .parse()
            .map_err(|_| MoneyError)?;
        let dollars = whole.checked_mul(DOLLAR);
        let sum = dollars.and_then(|dollars| dollars.checked_add(nanos));
        sum.map(Self).ok_or(MoneyError)
    }
}

/// Writes dollars as they are read, with no more decimals than needed.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, nanos) = (self.0 / DOLLAR, self.0 % DOLLAR);
        if nanos == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{nanos:0DECIMALS$}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(dollars: &str) -> Money {
        dollars.parse().unwrap()
    }

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(money("2.50"), Money(2_500_000_000));
        assert_eq!(money("0.000000001"), Money(1));
        assert_eq!(money("18446744073.709551615"), Money(u64::MAX));
        for wrong in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "$1",
            " 1",
            "0.0000000001",
            "18446744073.709551616",
            "99999999999",
            "1.-5",
            "1.+5",
        ] {
            assert_eq!(wrong.parse::<Money>(), Err(MoneyError), "{wrong}");
        }
        assert_eq!(money("2.50").to_string(), "2.5");
        assert_eq!(money("100").to_string(), "100");
    }

    proptest! {
        #[test]
        fn an_amount_round_trips(nanos: u64) {
            prop_assert_eq!(Money(nanos).to_string().parse(), Ok(Money(nanos)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.]{0,24}|\\PC{0,8}") {
            if let Ok(money) = text.parse::<Money>() {
                prop_assert_eq!(money.to_string().parse(), Ok(money));
            }
        }
    }
}
