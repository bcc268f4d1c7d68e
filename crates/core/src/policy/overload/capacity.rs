use std::time::Duration;

use crate::id::UnixMillis;

/// How many requests may be under way at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ceiling {
    /// As many as come.
    #[default]
    None,
    /// This many.
    Fixed(u32),
    /// As many as are served without complaint: one more for each round without one, a tenth less
    /// for each with one (AIMD).
    Adaptive {
        /// Never less.
        least: u32,
        /// Never more.
        most: u32,
    },
}

/// How a request ended, as far as it tells of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// It was served.
    Served,
    /// It was refused for want of room, or starved.
    Overloaded,
    /// It says nothing about that.
    Unknown,
}

/// The requests under way, and their ceiling. Every [`enter`](Self::enter) that succeeds is followed
/// by one [`leave`](Self::leave).
#[derive(Clone, Debug)]
pub struct Capacity {
    ceiling: Ceiling,
    in_flight: u32,
    /// Thousandths of a request.
    limit: u64,
    lowered_at: UnixMillis,
}

const ONE: u64 = 1_000;
/// Complaints of the same moment are one: they are about the same load.
const ROUND: Duration = Duration::from_secs(1);

impl Capacity {
    /// Nothing is under way. An adaptive ceiling begins in the middle.
    pub fn new(ceiling: Ceiling) -> Self {
        let limit = match ceiling {
            Ceiling::None => u64::MAX,
            Ceiling::Fixed(limit) => u64::from(limit) * ONE,
            Ceiling::Adaptive { least, most } => {
                (u64::from(least) + u64::from(most.max(least))) * ONE / 2
            }
        };
        Self {
            ceiling,
            in_flight: 0,
            limit,
            lowered_at: UnixMillis(0),
        }
    }

    /// Takes a place, if there is one.
    #[must_use]
    pub fn enter(&mut self) -> bool {
        let free = self.has_room();
        self.in_flight += u32::from(free);
        free
    }

    /// Whether [`enter`](Self::enter) would succeed.
    pub fn has_room(&self) -> bool {
        u64::from(self.in_flight) < self.limit / ONE
    }

    /// Gives a place back.
    pub fn leave(&mut self, now: UnixMillis, load: Load) {
        let was_full = u64::from(self.in_flight) * 2 >= self.limit / ONE;
        self.in_flight = self.in_flight.saturating_sub(1);
        let Ceiling::Adaptive { least, most } = self.ceiling else {
            return;
        };
        match load {
            // A ceiling that nobody is near says nothing when it is kept.
            Load::Served if was_full => self.limit += ONE * ONE / self.limit.max(1),
            Load::Overloaded if now.since(self.lowered_at) >= ROUND => {
                self.lowered_at = now;
                self.limit -= self.limit / 10;
            }
            Load::Served | Load::Overloaded | Load::Unknown => {}
        }
        let (least, most) = (u64::from(least) * ONE, u64::from(most.max(least)) * ONE);
        self.limit = self.limit.clamp(least, most);
    }

    /// How many are under way.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many may be; `None` if as many as come.
    pub fn limit(&self) -> Option<u32> {
        let bounded = self.ceiling != Ceiling::None;
        bounded.then(|| u32::try_from(self.limit / ONE).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fixed_ceiling() {
        let mut capacity = Capacity::new(Ceiling::Fixed(2));
        assert!(capacity.enter() && capacity.enter() && !capacity.enter());
        capacity.leave(UnixMillis(0), Load::Overloaded);
        assert!(capacity.enter() && !capacity.enter());
        assert_eq!((capacity.limit(), capacity.in_flight()), (Some(2), 2));
        let mut open = Capacity::new(Ceiling::None);
        assert!((0..100_000).all(|_| open.enter()));
        assert_eq!(open.limit(), None);
    }

    /// A server with room for 40: the ceiling finds it, from above and from below.
    #[test]
    fn an_adaptive_ceiling_finds_what_is_served() {
        for (least, most) in [(1, 400), (1, 60)] {
            let mut capacity = Capacity::new(Ceiling::Adaptive { least, most });
            let mut sum = 0;
            for round in 0..200_u64 {
                let mut entered = 0;
                while capacity.enter() {
                    entered += 1;
                }
                for nth in 0..entered {
                    let load = if nth < 40 {
                        Load::Served
                    } else {
                        Load::Overloaded
                    };
                    capacity.leave(UnixMillis((round + 2) * 1_000), load);
                }
                if round >= 100 {
                    sum += entered;
                }
            }
            let mean = sum / 100;
            assert!((36..=44).contains(&mean), "{mean}");
        }
    }

    proptest! {
        #[test]
        fn the_ceiling_stays_within_its_bounds(
            least in 0..50u32,
            more in 0..50u32,
            steps in proptest::collection::vec((any::<bool>(), 0..3u8, 0..3_000u64), 0..300),
        ) {
            let most = least + more;
            let mut capacity = Capacity::new(Ceiling::Adaptive { least, most });
            let (mut model, mut now) = (0, 0);
            for (enters, load, wait) in steps {
                now += wait;
                if enters {
                    let room = model < capacity.limit().unwrap_or(0);
                    prop_assert_eq!(capacity.enter(), room);
                    model += u32::from(room);
                } else if model > 0 {
                    let load = [Load::Served, Load::Overloaded, Load::Unknown][usize::from(load)];
                    capacity.leave(UnixMillis(now), load);
                    model -= 1;
                }
                prop_assert_eq!(capacity.in_flight(), model);
                prop_assert!((least..=most).contains(&capacity.limit().unwrap_or(0)));
            }
        }
    }
}
