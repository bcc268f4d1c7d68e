//! What happened, as one number, and as text if somebody wants to read it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::net::{LaneId, Millis};
use crate::pipe::Piece;

pub(crate) struct Trace {
    hasher: DefaultHasher,
    aloud: bool,
}

impl Trace {
    /// `aloud` prints each line as it comes.
    pub(crate) fn new(aloud: bool) -> Self {
        Self {
            hasher: DefaultHasher::new(),
            aloud,
        }
    }

    pub(crate) fn note(&mut self, now: Millis, what: &str) {
        (now, what).hash(&mut self.hasher);
        if self.aloud {
            println!("{:>9}.{:03} {what}", now / 1000, now % 1000);
        }
    }

    /// Only its length: the head of an answer has the date of the machine's clock.
    pub(crate) fn arrival(&mut self, now: Millis, lane: LaneId, piece: &Piece) {
        (now, lane, piece.len()).hash(&mut self.hasher);
    }

    /// The same for all runs of one schedule.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
