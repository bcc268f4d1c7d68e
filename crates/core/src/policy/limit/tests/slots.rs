use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::slots::*;
use crate::id::{StreamId, UnixMillis};

const NOW: u64 = 1_800_000_000_000;

fn stream(n: u64) -> StreamId {
    StreamId::from_bits(n)
}

fn take(slots: &mut Slots, limit: usize, holder: u64, until: u64, now: u64) -> bool {
    let seat = Seat { slots, limit };
    acquire(
        &mut [seat],
        stream(holder),
        UnixMillis(until),
        UnixMillis(now),
    )
    .is_ok()
}

#[test]
fn a_slot_is_held_until_it_is_given_back_or_runs_out() {
    let mut slots = Slots::default();
    assert!(take(&mut slots, 2, 1, NOW + 30, NOW));
    assert!(take(&mut slots, 2, 2, NOW + 30, NOW));
    assert!(!take(&mut slots, 2, 3, NOW + 30, NOW));
    slots.release(stream(1));
    slots.release(stream(1));
    assert!(take(&mut slots, 2, 3, NOW + 60, NOW));
    assert!(!take(&mut slots, 2, 4, NOW + 60, NOW + 29));
    assert!(take(&mut slots, 2, 4, NOW + 60, NOW + 30));
    assert!(!slots.renew(stream(2), UnixMillis(NOW + 99), UnixMillis(NOW + 30)));
    assert!(!slots.renew(stream(1), UnixMillis(NOW + 99), UnixMillis(NOW + 30)));
    assert_eq!(slots.held(UnixMillis(NOW + 30)), 2);
    assert_eq!(slots.held(UnixMillis(NOW + 60)), 0);
    assert!(!take(&mut slots, 0, 9, NOW + 99, NOW + 90));
}

#[test]
fn to_take_a_slot_again_is_to_keep_it() {
    let mut slots = Slots::default();
    assert!(take(&mut slots, 1, 1, NOW + 30, NOW));
    assert!(take(&mut slots, 1, 1, NOW + 60, NOW));
    assert_eq!(slots.held(UnixMillis(NOW + 59)), 1);
    slots.release(stream(1));
    assert_eq!(slots.held(UnixMillis(NOW)), 0);
}

#[test]
fn all_slots_or_none() {
    let (mut key, mut project) = (Slots::default(), Slots::default());
    assert!(take(&mut project, 1, 1, NOW + 30, NOW));
    let before = key.clone();
    let seats = &mut [
        Seat {
            slots: &mut key,
            limit: 9,
        },
        Seat {
            slots: &mut project,
            limit: 1,
        },
    ];
    let refused = acquire(seats, stream(2), UnixMillis(NOW + 30), UnixMillis(NOW));
    assert_eq!(refused, Err(SlotsTaken { seat: 1 }));
    assert_eq!(key, before);
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Renew(u64),
    Release(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..8).prop_map(Step::Take),
        2 => (0u64..8).prop_map(Step::Renew),
        2 => (0u64..8).prop_map(Step::Release),
        2 => (1u64..40).prop_map(Step::Pass),
    ]
}

proptest! {
    /// The model keeps each holder's expiry and counts the live ones anew each time.
    #[test]
    fn slots_never_leak_and_never_count_twice(
        limit in 0usize..5,
        lease in 1u64..60,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut slots = Slots::default();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut now = NOW;
        for step in steps {
            let until = now + lease;
            match step {
                Step::Take(holder) => {
                    let others = model.iter().filter(|&(other, end)| *other != holder && *end > now);
                    let has = model.get(&holder).is_some_and(|&end| end > now);
                    let expected = has || others.count() < limit;
                    prop_assert_eq!(take(&mut slots, limit, holder, until, now), expected);
                    if expected {
                        model.insert(holder, until);
                    }
                }
                Step::Renew(holder) => {
                    let alive = model.get(&holder).is_some_and(|&end| end > now);
                    let renewed = slots.renew(stream(holder), UnixMillis(until), UnixMillis(now));
                    prop_assert_eq!(renewed, alive);
                    if alive {
                        model.insert(holder, until);
                    }
                }
                Step::Release(holder) => {
                    slots.release(stream(holder));
                    model.remove(&holder);
                }
                Step::Pass(millis) => now += millis,
            }
            let live = model.values().filter(|&&end| end > now).count();
            prop_assert_eq!(slots.held(UnixMillis(now)), live);
            prop_assert!(live <= limit);
        }
    }
}
