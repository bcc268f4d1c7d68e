//! Money as whole numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in billionths of the currency of the price table: a token at 0.15 per million costs
/// 150. Whole numbers, so that sums are exact in any order. At most [`Cost::MAX`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cost(u64);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// A million units of the currency: more than any generation costs, and few enough that the sum
    /// of nine thousand such rows still fits what a database adds up in.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// So many billionths, [`Cost::MAX`] at most.
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 {
            Self::MAX
        } else {
            Self(nanos)
        }
    }

    /// Billionths.
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}
