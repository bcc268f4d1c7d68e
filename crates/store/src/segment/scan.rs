//! Reading a segment forward, over damage if there is some.

use std::io;

use bytes::Bytes;
use everstream_core::record::Record;
use everstream_core::record::codec::{self, Decoded, Outline};

use crate::disk::DiskFile;

/// Bytes read at once.
const BLOCK: u64 = 256 << 10;

/// A pass over a part of a segment.
pub(super) struct Scan<'a> {
    file: &'a dyn DiskFile,
    mark: u32,
    /// Where the next batch should begin.
    pub(super) at: u64,
    end: u64,
    block: Bytes,
    block_at: u64,
}

/// What [`Scan::next`] came upon.
pub(super) enum Found {
    /// A batch, and where it lies.
    Batch(Outline, Vec<Record>, u64),
    /// Bytes that are no batch, or not all of one.
    Bad,
    /// The end.
    End,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, mark: u32, at: u64, end: u64) -> Self {
        Self {
            file,
            mark,
            at,
            end,
            block: Bytes::new(),
            block_at: at,
        }
    }

    /// The batch at the present place, which moves behind it.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        if self.at >= self.end {
            return Ok(Found::End);
        }
        let mut wanted = BLOCK;
        loop {
            let rest = self.rest();
            match codec::decode(self.mark, &rest) {
                Decoded::Whole { outline, records } => {
                    let at = self.at;
                    self.at += outline.bytes as u64;
                    return Ok(Found::Batch(outline, records, at));
                }
                Decoded::Corrupt if !rest.is_empty() => return Ok(Found::Bad),
                Decoded::Corrupt | Decoded::Incomplete => {}
            }
            if rest.len() as u64 >= wanted.min(self.end - self.at) {
                let length = codec::length(self.mark, &rest).unwrap_or(0) as u64;
                if length <= wanted || length > self.end - self.at {
                    return Ok(Found::Bad);
                }
                wanted = length;
            }
            if !self.fill(wanted)? {
                return Ok(Found::Bad);
            }
        }
    }

    /// Looks behind damage for the next batch and moves there; false if there is none.
    pub(super) fn resync(&mut self) -> io::Result<bool> {
        let mark = self.mark.to_le_bytes();
        self.at += 1;
        while self.at + codec::HEAD_BYTES as u64 <= self.end {
            let rest = self.rest();
            let Some(offset) = rest.windows(4).position(|window| window == mark) else {
                // A mark may stand across the border of two blocks.
                let skipped = rest.len().saturating_sub(3) as u64;
                self.at += skipped;
                if !self.fill(BLOCK)? {
                    return Ok(false);
                }
                continue;
            };
            self.at += offset as u64;
            let found = self.at;
            if let Found::Batch(..) = self.next()? {
                self.at = found;
                return Ok(true);
            }
            self.at += 1;
        }
        Ok(false)
    }

    /// What was read from the present place on.
    fn rest(&self) -> Bytes {
        let skip = self.at.checked_sub(self.block_at).map(usize::try_from);
        match skip {
            Some(Ok(skip)) if skip < self.block.len() => self.block.slice(skip..),
            _ => Bytes::new(),
        }
    }

    /// Reads `wanted` bytes from the present place on; false when that brings nothing new.
    fn fill(&mut self, wanted: u64) -> io::Result<bool> {
        let had = self.rest().len();
        let wanted = usize::try_from(wanted.min(self.end - self.at)).unwrap_or(usize::MAX);
        let mut block = vec![0; wanted];
        let read = self.file.read_at(self.at, &mut block)?;
        block.truncate(read);
        self.block = block.into();
        self.block_at = self.at;
        Ok(read > had)
    }
}
