//! How many streams at once: slots that are leased, so that none is lost with its holder.
//!
//! A stream takes a slot, renews its lease while it lives, and gives it back at its end. If it
//! cannot, because its process died, the lease runs out. In a shared store the leases of one subject
//! are a sorted set of stream ids by expiry, and each operation here is one script on it (Redis:
//! `ZREMRANGEBYSCORE`, `ZCARD`, `ZADD`).

use std::collections::BTreeMap;

use super::Subject;
use crate::id::{StreamId, UnixMillis};

/// The slots of one subject. Each stream holds at most one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Until when each holder has its slot.
    leases: BTreeMap<StreamId, UnixMillis>,
}

/// A wish for a slot.
#[derive(Debug)]
pub struct Seat<'a> {
    /// Whose slots.
    pub slots: &'a mut Slots,
    /// How many there are.
    pub limit: usize,
}

/// All slots are taken; `seat` is the place of the wish in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotsTaken {
    /// Which wish.
    pub seat: usize,
}

/// Takes a slot of each for `holder` until `until`, or none at all. Who has one keeps it, with the
/// new expiry.
pub fn acquire(
    seats: &mut [Seat<'_>],
    holder: StreamId,
    until: UnixMillis,
    now: UnixMillis,
) -> Result<(), SlotsTaken> {
    for (seat, Seat { slots, limit }) in seats.iter_mut().enumerate() {
        if !slots.has_room(*limit, holder, now) {
            return Err(SlotsTaken { seat });
        }
    }
    for Seat { slots, .. } in seats {
        slots.leases.insert(holder, until);
    }
    Ok(())
}

impl Slots {
    /// Extends a lease; `false` if it was given back or has run out. Then the slot may be another's,
    /// and is to be acquired anew.
    pub fn renew(&mut self, holder: StreamId, until: UnixMillis, now: UnixMillis) -> bool {
        match self.leases.get_mut(&holder) {
            Some(expiry) if *expiry > now => {
                *expiry = until.max(*expiry);
                true
            }
            _ => false,
        }
    }

    /// Gives a slot back; giving it back again changes nothing.
    pub fn release(&mut self, holder: StreamId) {
        self.leases.remove(&holder);
    }

    /// How many slots are held.
    pub fn held(&self, now: UnixMillis) -> usize {
        self.leases.values().filter(|&&expiry| expiry > now).count()
    }

    fn has_room(&mut self, limit: usize, holder: StreamId, now: UnixMillis) -> bool {
        // To look through all leases is needed only when they seem to fill the room.
        if self.leases.len() >= limit {
            self.leases.retain(|_, expiry| *expiry > now);
        }
        self.leases.len() < limit || self.leases.contains_key(&holder)
    }
}

/// The key of the set in a shared store that holds the leases of the subject with this `name`.
pub fn store_key(subject: Subject, name: &str) -> String {
    format!("everstream:slots:{{{}:{name}}}", subject.as_str())
}
