//! What happened, as one number, and as text if somebody wants to read it.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::net::{LaneId, Millis};
use crate::pipe::Piece;

pub(crate) struct Trace {
    /// The sum over all that happened, whatever the order within a moment.
    sum: u64,
    aloud: bool,
}

impl Trace {
    /// `aloud` prints each line as it comes.
    pub(crate) fn new(aloud: bool) -> Self {
        Self { sum: 0, aloud }
    }

    pub(crate) fn note(&mut self, now: Millis, what: &str) {
        self.add((now, what));
        if self.aloud {
            println!("{:>9}.{:03} {what}", now / 1000, now % 1000);
        }
    }

    /// Only its length: the head of an answer has the date of the machine's clock.
    pub(crate) fn arrival(&mut self, now: Millis, lane: LaneId, piece: &Piece) {
        self.add((now, lane, piece.len()));
    }

    /// The same for all runs of one schedule.
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    fn add(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}
