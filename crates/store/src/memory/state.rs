//! What the log in memory holds.

use std::collections::HashMap;
use std::sync::Arc;

use everstream_core::event::{Status, StreamInfo};
use everstream_core::id::{Epoch, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Claim, Digest, End, Record, Tail};
use tokio::sync::Notify;

use crate::admit::{Extent, weight};
use crate::graves::{Grave, Graves};
use crate::{Claimed, Lease};

pub(super) struct State {
    pub(super) streams: HashMap<StreamId, Stream>,
    pub(super) graves: Graves,
    pub(super) used: u64,
    pub(super) closed: bool,
}

pub(super) struct Stream {
    pub(super) accepted: Arc<Accepted>,
    pub(super) epoch: Epoch,
    pub(super) extent: Extent,
    pub(super) records: Vec<Record>,
    /// Where in `records` the event with seq n + 1 stands.
    pub(super) events: Vec<u32>,
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
        match self.streams.get(&stream) {
            Some(held) => held.claim.map(|claim| Claimed {
                stream,
                claim,
                expired: false,
            }),
            None => self.graves.claimed(key, now),
        }
    }

    pub(super) fn ended(&self) -> impl Iterator<Item = (UnixMillis, StreamId)> {
        let ended = |(id, stream): (&StreamId, &Stream)| Some((stream.end.as_ref()?.at, *id));
        self.streams.iter().filter_map(ended)
    }

    pub(super) fn bury(&mut self, id: StreamId, now: UnixMillis) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
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
                Record::Event(_) => {
                    let at = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
                    self.events.push(at);
                }
                Record::Dialled(dialled) => self.upstream = Some(dialled.upstream.clone()),
                Record::End(end) => self.end = Some(Arc::clone(end)),
                Record::Accepted(_) | Record::Head(_) | Record::Leased => {}
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
        let stored = self.records.get(start..);
        stored.is_some_and(|stored| stored.starts_with(records))
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
