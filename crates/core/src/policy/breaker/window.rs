use std::time::Duration;

use crate::id::UnixMillis;

const SLICES: usize = 10;

/// Counts of the last while, in slices of a tenth of it.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slice_millis: u64,
    /// The number of the newest slice, counted from 1970.
    newest: u64,
    /// By the number of a slice, modulo their count.
    slices: [Counts; SLICES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    failed: u32,
    all: u32,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            slice_millis: (millis / SLICES as u64).max(1),
            newest: 0,
            slices: [Counts::default(); SLICES],
        }
    }

    pub(super) fn add(&mut self, now: UnixMillis, failed: u32, all: u32) {
        self.advance(now);
        let slice = &mut self.slices[place(self.newest)];
        slice.failed = slice.failed.saturating_add(failed);
        slice.all = slice.all.saturating_add(all);
    }

    /// What failed, and all.
    pub(super) fn sums(&mut self, now: UnixMillis) -> (u32, u32) {
        self.advance(now);
        self.slices.iter().fold((0, 0), |(failed, all), slice| {
            let failed = slice.failed.saturating_add(failed);
            (failed, slice.all.saturating_add(all))
        })
    }

    pub(super) fn clear(&mut self) {
        self.slices = [Counts::default(); SLICES];
    }

    /// Empties the slices that time has passed. A clock that goes back changes nothing.
    fn advance(&mut self, now: UnixMillis) {
        let newest = now.0 / self.slice_millis;
        if newest <= self.newest {
            return;
        }
        let passed = newest - self.newest;
        for number in (newest - passed.min(SLICES as u64) + 1)..=newest {
            self.slices[place(number)] = Counts::default();
        }
        self.newest = newest;
    }
}

fn place(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or_default()
}
