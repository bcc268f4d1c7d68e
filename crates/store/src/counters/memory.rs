use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::limits::LIMIT_LEVELS;
use everstream_core::policy::limit::Quota;
use everstream_core::policy::limit::rate::{self, Level, Standing};
use everstream_core::policy::limit::slots::{self, Slots};

use super::table::{Hashed, Table};
use super::{Counters, CountersFuture, Hold, Refusal, Settle, Take, Taken};

/// Parts that are locked and tidied up each for itself, so that no request waits for long.
const SHARDS: usize = 64;
/// Levels of a part that are too few to be tidied up.
const FEW: usize = 64;

/// Counters in memory: at most [`LIMIT_LEVELS`] levels. When there are more, those go that would be
/// idle soonest, so that nobody gets rid of a used level by making up many others.
#[derive(Debug)]
pub struct MemoryCounters {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    levels: Table<(Quota, Level)>,
    slots: Table<Slots>,
    /// How many levels there may be until it is tidied up.
    enough: usize,
}

impl Default for MemoryCounters {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                levels: Table::default(),
                slots: Table::default(),
                enough: FEW,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl MemoryCounters {
    /// See [`Counters::take`].
    pub fn take_now(&self, wish: &Take) -> Taken {
        let charged: Vec<_> = (wish.charges.iter())
            .map(|charge| self.hashed(&charge.key))
            .collect();
        let seated: Vec<_> = (wish.seats.iter())
            .map(|seat| self.hashed(&seat.key))
            .collect();
        let mut locked = self.lock_all(charged.iter().chain(&seated));
        let mut levels: Vec<Level> = Vec::with_capacity(charged.len());
        for &key in &charged {
            levels.push(locked.of(key).level(key));
        }
        let refusal = take(wish, &mut levels, &seated, &mut locked).err();
        let standing = |(charge, level)| {
            let charge: &super::Charge = charge;
            rate::peek(charge.quota, level, wish.now)
        };
        let standings: Vec<Standing> = wish.charges.iter().zip(&levels).map(standing).collect();
        if refusal.is_none() {
            for ((charge, key), level) in wish.charges.iter().zip(charged).zip(levels) {
                locked.of(key).set(key, charge.quota, level, wish.now);
            }
        }
        Taken { refusal, standings }
    }

    /// See [`Counters::settle`].
    pub fn settle_now(&self, ends: &[Settle]) {
        for end in ends {
            for one in &end.corrections {
                let key = self.hashed(&one.key);
                let mut shard = self.lock(place(key));
                let mut level = shard.level(key);
                rate::correct(one.quota, &mut level, one.reserved, one.actual, end.now);
                shard.set(key, one.quota, level, end.now);
            }
            for key in &end.seats {
                let key = self.hashed(key);
                let mut shard = self.lock(place(key));
                let mut slots = shard.slots(key);
                slots.release(end.holder);
                shard.put(key, slots);
            }
        }
    }

    fn renew_now(&self, holds: &[Hold], until: UnixMillis) {
        for Hold { holder, key } in holds {
            let key = self.hashed(key);
            let mut shard = self.lock(place(key));
            let mut slots = shard.slots(key);
            let seat = slots::Seat {
                slots: &mut slots,
                limit: usize::MAX,
            };
            // There is room for all, so nobody asks what time it is.
            let _always = slots::acquire(&mut [seat], *holder, until, UnixMillis(0));
            shard.put(key, slots);
        }
    }

    fn sweep_now(&self, now: UnixMillis) {
        for place in 0..SHARDS {
            self.lock(place).tidy(now);
        }
    }

    /// How many levels there are.
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|place| self.lock(place).levels.len()).sum()
    }

    /// Whether nothing is used of any limit, and no slot is held.
    pub fn is_empty(&self) -> bool {
        let idle = |shard: MutexGuard<'_, Shard>| shard.levels.is_empty() && shard.slots.is_empty();
        (0..SHARDS).all(|place| idle(self.lock(place)))
    }

    fn hashed<'a>(&self, name: &'a str) -> Hashed<'a> {
        let hash = self.hasher.hash_one(name);
        Hashed { hash, name }
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Shard> {
        // Nothing that runs under the lock can leave it half changed.
        self.shards[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// In the order of the shards, so that no two wait for each other.
    fn lock_all<'a>(&self, keys: impl Iterator<Item = &'a Hashed<'a>>) -> Locked<'_> {
        let mut places: Vec<usize> = keys.map(|&key| place(key)).collect();
        places.sort_unstable();
        places.dedup();
        let locked = |place| (place, self.lock(place));
        Locked(places.into_iter().map(locked).collect())
    }
}

/// By bits in the middle: tables tell their entries apart by those at both ends.
fn place(key: Hashed<'_>) -> usize {
    usize::try_from((key.hash >> 32) % SHARDS as u64).unwrap_or_default()
}

/// Changes `levels`, and the slots themselves.
fn take(
    wish: &Take,
    levels: &mut [Level],
    seated: &[Hashed<'_>],
    locked: &mut Locked<'_>,
) -> Result<(), Refusal> {
    let before: Vec<Level> = levels.to_vec();
    let charges = wish.charges.iter().zip(levels.iter_mut());
    let charges = charges.map(|(charge, level)| rate::Charge {
        quota: charge.quota,
        level,
        cost: charge.cost,
    });
    rate::reserve(&mut charges.collect::<Vec<_>>(), wish.now).map_err(Refusal::Rate)?;
    let mut slots: Vec<Slots> = Vec::with_capacity(wish.seats.len());
    for &key in seated {
        slots.push(locked.of(key).slots(key));
    }
    let seats = wish.seats.iter().zip(&mut slots);
    let seats = seats.map(|(seat, slots)| slots::Seat {
        slots,
        limit: usize::try_from(seat.limit).unwrap_or(usize::MAX),
    });
    let acquired = slots::acquire(
        &mut seats.collect::<Vec<_>>(),
        wish.holder,
        wish.until,
        wish.now,
    );
    for (&key, slots) in seated.iter().zip(slots) {
        locked.of(key).put(key, slots);
    }
    acquired.map_err(|taken| {
        levels.copy_from_slice(&before);
        Refusal::Slots(taken)
    })
}

/// The shards that one wish is about.
struct Locked<'a>(Vec<(usize, MutexGuard<'a, Shard>)>);

impl Locked<'_> {
    fn of(&mut self, key: Hashed<'_>) -> &mut Shard {
        let place = place(key);
        let found = self.0.binary_search_by_key(&place, |(known, _)| *known);
        // All that the wish is about are there.
        &mut self.0[found.unwrap_or_default()].1
    }
}

impl Shard {
    fn level(&self, key: Hashed<'_>) -> Level {
        let known = self.levels.get(key);
        known.map_or_else(Level::default, |(_, level)| *level)
    }

    fn set(&mut self, key: Hashed<'_>, quota: Quota, level: Level, now: UnixMillis) {
        if let Some(known) = self.levels.get_mut(key) {
            *known = (quota, level);
            return;
        }
        if level.is_idle(quota, now) {
            return;
        }
        if self.levels.len() >= self.enough {
            self.tidy(now);
        }
        self.levels.set(key, (quota, level));
    }

    /// Takes slots out, until they are [put](Self::put) back.
    fn slots(&mut self, key: Hashed<'_>) -> Slots {
        let known = self.slots.get_mut(key);
        known.map(std::mem::take).unwrap_or_default()
    }

    fn put(&mut self, key: Hashed<'_>, slots: Slots) {
        if slots == Slots::default() {
            self.slots.remove(key);
        } else {
            self.slots.set(key, slots);
        }
    }

    fn tidy(&mut self, now: UnixMillis) {
        const MOST: usize = LIMIT_LEVELS / SHARDS;
        self.levels
            .retain(|(quota, level)| !level.is_idle(*quota, now));
        self.slots.retain(|slots| slots.held(now) > 0);
        if self.levels.len() >= MOST {
            let reset = |(quota, level): &(Quota, Level)| rate::peek(*quota, level, now).reset;
            let mut resets: Vec<Duration> = self.levels.values().map(reset).collect();
            let (_, &mut median, _) = resets.select_nth_unstable(MOST / 2);
            // Of those that are alike, as many as there have to be.
            let mut spare = self.levels.len() - MOST / 2;
            self.levels.retain(|level| {
                let goes = spare > 0 && reset(level) <= median;
                spare -= usize::from(goes);
                !goes
            });
        }
        self.enough = (2 * self.levels.len()).clamp(FEW, MOST);
    }
}

impl Counters for MemoryCounters {
    fn take<'a>(&'a self, wishes: &'a [Take]) -> CountersFuture<'a, Vec<Taken>> {
        let taken = wishes.iter().map(|wish| self.take_now(wish)).collect();
        Box::pin(ready(Ok(taken)))
    }

    fn settle<'a>(&'a self, ends: &'a [Settle]) -> CountersFuture<'a, ()> {
        self.settle_now(ends);
        Box::pin(ready(Ok(())))
    }

    fn renew<'a>(&'a self, holds: &'a [Hold], until: UnixMillis) -> CountersFuture<'a, ()> {
        self.renew_now(holds, until);
        Box::pin(ready(Ok(())))
    }

    fn sweep(&self, now: UnixMillis) -> CountersFuture<'_, ()> {
        self.sweep_now(now);
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use everstream_core::id::StreamId;

    use super::super::Charge;
    use super::*;

    fn charge(counters: &MemoryCounters, key: String, cost: u64, now: u64) -> bool {
        let quota = Quota::new(10, Duration::from_mins(1)).expect("a quota");
        let wish = Take {
            holder: StreamId::from_bits(1),
            charges: vec![Charge { key, quota, cost }],
            seats: Vec::new(),
            now: UnixMillis(now),
            until: UnixMillis(now),
        };
        counters.take_now(&wish).refusal.is_none()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let counters = MemoryCounters::default();
        assert!(charge(&counters, "used".to_owned(), 10, 0));
        for n in 0..2 * LIMIT_LEVELS {
            assert!(charge(&counters, format!("made up {n}"), 1, 0));
        }
        assert!(counters.len() <= LIMIT_LEVELS, "{}", counters.len());
        assert!(!charge(&counters, "used".to_owned(), 1, 0));
        counters.sweep_now(UnixMillis(60_000));
        assert!(counters.is_empty());
    }
}
