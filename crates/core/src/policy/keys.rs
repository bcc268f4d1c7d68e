//! Which of an upstream's keys a request is sent with.

use crate::id::UnixMillis;

/// Keys that take turns. One that reached its limit, or is not taken, rests; the others go on.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Until when each rests.
    resting: Vec<UnixMillis>,
    /// The place of the one whose turn it is.
    next: usize,
}

impl Keys {
    /// This many keys; at least one, which may be none at all for upstreams that want none.
    pub fn new(count: u32) -> Self {
        Self {
            resting: vec![UnixMillis(0); count.max(1) as usize],
            next: 0,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.resting.len()
    }

    /// The place of the key for the next request: in turn, and of those that do not rest. If all
    /// do, it is the one that is there again first.
    pub fn take(&mut self, now: UnixMillis) -> usize {
        let count = self.count();
        let turns = (0..count).map(|turn| (self.next + turn) % count);
        // Of equals the first: all that do not rest are equal.
        let taken = turns.min_by_key(|&place| self.resting[place].max(now));
        let taken = taken.unwrap_or_default();
        self.next = (taken + 1) % count;
        taken
    }

    /// The key at this place is not used before then, unless all rest.
    pub fn rest(&mut self, place: usize, until: UnixMillis) {
        if let Some(resting) = self.resting.get_mut(place) {
            *resting = until.max(*resting);
        }
    }

    /// When one of them can be used again, if all rest.
    pub fn back_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        let first = self.resting.iter().min().copied();
        first.filter(|until| now < *until)
    }

    /// How many do not rest.
    pub fn awake(&self, now: UnixMillis) -> usize {
        self.resting.iter().filter(|until| **until <= now).count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn after(seconds: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn they_take_turns() {
        let mut keys = Keys::new(3);
        let taken: Vec<_> = (0..7).map(|_| keys.take(NOW)).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1, 2, 0]);
        let mut none = Keys::new(0);
        assert_eq!((none.take(NOW), none.take(NOW), none.count()), (0, 0, 1));
    }

    #[test]
    fn one_that_rests_is_passed_over_until_its_time() {
        let mut keys = Keys::new(3);
        keys.rest(1, after(5));
        let taken: Vec<_> = (0..4).map(|_| keys.take(NOW)).collect();
        assert_eq!(taken, [0, 2, 0, 2]);
        assert_eq!((keys.awake(NOW), keys.back_at(NOW)), (2, None));
        let taken: Vec<_> = (0..3).map(|_| keys.take(after(5))).collect();
        assert_eq!(taken, [0, 1, 2]);
        // A shorter rest does not end a longer one.
        keys.rest(0, after(9));
        keys.rest(0, after(2));
        assert_eq!(keys.awake(after(8)), 2);
    }

    #[test]
    fn if_all_rest_it_is_known_until_when_and_the_first_to_be_back_is_used() {
        let mut keys = Keys::new(2);
        keys.rest(0, after(60));
        keys.rest(1, after(3));
        assert_eq!(keys.back_at(NOW), Some(after(3)));
        assert_eq!((keys.take(NOW), keys.take(NOW)), (1, 1));
        assert_eq!(keys.back_at(after(3)), None);
        keys.rest(7, after(9));
        assert_eq!(keys.count(), 2);
    }

    proptest! {
        #[test]
        fn no_key_is_used_while_it_rests_and_another_does_not(
            count in 1..6_u32,
            steps in proptest::collection::vec((0..4_u64, 0..6_usize, 0..9_u64), 0..60),
        ) {
            let mut keys = Keys::new(count);
            let mut until = vec![0; count as usize];
            let mut second = 0;
            for (passed, place, rest) in steps {
                second += passed;
                if let Some(until) = until.get_mut(place) {
                    *until = (second + rest).max(*until);
                }
                keys.rest(place, after(second + rest));
                let now = after(second);
                let awake = until.iter().filter(|until| **until <= second).count();
                prop_assert_eq!(keys.awake(now), awake);
                prop_assert_eq!(keys.back_at(now).is_some(), awake == 0);
                let taken = keys.take(now);
                prop_assert!(awake == 0 || until[taken] <= second);
            }
        }
    }
}
