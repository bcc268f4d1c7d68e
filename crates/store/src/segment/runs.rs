//! Where one stream's batches lie.

use everstream_core::id::{Epoch, Seq};
use everstream_core::record::Position;

use super::layout::{BatchRef, WriterId};

/// Most places remembered of one run, so that an index does not grow with its stream.
const MARKS: usize = 64;
/// Batches between two of them, at first: a short answer has none.
const SPACING: u32 = 32;

/// Consecutive batches of a stream by one writer under one epoch. On disk each names the one
/// before it; here are the ends and, in between, a few places to start from.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) writer: WriterId,
    pub(super) epoch: Epoch,
    pub(super) first: BatchRef,
    pub(super) last: BatchRef,
    /// Where the record after `last` goes.
    pub(super) tail_position: u32,
    /// The newest event in the run, or before it.
    pub(super) tail_seq: u32,
    /// Every `spacing`-th batch, `first` not counted.
    marks: Vec<BatchRef>,
    spacing: u32,
    since_mark: u32,
}

impl Run {
    pub(super) fn new(writer: WriterId, epoch: Epoch, batch: BatchRef, tail: (u32, u32)) -> Self {
        Self {
            writer,
            epoch,
            first: batch,
            last: batch,
            tail_position: tail.0,
            tail_seq: tail.1,
            marks: Vec::new(),
            spacing: SPACING,
            since_mark: 0,
        }
    }

    /// Adds the batch that follows `last`.
    pub(super) fn push(&mut self, batch: BatchRef, tail: (u32, u32)) {
        self.last = batch;
        (self.tail_position, self.tail_seq) = tail;
        self.since_mark += 1;
        if self.since_mark < self.spacing {
            return;
        }
        self.since_mark = 0;
        self.marks.push(batch);
        if self.marks.len() > MARKS {
            let mut nth = 0;
            self.marks.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
            self.since_mark = self.spacing;
            self.spacing *= 2;
        }
    }

    /// Gives back what a stream that will not grow does not need.
    pub(super) fn shrink(&mut self) {
        self.marks.shrink_to_fit();
    }

    /// The nearest known batch that is not before the one with event `after + 1`, and whether that
    /// is a mark, which will stay the nearest. To be followed back from there.
    pub(super) fn at_or_behind(&self, after: u32) -> (BatchRef, bool) {
        let next = self.marks.partition_point(|mark| mark.seq <= after);
        let mark = self.marks.get(next).copied();
        mark.map_or((self.last, false), |mark| (mark, true))
    }

    pub(super) fn tail(&self) -> (Position, Seq) {
        let position = Position(u64::from(self.tail_position));
        (position, Seq::new(u64::from(self.tail_seq)))
    }

    #[cfg(test)]
    pub(super) fn marks(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_batches_leave_a_bounded_index_that_finds_each() {
        let at = |n: u32| BatchRef {
            position: n,
            seq: n,
            segment: 1,
            offset: n,
            bytes: 1,
        };
        let mut run = Run::new(1, Epoch::FIRST, at(0), (1, 1));
        for n in 1..1_000_000 {
            run.push(at(n), (n + 1, n + 1));
            assert!(run.marks() <= MARKS);
        }
        for after in (0..1_000_000).step_by(997) {
            let (batch, _) = run.at_or_behind(after);
            assert!(batch.seq >= after, "{after} lies behind {batch:?}");
            let distance = batch.seq - after;
            assert!(distance <= 1_000_000 / 16, "{after} is {distance} away");
        }
    }
}
