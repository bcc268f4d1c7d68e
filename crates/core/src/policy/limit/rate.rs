//! The generic cell rate algorithm with costs, reservations and corrections.
//!
//! It is the "continuous-state leaky bucket" of ITU-T I.371, annex A, which decides like the better
//! known form with a theoretical arrival time, and stays exact in whole numbers: each unit that is
//! taken adds to a debt, time pays it off evenly, and the debt may never exceed the quota. A subject
//! thus has its whole quota after a pause, and never more than quota + rate x time in any stretch of time.
//!
//! Tokens are not known beforehand: a request reserves the most it may use and is
//! [corrected](correct) at its end. A correction applies at the moment it is made: all that was ever
//! used stays below quota + rate x time, but what was reserved too much can be used again at once,
//! also if time has paid for some of it by then. Use beyond the reserve is counted too, and delays
//! what comes next.

use std::time::Duration;

use super::Quota;
use crate::id::UnixMillis;

/// How much of a quota is used: two numbers, for memory or a store. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Units used and not yet paid off, times the window in milliseconds.
    pub debt: u64,
    /// When `debt` was so much.
    pub at: UnixMillis,
}

/// A wish to take `cost` units of a quota.
#[derive(Debug)]
pub struct Charge<'a> {
    /// The quota.
    pub quota: Quota,
    /// How much of it is used.
    pub level: &'a mut Level,
    /// How much is to be taken. Nothing can be taken too, unless the quota is overdrawn.
    pub cost: u64,
}

/// Why nothing was taken. `charge` is the place of the one at fault in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There will be enough at that time, if nobody else takes it: the longest wait of all charges.
    Wait {
        /// Which charge.
        charge: usize,
        /// How long, at least a millisecond.
        wait: Duration,
    },
    /// The cost is larger than the whole quota: to wait is of no use.
    TooLarge {
        /// Which charge.
        charge: usize,
    },
}

/// What there is of a quota at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that can be taken now.
    pub remaining: u64,
    /// When all can be taken, if nothing is meanwhile.
    pub reset: Duration,
}

/// Takes all that is wished, or nothing at all of any.
pub fn reserve(charges: &mut [Charge<'_>], now: UnixMillis) -> Result<(), Refusal> {
    let too_large = |charge: &Charge<'_>| charge.cost > charge.quota.units;
    if let Some(charge) = charges.iter().position(too_large) {
        return Err(Refusal::TooLarge { charge });
    }
    let waits = charges.iter().map(|charge| charge.wait(now)).enumerate();
    if let Some((charge, wait)) = waits.max_by_key(|&(_, wait)| wait)
        && wait > 0
    {
        let wait = Duration::from_millis(wait);
        return Err(Refusal::Wait { charge, wait });
    }
    for Charge { quota, level, cost } in charges {
        correct(*quota, level, 0, *cost, now);
    }
    Ok(())
}

/// Makes a reservation of `reserved` units one of `actual`, more or fewer; with none it is given
/// back.
pub fn correct(quota: Quota, level: &mut Level, reserved: u64, actual: u64, now: UnixMillis) {
    let Level { debt, at } = level.paid_off(quota, now);
    let debt = u128::from(debt) + quota.debt(actual);
    let debt = debt.saturating_sub(quota.debt(reserved));
    *level = Level {
        debt: u64::try_from(debt).unwrap_or(u64::MAX),
        at,
    };
}

/// What there is of the quota.
pub fn peek(quota: Quota, level: &Level, now: UnixMillis) -> Standing {
    let debt = level.paid_off(quota, now).debt;
    Standing {
        remaining: quota.capacity().saturating_sub(debt) / quota.window,
        reset: Duration::from_millis(debt.div_ceil(quota.units)),
    }
}

impl Level {
    /// Whether it says no more than the default does, and need not be kept.
    pub fn is_idle(&self, quota: Quota, now: UnixMillis) -> bool {
        self.paid_off(quota, now).debt == 0
    }

    /// The level at `now`. A clock that was set back stands still until it is where it was.
    fn paid_off(self, quota: Quota, now: UnixMillis) -> Self {
        let elapsed = now.0.saturating_sub(self.at.0);
        Self {
            debt: self
                .debt
                .saturating_sub(elapsed.saturating_mul(quota.units)),
            at: self.at.max(now),
        }
    }
}

impl Charge<'_> {
    /// Milliseconds until there is enough.
    fn wait(&self, now: UnixMillis) -> u64 {
        let debt = u128::from(self.level.paid_off(self.quota, now).debt);
        let wanted = debt + self.quota.debt(self.cost);
        let lacking = wanted.saturating_sub(u128::from(self.quota.capacity()));
        let wait = lacking.div_ceil(u128::from(self.quota.units));
        u64::try_from(wait).unwrap_or(u64::MAX)
    }
}

impl Quota {
    const fn capacity(self) -> u64 {
        self.units * self.window
    }

    fn debt(self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.window)
    }
}
