//! Finding the batches of one stream among those of all others.
//!
//! Each batch names the one before it in its stream and run. A page read starts at the nearest
//! known batch behind its place and follows the links back to it; what it passed is remembered for
//! the next page, so that reading a stream to its end follows each link once.

use std::collections::VecDeque;

use everstream_core::id::StreamId;
use everstream_core::record::codec::{self, HEAD_BYTES};

use super::files::{Files, damaged};
use super::layout::{BatchRef, WriterId, linked};
use super::runs::Run;
use crate::LogError;

/// Batches remembered, of all streams: 1.3 MB.
const REMEMBERED: usize = 1 << 16;

/// Which links: those of a run back from a mark, or from its newest batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) stream: StreamId,
    pub(super) writer: WriterId,
    first: u32,
    mark: Option<u32>,
}

/// Consecutive batches, oldest first, and where the oldest one's link leads.
#[derive(Debug, Default)]
pub(super) struct Window {
    refs: VecDeque<BatchRef>,
    link: u64,
}

/// Windows of late, the latest at the back.
#[derive(Debug, Default)]
pub(super) struct Walked {
    windows: VecDeque<(Way, Window)>,
}

impl Walked {
    /// Takes out what is known of a way, to be put back.
    pub(super) fn take(&mut self, way: Way) -> Window {
        let at = self.windows.iter().position(|(known, _)| *known == way);
        let taken = at.and_then(|at| self.windows.remove(at));
        taken.map(|(_, window)| window).unwrap_or_default()
    }

    pub(super) fn put(&mut self, way: Way, window: Window) {
        self.windows.push_back((way, window));
        let mut total: usize = self.windows.iter().map(|(_, w)| w.refs.len()).sum();
        while total > REMEMBERED && self.windows.len() > 1 {
            let oldest = self.windows.pop_front();
            total -= oldest.map_or(0, |(_, window)| window.refs.len());
        }
    }
}

impl Way {
    /// The way to the batch with event `after + 1` of this run, and where to start on it.
    pub(super) fn to(stream: StreamId, run: &Run, after: u32) -> (Self, BatchRef) {
        let (start, is_mark) = run.at_or_behind(after);
        let way = Self {
            stream,
            writer: run.writer,
            first: run.first.position,
            mark: is_mark.then_some(start.position),
        };
        (way, start)
    }
}

impl Window {
    /// Makes the window reach from the batch with event `after + 1` to `start`.
    pub(super) fn cover(
        &mut self,
        files: &Files,
        way: Way,
        start: BatchRef,
        after: u32,
    ) -> Result<(), LogError> {
        let newest = self.refs.back().map(|batch| batch.position);
        if newest.is_none_or(|newest| newest < start.position) {
            let link = head_of(files, way, start)?;
            self.extend(files, way, start, link, newest, after)?;
        }
        while let Some(oldest) = self.refs.front().filter(|oldest| oldest.seq > after) {
            let (batch, link) = previous(files, way, *oldest, self.link)?;
            self.refs.push_front(batch);
            self.link = link;
        }
        Ok(())
    }

    /// Adds the batches behind the newest one known up to `start`; if those that are known are
    /// further back than need be, they are dropped instead.
    fn extend(
        &mut self,
        files: &Files,
        way: Way,
        start: BatchRef,
        link: u64,
        newest: Option<u32>,
        after: u32,
    ) -> Result<(), LogError> {
        let mut fresh = VecDeque::from([start]);
        let (mut oldest, mut link) = (start, link);
        while oldest.seq > after {
            let (batch, further) = previous(files, way, oldest, link)?;
            if Some(batch.position) == newest {
                self.refs.append(&mut fresh);
                return Ok(());
            }
            fresh.push_front(batch);
            (oldest, link) = (batch, further);
        }
        self.refs = fresh;
        self.link = link;
        Ok(())
    }

    /// Up to `most` batches from the one with event `after + 1` on.
    pub(super) fn from(&self, after: u32, most: usize) -> Vec<BatchRef> {
        let behind = self.refs.partition_point(|batch| batch.seq <= after);
        let from = behind.saturating_sub(1);
        self.refs.range(from..).take(most).copied().collect()
    }
}

/// The batches of `run` from `from` back to its first, newest first, at most `most`; with where
/// to go on.
pub(super) fn back(
    files: &Files,
    stream: StreamId,
    run: &Run,
    from: BatchRef,
    most: usize,
) -> Result<Vec<BatchRef>, LogError> {
    let (mut way, _) = Way::to(stream, run, u32::MAX);
    way.mark = None;
    let mut passed = vec![from];
    let (mut batch, mut link) = (from, head_of(files, way, from)?);
    while batch.position > run.first.position && passed.len() < most {
        (batch, link) = previous(files, way, batch, link)?;
        passed.push(batch);
    }
    Ok(passed)
}

/// The link of a batch.
fn head_of(files: &Files, way: Way, batch: BatchRef) -> Result<u64, LogError> {
    let (segment, offset) = (batch.segment, u64::from(batch.offset));
    let mut head = [0; HEAD_BYTES];
    let mark = files.read(way.writer, segment, offset, &mut head)?;
    let outline = codec::peek(mark, &head).filter(|outline| {
        outline.head.stream == way.stream && outline.head.position.0 == u64::from(batch.position)
    });
    let wrong = || damaged(way.writer, segment, offset, "not the batch that was here");
    outline.map(|outline| outline.head.link).ok_or_else(wrong)
}

/// The batch before `batch`, whose link is given, and its own link.
fn previous(
    files: &Files,
    way: Way,
    batch: BatchRef,
    link: u64,
) -> Result<(BatchRef, u64), LogError> {
    let wrong = |what| damaged(way.writer, batch.segment, u64::from(batch.offset), what);
    let (segment, offset) = linked(link).ok_or_else(|| wrong("a link that is not there"))?;
    let mut head = [0; HEAD_BYTES];
    let mark = files.read(way.writer, segment, u64::from(offset), &mut head)?;
    let outline = codec::peek(mark, &head).filter(|outline| {
        let next = outline.head.position.0.checked_add(outline.count.into());
        outline.head.stream == way.stream
            && outline.count > 0
            && next == Some(batch.position.into())
            && outline.head.seq.get() <= u64::from(batch.seq)
    });
    let outline = outline.ok_or_else(|| wrong("a link that leads astray"))?;
    let narrow = |n: u64| u32::try_from(n).map_err(|_| wrong("a link that leads astray"));
    let found = BatchRef {
        position: narrow(outline.head.position.0)?,
        seq: narrow(outline.head.seq.get())?,
        segment,
        offset,
        bytes: narrow(outline.bytes as u64)?,
    };
    Ok((found, outline.head.link))
}
