//! The log in memory: nothing survives the process, everything else is as the contract says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstream_core::event::StreamInfo;
use everstream_core::id::{Epoch, ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Digest, Record, Tail};

use crate::admit::{Extent, admit, is_bounded, weight};
use crate::config::{Clock, MemoryConfig};
use crate::graves::Graves;
use crate::ids::IdMap;
use crate::{
    Claimed, Created, Lease, LogError, LogFuture, Page, ReadLimit, Retained, Stat, StreamLog,
};

mod state;

use state::{Records, State, Stream};

/// A log that lives and dies with its process. Bounded by `max_bytes`: when it is full, the streams
/// that ended longest ago make room.
pub struct MemoryLog {
    config: MemoryConfig,
    clock: Clock,
    state: Mutex<State>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(config: MemoryConfig, clock: Clock) -> Self {
        let graves = Graves::new(config.tombstone_for);
        Self {
            config,
            clock,
            state: Mutex::new(State {
                streams: IdMap::default(),
                ended: BTreeSet::new(),
                graves,
                used: 0,
                closed: false,
            }),
        }
    }

    /// Takes every lease away, as the death of a process that shared its log with others would:
    /// streams that run become orphans.
    pub fn abandon_all(&self) {
        for stream in self.lock().streams.values_mut() {
            stream.held = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        Ok(state)
    }

    fn create_now(&self, id: StreamId, accepted: Arc<Accepted>) -> Result<Created, LogError> {
        let now = (self.clock)();
        let mut state = self.open()?;
        if state.streams.contains(id) || state.graves.contains(id) {
            return Err(LogError::Exists);
        }
        if let Some(held) = accepted
            .claim
            .and_then(|claim| state.claimed(claim.key, now))
        {
            return Ok(Created::Claimed(held));
        }
        let records = [Record::Accepted(Arc::clone(&accepted))];
        let extent = admit(&self.config.limits, Extent::default(), &records)?;
        self.make_room(&mut state, &records)?;
        let claim = accepted.claim;
        if let Some(claim) = claim {
            state.graves.claim(claim.key, id);
        }
        let mut stream = Stream {
            accepted,
            epoch: Epoch::FIRST,
            extent: Extent::default(),
            records: Records::default(),
            upstream: None,
            end: None,
            claim,
            weight: 0,
            held: true,
            waker: Arc::default(),
        };
        state.used += stream.push(&records, extent);
        let lease = stream.lease();
        state.streams.insert(id, Box::new(stream));
        Ok(Created::New(lease))
    }

    fn lease_now(&self, id: StreamId) -> Result<Lease, LogError> {
        let now = (self.clock)();
        let mut guard = self.open()?;
        let state = &mut *guard;
        let Some(stream) = state.streams.get_mut(id) else {
            return Err(state.graves.absent(id, now));
        };
        if stream.extent.tail.ended {
            return Err(LogError::Ended);
        }
        if stream.held {
            return Err(LogError::Held);
        }
        let records = [Record::Leased];
        let extent = admit(&self.config.limits, stream.extent, &records)?;
        state.used += stream.push(&records, extent);
        stream.epoch = stream.epoch.next();
        stream.held = true;
        Ok(stream.lease())
    }

    fn append_now(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Result<Lease, LogError> {
        let mut guard = self.open()?;
        let Some(stream) = guard.streams.get(id) else {
            return Err(guard.graves.absent(id, (self.clock)()));
        };
        let tail = stream.extent.tail;
        if lease.epoch != stream.epoch || !stream.held {
            let newest = stream.epoch;
            return Err(LogError::Fenced { newest });
        }
        if lease.tail != tail {
            return match lease.tail.after(records) {
                Ok(after) if stream.holds(lease.tail, records) => Ok(Lease {
                    tail: after,
                    ..lease
                }),
                _ if tail.ended => Err(LogError::Ended),
                _ => Err(LogError::NotAtTail { tail }),
            };
        }
        let extent = admit(&self.config.limits, stream.extent, records)?;
        self.make_room(&mut guard, records)?;
        let state = &mut *guard;
        let Some(stream) = state.streams.get_mut(id) else {
            return Err(state.graves.absent(id, (self.clock)()));
        };
        state.used += stream.push(records, extent);
        if let Some(end) = &stream.end {
            state.ended.insert((end.at, id));
        }
        if stream.end.as_ref().is_some_and(|end| end.release_claim)
            && let Some(claim) = stream.claim.take()
        {
            state.graves.release(claim.key, id);
        }
        Ok(stream.lease())
    }

    /// Buries those that ended longest ago until `records` fit.
    fn make_room(&self, state: &mut State, records: &[Record]) -> Result<(), LogError> {
        let max = self.config.max_bytes;
        let wanted = weight(records);
        if !is_bounded(records) || state.used + wanted <= max {
            return Ok(());
        }
        if wanted <= max {
            let now = (self.clock)();
            while state.used + wanted > max
                && let Some((_, id)) = state.ended.first().copied()
            {
                state.bury(id, now);
            }
        }
        if state.used + wanted > max {
            return Err(LogError::Full(format!(
                "log.max_bytes = {max} is reached, and what is left is running"
            )));
        }
        Ok(())
    }

    fn page(&self, id: StreamId, after: Seq, limit: ReadLimit) -> Result<Page, LogError> {
        let now = (self.clock)();
        let state = self.open()?;
        let Some(stream) = state.streams.get(id) else {
            return Err(state.graves.absent(id, now));
        };
        let skip = usize::try_from(after.get()).unwrap_or(usize::MAX);
        let mut events = Vec::new();
        let mut bytes = 0;
        for event in stream.records.events(skip) {
            bytes += event.data.len();
            events.push(event.clone());
            if events.len() >= limit.events || bytes >= limit.bytes {
                break;
            }
        }
        Ok(Page {
            events,
            tail: stream.extent.tail,
            end: stream.end.clone(),
        })
    }

    fn with<T>(&self, id: StreamId, f: impl FnOnce(&Stream) -> T) -> Result<T, LogError> {
        let now = (self.clock)();
        let state = self.open()?;
        match state.streams.get(id) {
            Some(stream) => Ok(f(stream)),
            None => Err(state.graves.absent(id, now)),
        }
    }

    /// The streams of a project, or of all.
    fn infos(&self, project: Option<&ProjectId>) -> Vec<StreamInfo> {
        let state = self.lock();
        let is_meant =
            |stream: &Stream| project.is_none_or(|project| stream.accepted.project == *project);
        let meant = state.streams.iter().filter(|(_, stream)| is_meant(stream));
        meant.map(|(id, stream)| stream.info(id)).collect()
    }

    fn delete_now(&self, id: StreamId) -> Result<(), LogError> {
        let now = (self.clock)();
        let mut state = self.open()?;
        if !state.streams.contains(id) {
            return Err(state.graves.absent(id, now));
        }
        state.bury(id, now);
        Ok(())
    }

    fn retain_now(&self) -> Result<Retained, LogError> {
        let now = (self.clock)();
        let mut state = self.open()?;
        let before = state.used;
        let mut streams = 0;
        while let Some((at, id)) = state.ended.first().copied()
            && now.since(at) >= self.config.retain_after_end
        {
            state.bury(id, now);
            streams += 1;
        }
        state.graves.purge(now);
        Ok(Retained {
            streams,
            bytes: before - state.used,
        })
    }
}

impl StreamLog for MemoryLog {
    fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> LogFuture<'_, Result<Created, LogError>> {
        Box::pin(async move { self.create_now(id, accepted) })
    }

    fn lease(&self, id: StreamId) -> LogFuture<'_, Result<Lease, LogError>> {
        Box::pin(async move { self.lease_now(id) })
    }

    fn append<'a>(
        &'a self,
        id: StreamId,
        lease: Lease,
        records: &'a [Record],
    ) -> LogFuture<'a, Result<Lease, LogError>> {
        Box::pin(async move { self.append_now(id, lease, records) })
    }

    fn try_append(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Option<Result<Lease, LogError>> {
        Some(self.append_now(id, lease, records))
    }

    fn read(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> LogFuture<'_, Result<Page, LogError>> {
        Box::pin(async move { self.page(id, after, limit) })
    }

    fn audit(&self, id: StreamId) -> LogFuture<'_, Result<Vec<Record>, LogError>> {
        let audit = |stream: &Stream| {
            let records = stream.records.iter();
            let audit = records.filter(|record| !matches!(record, Record::Event(_)));
            audit.cloned().collect()
        };
        Box::pin(async move { self.with(id, audit) })
    }

    fn wait(&self, id: StreamId, seen: Tail) -> LogFuture<'_, ()> {
        let waits = move |stream: &Stream| {
            let tail = stream.extent.tail;
            let waits = tail.seq <= seen.seq && tail.ended == seen.ended && !tail.ended;
            waits.then(|| Arc::clone(&stream.waker).notified_owned())
        };
        Box::pin(async move {
            if let Some(woken) = self.with(id, waits).ok().flatten() {
                woken.await;
            }
        })
    }

    fn info(&self, id: StreamId) -> LogFuture<'_, Result<Stat, LogError>> {
        let stat = move |stream: &Stream| Stat {
            info: stream.info(id),
            accepted: Arc::clone(&stream.accepted),
            tail: stream.extent.tail,
            end: stream.end.clone(),
        };
        Box::pin(async move { self.with(id, stat) })
    }

    fn claimed(&self, key: Digest) -> LogFuture<'_, Option<Claimed>> {
        Box::pin(async move {
            let now = (self.clock)();
            self.lock().claimed(key, now)
        })
    }

    fn scan(&self, project: &ProjectId, visit: &mut dyn FnMut(&StreamInfo)) {
        self.infos(Some(project)).iter().for_each(visit);
    }

    fn scan_all(&self, visit: &mut dyn FnMut(&StreamInfo)) {
        self.infos(None).iter().for_each(visit);
    }

    fn ended(&self, since: UnixMillis, visit: &mut dyn FnMut(StreamId, UnixMillis)) {
        let ended: Vec<_> = {
            let state = self.lock();
            let ends = state.streams.iter();
            let ends = ends.filter_map(|(id, stream)| Some((id, stream.end.as_ref()?.at)));
            ends.filter(|(_, at)| *at >= since).collect()
        };
        for (id, at) in ended {
            visit(id, at);
        }
    }

    fn orphans(&self) -> LogFuture<'_, Vec<StreamId>> {
        Box::pin(async move {
            let state = self.lock();
            let running = state.streams.iter();
            let orphans = running.filter(|(_, stream)| !stream.held && !stream.extent.tail.ended);
            orphans.map(|(id, _)| id).collect()
        })
    }

    fn delete(&self, id: StreamId) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move { self.delete_now(id) })
    }

    fn retain(&self) -> LogFuture<'_, Result<Retained, LogError>> {
        Box::pin(async move { self.retain_now() })
    }

    fn close(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.closed = true;
            for (_, stream) in state.streams.iter() {
                stream.waker.notify_waiters();
            }
            Ok(())
        })
    }
}
