//! What the log in memory holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use everstream_core::event::{Event, Status, StreamInfo};
use everstream_core::id::{Epoch, StreamId, UnixMillis};
use everstream_core::record::{Abandoned, Accepted, Claim, Digest, End, Record, Tail};
use tokio::sync::Notify;

use crate::admit::{Extent, weight};
use crate::graves::{Grave, Graves};
use crate::ids::IdMap;
use crate::{Claimed, Lease};

/// Records kept together. A list that is moved as a whole when it grows would stop everybody for
/// some milliseconds each time a long stream doubles.
const CHUNK: usize = 256;

pub(super) struct State {
    pub(super) streams: IdMap<Box<Stream>>,
    /// Those that ended, in the order of their ends.
    pub(super) ended: BTreeSet<(UnixMillis, StreamId)>,
    pub(super) graves: Graves,
    pub(super) used: u64,
    pub(super) closed: bool,
}

pub(super) struct Stream {
    pub(super) accepted: Arc<Accepted>,
    pub(super) epoch: Epoch,
    pub(super) extent: Extent,
    pub(super) records: Records,
    pub(super) upstream: Option<String>,
    pub(super) end: Option<Arc<End>>,
    /// The claim it still holds.
    pub(super) claim: Option<Claim>,
    pub(super) weight: u64,
    /// Whether the holder of its newest epoch lives.
    pub(super) held: bool,
    pub(super) waker: Arc<Notify>,
}

impl State {
    pub(super) fn claimed(&self, key: Digest, now: UnixMillis) -> Option<Claimed> {
        let stream = self.graves.holder(key)?;
        match self.streams.get(stream) {
            Some(held) => held.claim.map(|claim| Claimed {
                stream,
                claim,
                expired: false,
            }),
            None => self.graves.claimed(key, now),
        }
    }

    pub(super) fn bury(&mut self, id: StreamId, now: UnixMillis) {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        if let Some(end) = &stream.end {
            self.ended.remove(&(end.at, id));
        }
        self.used -= stream.weight;
        let grave = Grave {
            project: stream.accepted.project.clone(),
            claim: stream.claim.map(Box::new),
            at: now,
        };
        self.graves.bury(id, grave);
        stream.waker.notify_waiters();
    }
}

impl Stream {
    pub(super) fn lease(&self) -> Lease {
        Lease {
            epoch: self.epoch,
            tail: self.extent.tail,
        }
    }

    /// Adds what was admitted, and gives its weight.
    pub(super) fn push(&mut self, records: &[Record], extent: Extent) -> u64 {
        for record in records {
            match record {
                Record::Dialled(dialled) => self.upstream = Some(dialled.upstream.clone()),
                Record::Abandoned(Abandoned {
                    instead: Some(upstream),
                    ..
                }) => self.upstream = Some(upstream.clone()),
                Record::End(end) => self.end = Some(Arc::clone(end)),
                Record::Accepted(_)
                | Record::Head(_)
                | Record::Abandoned(_)
                | Record::Seam(_)
                | Record::Event(_)
                | Record::Leased => {}
            }
            self.records.push(record.clone());
        }
        self.extent = extent;
        let weight = weight(records);
        self.weight += weight;
        self.waker.notify_waiters();
        weight
    }

    /// Whether exactly `records` stand at `at`.
    pub(super) fn holds(&self, at: Tail, records: &[Record]) -> bool {
        let start = usize::try_from(at.position.0).unwrap_or(usize::MAX);
        let holds = |(n, record)| self.records.get(start.saturating_add(n)) == Some(record);
        start <= self.records.len() && records.iter().enumerate().all(holds)
    }

    pub(super) fn info(&self, id: StreamId) -> StreamInfo {
        let end = self.end.as_deref();
        let running = match self.upstream {
            Some(_) => Status::Running,
            None => Status::Queued,
        };
        StreamInfo {
            id,
            project: self.accepted.project.clone(),
            status: end.map_or(running, |end| end.status),
            surface: self.accepted.surface,
            mode: self.accepted.mode,
            model: self.accepted.model.clone(),
            upstream: end
                .and_then(|end| end.upstream.clone())
                .or_else(|| self.upstream.clone()),
            created_at: self.accepted.created_at,
            ended_at: end.map(|end| end.at),
            last_seq: self.extent.tail.seq,
            reason: end.and_then(|end| end.reason.clone()),
            usage: end.map(|end| end.usage.clone()),
        }
    }
}

/// The records of one stream, in order.
#[derive(Default)]
pub(super) struct Records {
    /// All but the last have [`CHUNK`] records.
    chunks: Vec<Vec<Record>>,
    /// Where the event with seq n + 1 stands.
    events: Vec<u32>,
}

impl Records {
    fn push(&mut self, record: Record) {
        if matches!(record, Record::Event(_)) {
            let at = u32::try_from(self.len()).unwrap_or(u32::MAX);
            self.events.push(at);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first one grows, for a short answer.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(record);
        }
    }

    fn len(&self) -> usize {
        let (last, full) = match self.chunks.split_last() {
            Some((last, full)) => (last.len(), full.len()),
            None => (0, 0),
        };
        full * CHUNK + last
    }

    fn get(&self, at: usize) -> Option<&Record> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.chunks.iter().flatten()
    }

    /// The events after the first `skip`.
    pub(super) fn events(&self, skip: usize) -> impl Iterator<Item = &Event> {
        let places = self.events.get(skip..).unwrap_or_default();
        places.iter().map_while(|at| match self.get(*at as usize) {
            Some(Record::Event(event)) => Some(event),
            _ => None,
        })
    }
}
