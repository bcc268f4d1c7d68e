//! Pages, audits and first records, from the segments.

use std::sync::Arc;

use bytes::Bytes;
use everstream_core::event::Event;
use everstream_core::id::{Seq, StreamId};
use everstream_core::record::codec::{self, Decoded};
use everstream_core::record::{Accepted, Record, Tail};

use super::files::damaged;
use super::index::Entry;
use super::layout::{BatchRef, WriterId};
use super::runs::Run;
use super::walk::{self, Way};
use super::{Shared, lock};
use crate::{LogError, Page, ReadLimit, Stat};

/// Batches that lie side by side are read at once, up to this.
const TOGETHER: usize = 256 << 10;
/// Links followed by an audit before others may run.
pub(super) const AUDIT_STEP: usize = 1024;

impl Shared {
    pub(super) fn page(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Page, LogError> {
        let (tail, end) = {
            let index = lock(&self.index);
            let entry = index.find(id, || self.now())?;
            (entry.tail(), entry.end.clone())
        };
        let newest = narrow(tail.seq.get());
        let mut events: Vec<Event> = Vec::new();
        let mut bytes = 0;
        let mut after = narrow(after.get());
        while after < newest {
            let most = limit.events.max(1) - events.len();
            match self.some(id, after, newest, most, limit.bytes.saturating_sub(bytes)) {
                Ok(more) => {
                    let size = |event: &Event| event.data.len();
                    bytes += more.iter().map(size).sum::<usize>();
                    events.extend(more);
                }
                // What was read is good; the next read shows what is wrong behind it.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            }
            after = events
                .last()
                .map_or(newest, |event| narrow(event.seq.get()));
            if events.len() >= limit.events || bytes >= limit.bytes {
                break;
            }
        }
        Ok(Page { events, tail, end })
    }

    /// The next events after `after` up to `newest`, at least one, from one way.
    fn some(
        &self,
        id: StreamId,
        after: u32,
        newest: u32,
        most: usize,
        most_bytes: usize,
    ) -> Result<Vec<Event>, LogError> {
        let (way, start) = {
            let index = lock(&self.index);
            let run = run_with(index.find(id, || self.now())?, after)?;
            Way::to(id, run, after)
        };
        let refs = if start.seq <= after {
            vec![start]
        } else {
            let mut window = lock(&self.walked).take(way);
            let covered = window.cover(&self.files, way, start, after);
            let refs = window.from(after, most);
            lock(&self.walked).put(way, window);
            covered?;
            refs
        };
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut seq = after;
        for batches in together(&refs, most_bytes) {
            let records = match self.records(way.writer, id, batches) {
                Ok(records) => records,
                Err(_) if !events.is_empty() => return Ok(events),
                Err(error) => return Err(error),
            };
            for record in records {
                let Record::Event(event) = record else {
                    continue;
                };
                let this = narrow(event.seq.get());
                if this != seq + 1 || this > newest {
                    continue;
                }
                seq = this;
                bytes += event.data.len();
                events.push(event);
                if events.len() >= most || bytes >= most_bytes {
                    return Ok(events);
                }
            }
        }
        if events.is_empty() {
            let (segment, offset) = (start.segment, u64::from(start.offset));
            return Err(damaged(way.writer, segment, offset, "an event is missing"));
        }
        Ok(events)
    }

    /// The records of batches that lie side by side.
    fn records(
        &self,
        writer: WriterId,
        id: StreamId,
        batches: &[BatchRef],
    ) -> Result<Vec<Record>, LogError> {
        let Some(first) = batches.first() else {
            return Ok(Vec::new());
        };
        let (segment, offset) = (first.segment, u64::from(first.offset));
        let mut block = vec![0; batches.iter().map(|batch| batch.bytes as usize).sum()];
        let mark = self.files.read(writer, segment, offset, &mut block)?;
        let mut block = Bytes::from(block);
        let mut all = Vec::new();
        for batch in batches {
            let place = u64::from(batch.offset);
            let Decoded::Whole { outline, records } = codec::decode(mark, &block) else {
                return Err(damaged(writer, segment, place, "a batch is damaged"));
            };
            let position = outline.head.position.0;
            if outline.head.stream != id || position != u64::from(batch.position) {
                return Err(damaged(writer, segment, place, "another batch is here"));
            }
            all.extend(records);
            block = block.slice(outline.bytes.min(block.len())..);
        }
        Ok(all)
    }

    pub(super) fn stat(&self, id: StreamId) -> Result<Stat, LogError> {
        let (info, tail, end, writer, first) = {
            let index = lock(&self.index);
            let entry = index.find(id, || self.now())?;
            let info = entry.info(id).ok_or(LogError::NotFound)?;
            let run = entry.runs().next().ok_or(LogError::NotFound)?;
            (info, entry.tail(), entry.end.clone(), run.writer, run.first)
        };
        let accepted = self.accepted(writer, id, first)?;
        Ok(Stat {
            info,
            accepted,
            tail,
            end,
        })
    }

    fn accepted(
        &self,
        writer: WriterId,
        id: StreamId,
        first: BatchRef,
    ) -> Result<Arc<Accepted>, LogError> {
        let mut records = self.records(writer, id, &[first])?.into_iter();
        let Some(Record::Accepted(accepted)) = records.next() else {
            let place = u64::from(first.offset);
            return Err(damaged(writer, first.segment, place, "no first record"));
        };
        Ok(accepted)
    }

    /// The runs of a stream, if all of it is there.
    pub(super) fn whole(&self, id: StreamId) -> Result<Vec<Run>, LogError> {
        let index = lock(&self.index);
        let runs: Vec<_> = index.find(id, || self.now())?.runs().cloned().collect();
        let mut position = 0;
        for run in &runs {
            if run.first.position > position {
                let place = u64::from(run.first.offset);
                let what = "records before this are lost";
                return Err(damaged(run.writer, run.first.segment, place, what));
            }
            position = run.tail_position;
        }
        Ok(runs)
    }

    /// Audit records of `run` in the batches from `from` back, newest batch first, and where to go
    /// on. Batches that hold events only, as their numbers show, are not read.
    pub(super) fn audit_back(
        &self,
        id: StreamId,
        run: &Run,
        from: BatchRef,
        next: Tail,
    ) -> Result<(Vec<Vec<Record>>, BatchRef, Tail), LogError> {
        let refs = walk::back(&self.files, id, run, from, AUDIT_STEP)?;
        let mut found = Vec::new();
        let (mut position, mut seq) = (narrow(next.position.0), narrow(next.seq.get()));
        let mut last = from;
        for batch in refs {
            let only_events = position - batch.position == seq.saturating_sub(batch.seq);
            if !only_events {
                let mut records = self.records(run.writer, id, &[batch])?;
                records.retain(|record| !matches!(record, Record::Event(_)));
                found.push(records);
            }
            (position, seq) = (batch.position, batch.seq);
            last = batch;
        }
        let tail = Tail {
            position: everstream_core::record::Position(position.into()),
            seq: Seq::new(seq.into()),
            ended: false,
        };
        Ok((found, last, tail))
    }

    /// Whether exactly `records` stand at `at`, all in the stream's newest run.
    pub(super) fn holds(
        &self,
        id: StreamId,
        at: Tail,
        records: &[Record],
    ) -> Result<bool, LogError> {
        let run = {
            let index = lock(&self.index);
            let run = index.find(id, || self.now())?.runs().last().cloned();
            run.ok_or(LogError::NotFound)?
        };
        let start = narrow(at.position.0);
        let mut refs = vec![run.last];
        while let Some(oldest) = refs.last().filter(|oldest| oldest.position > start) {
            if oldest.position <= run.first.position {
                return Ok(false);
            }
            let more = walk::back(&self.files, id, &run, *oldest, 2)?;
            refs.extend(more.into_iter().skip(1));
        }
        let mut stored = Vec::new();
        let first = refs.last().map_or(start, |oldest| oldest.position);
        for batch in refs.iter().rev() {
            stored.extend(self.records(run.writer, id, &[*batch])?);
            if stored.len() >= (start - first) as usize + records.len() {
                break;
            }
        }
        let stored = stored.get((start - first) as usize..);
        Ok(stored.is_some_and(|stored| stored.starts_with(records)))
    }
}

/// The run with event `after + 1`; there is one, or it is lost.
fn run_with(entry: &Entry, after: u32) -> Result<&Run, LogError> {
    let mut runs = entry.runs().peekable();
    while let Some(run) = runs.next() {
        if after < run.first.seq {
            let place = u64::from(run.first.offset);
            let what = "events before this are lost";
            return Err(damaged(run.writer, run.first.segment, place, what));
        }
        // A run that begins before the end of the one before it takes its place from there on.
        let end = runs.peek().map_or(u32::MAX, |next| next.first.seq);
        if after < run.tail_seq.min(end) {
            return Ok(run);
        }
    }
    Err(LogError::Damaged("an event is missing".to_owned()))
}

/// Groups of batches that lie side by side, each worth one read.
fn together(refs: &[BatchRef], most_bytes: usize) -> impl Iterator<Item = &[BatchRef]> {
    let most = most_bytes.min(TOGETHER);
    let mut bytes = 0;
    refs.chunk_by(move |a, b| {
        bytes += a.bytes as usize;
        let go_on = a.segment == b.segment && a.offset + a.bytes == b.offset && bytes < most;
        if !go_on {
            bytes = 0;
        }
        go_on
    })
}

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
