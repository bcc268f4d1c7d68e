//! What is used of limits, and who holds their slots: the contract, in one process's memory and, by
//! way of a catalogue that [can](crate::sql::Catalog::counters), for all that share its database.

mod memory;
mod table;

use std::pin::Pin;

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::limit::Quota;
use everstream_core::policy::limit::rate::{self, Standing};
use everstream_core::policy::limit::slots::SlotsTaken;

pub use memory::MemoryCounters;

use crate::sql::CatalogError;

/// A future of the counters'.
pub type CountersFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CatalogError>> + Send + 'a>>;

/// A wish to take of some limits, and slots of others. No key stands twice in either list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Who holds the slots.
    pub holder: StreamId,
    /// What is to be taken.
    pub charges: Vec<Charge>,
    /// Of what a slot is to be had.
    pub seats: Vec<Seat>,
    /// Now.
    pub now: UnixMillis,
    /// When the slots are free again, unless they are given back or renewed before.
    pub until: UnixMillis,
}

/// So much of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose limit: [`Limit::store_key`](everstream_core::policy::limit::Limit::store_key).
    pub key: String,
    /// How much there is.
    pub quota: Quota,
    /// How much is taken.
    pub cost: u64,
}

/// One of so many slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Whose: [`store_key`](everstream_core::policy::limit::slots::store_key).
    pub key: String,
    /// How many there are.
    pub limit: u32,
}

/// What came of a [`Take`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Why nothing was taken. Rates are looked at before slots.
    pub refusal: Option<Refusal>,
    /// How the limit of each charge stands after it.
    pub standings: Vec<Standing>,
}

/// What there was not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A charge.
    Rate(rate::Refusal),
    /// A seat.
    Slots(SlotsTaken),
}

/// The end of what was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Who held the slots.
    pub holder: StreamId,
    /// What was really used.
    pub corrections: Vec<Correction>,
    /// The keys of the slots that are given back.
    pub seats: Vec<String>,
    /// Now.
    pub now: UnixMillis,
}

/// A charge that turned out to be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Whose limit.
    pub key: String,
    /// How much there is.
    pub quota: Quota,
    /// How much was taken.
    pub reserved: u64,
    /// How much it should have been.
    pub actual: u64,
}

/// A slot that is held on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who holds it.
    pub holder: StreamId,
    /// The slot's key.
    pub key: String,
}

/// Levels of limits and leases of slots.
///
/// What holds for every implementation, for any number of callers:
/// - A [`take`](Self::take) happens as a whole or not at all. However many come at once, what was
///   taken stays within each quota and each number of slots, as if they had come one after the other.
/// - Time is the caller's. A clock that is behind another's stands still until it is there too.
/// - What is idle is forgotten.
pub trait Counters: Send + Sync {
    /// Grants each wish as a whole or not at all, one after the other. One round trip.
    fn take<'a>(&'a self, wishes: &'a [Take]) -> CountersFuture<'a, Vec<Taken>>;

    /// Corrects charges and gives slots back, in this order. Giving back what is not held changes
    /// nothing; corrections are not to be repeated.
    fn settle<'a>(&'a self, ends: &'a [Settle]) -> CountersFuture<'a, ()>;

    /// Holds slots until `until`. One that was lost is held again, whether or not there is room:
    /// whoever has it runs.
    fn renew<'a>(&'a self, holds: &'a [Hold], until: UnixMillis) -> CountersFuture<'a, ()>;

    /// Forgets what is idle at `now`.
    fn sweep(&self, now: UnixMillis) -> CountersFuture<'_, ()>;
}
