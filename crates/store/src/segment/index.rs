//! What is known in memory of every stream: where it lies, how far it is, what a list shows.
//!
//! An ended stream with a short model name costs about 480 bytes, its terminal record included, and
//! 70 more if it holds a claim; a long one up to 1.3 KiB more, however long it is.

use std::collections::HashSet;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;

use everstream_core::event::{Status, StreamInfo};
use everstream_core::id::{Epoch, ProjectId, StreamId, UnixMillis};
use everstream_core::record::{Digest, End, Tail};
use tokio::sync::Notify;

use super::layout::{BatchRef, WriterId};
use super::runs::Run;
use super::step::{Opened, Step};
use crate::admit::Extent;
use crate::graves::{Grave, Graves};
use crate::ids::IdMap;
use crate::{Claimed, LogError};

/// All streams.
#[derive(Debug)]
pub(super) struct Index {
    entries: IdMap<Box<Entry>>,
    pub(super) graves: Graves,
    /// Streams whose claim was seen since the last [`settle`](Self::settle).
    claiming: Vec<StreamId>,
    /// While the log is opened: streams that are gone, but still have bytes in segments.
    pub(super) haunting: Option<HashSet<StreamId>>,
    /// Each name once.
    projects: HashSet<ProjectId>,
    upstreams: HashSet<Arc<str>>,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Entry {
    /// What its first record says; `None` while that was not seen, or when it is lost.
    pub(super) opened: Option<Box<Opened>>,
    upstream: Option<Arc<str>>,
    pub(super) end: Option<Arc<End>>,
    waker: Option<Arc<Notify>>,
    bytes: u64,
    /// Its runs but the newest, which is the only one unless a writer died.
    older: Vec<Run>,
    newest: Run,
}

impl Index {
    pub(super) fn new(graves: Graves) -> Self {
        Self {
            entries: IdMap::default(),
            graves,
            claiming: Vec::new(),
            haunting: Some(HashSet::new()),
            projects: HashSet::new(),
            upstreams: HashSet::new(),
        }
    }

    /// A stream whose first record is known.
    pub(super) fn get(&self, id: StreamId) -> Option<&Entry> {
        let entry = self.entries.get(id)?;
        entry.opened.is_some().then_some(entry)
    }

    /// As [`get`](Self::get), or why there is none.
    pub(super) fn find(
        &self,
        id: StreamId,
        now: impl FnOnce() -> UnixMillis,
    ) -> Result<&Entry, LogError> {
        self.get(id).ok_or_else(|| self.graves.absent(id, now()))
    }

    /// Whether the id was ever used, as far as is known.
    pub(super) fn is_taken(&self, id: StreamId) -> bool {
        self.entries.contains(id) || self.graves.contains(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (id, &**entry))
    }

    /// Takes up what a batch of `writer` did. True when it began a new run.
    pub(super) fn apply(&mut self, writer: WriterId, mut step: Step) -> bool {
        let id = step.stream;
        let (entry, is_first) = match self.entries.entry(id) {
            // A stream is never both here and buried.
            Place::Occupied(entry) => (entry.into_mut(), false),
            Place::Vacant(_) if self.graves.contains(id) => {
                self.haunting.as_mut().map(|haunting| haunting.insert(id));
                return false;
            }
            Place::Vacant(place) => (place.insert(Box::new(Entry::new(writer, &step))), true),
        };
        if let Some(name) = step.upstream.take() {
            step.upstream = Some(intern(&mut self.upstreams, name));
        }
        if let Some(opened) = &mut step.opened {
            opened.project = intern(&mut self.projects, opened.project.clone());
            if opened.claim.is_some() {
                self.claiming.push(id);
            }
        }
        let is_new = entry.place(writer, &step, is_first);
        entry.note(step);
        if entry.end.as_ref().is_some_and(|end| end.release_claim) {
            let claim = entry.opened.as_mut().and_then(|opened| opened.claim.take());
            if let Some(claim) = claim {
                self.graves.release(claim.key, id);
            }
        }
        is_new
    }

    /// Gives the claims that were seen to the streams that still hold them. After all segments were
    /// read up to the same time: a claim may have been freed in one and taken in another.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.claiming) {
            let opened = self.entries.get(id).and_then(|e| e.opened.as_ref());
            if let Some(claim) = opened.and_then(|opened| opened.claim.as_ref()) {
                self.graves.claim(claim.key, id);
            }
        }
    }

    pub(super) fn claimed(&self, key: Digest, now: UnixMillis) -> Option<Claimed> {
        let stream = self.graves.holder(key)?;
        let Some(entry) = self.get(stream) else {
            return self.graves.claimed(key, now);
        };
        let claim = **entry.opened.as_ref()?.claim.as_ref()?;
        Some(Claimed {
            stream,
            claim,
            expired: false,
        })
    }

    /// Takes up a tombstone, and forgets the stream.
    pub(super) fn bury(&mut self, id: StreamId, grave: Grave) {
        if let Some(entry) = self.entries.remove(id) {
            entry.wake();
            self.haunting.as_mut().map(|haunting| haunting.insert(id));
        }
        if let Some(claim) = &grave.claim
            && self.graves.holder(claim.key).is_none()
        {
            self.graves.claim(claim.key, id);
        }
        self.graves.bury(id, grave);
    }

    /// A waker for the stream, unless it has moved beyond `seen` or will not move.
    pub(super) fn waker(&mut self, id: StreamId, seen: Tail) -> Option<Arc<Notify>> {
        let entry = self.entries.get_mut(id)?;
        let tail = entry.tail();
        if tail.ended || tail.seq > seen.seq {
            return None;
        }
        Some(Arc::clone(entry.waker.get_or_insert_default()))
    }

    /// Everything was read once.
    pub(super) fn opened(&mut self, now: UnixMillis) {
        self.haunting = None;
        self.graves.purge(now);
    }

    pub(super) fn wake_all(&self) {
        self.entries.iter().for_each(|(_, entry)| entry.wake());
    }
}

/// The one copy of a name that all streams share.
fn intern<T: Clone + Eq + std::hash::Hash>(names: &mut HashSet<T>, name: T) -> T {
    if let Some(known) = names.get(&name) {
        return known.clone();
    }
    names.insert(name.clone());
    name
}

impl Entry {
    fn new(writer: WriterId, step: &Step) -> Self {
        Self {
            opened: None,
            upstream: None,
            end: None,
            waker: None,
            bytes: 0,
            older: Vec::new(),
            newest: Run::new(writer, step.epoch, step.at, narrow(step.tail)),
        }
    }

    /// Adds the batch to its run, or begins one; true if so. A batch that is not where its
    /// writer's last one ended begins one too: before it something is lost, or counts no more.
    fn place(&mut self, writer: WriterId, step: &Step, is_first: bool) -> bool {
        if is_first {
            return true;
        }
        let newest = std::iter::once(&mut self.newest);
        let same = newest
            .chain(self.older.iter_mut().rev())
            .find(|run| run.writer == writer && run.epoch == step.epoch);
        if let Some(run) = same.filter(|run| run.tail_position == step.at.position) {
            run.push(step.at, narrow(step.tail));
            return false;
        }
        let run = Run::new(writer, step.epoch, step.at, narrow(step.tail));
        if run.epoch >= self.newest.epoch {
            self.older.push(std::mem::replace(&mut self.newest, run));
        } else {
            let at = self.older.partition_point(|old| old.epoch <= run.epoch);
            self.older.insert(at, run);
        }
        true
    }

    fn note(&mut self, step: Step) {
        self.bytes += step.bytes;
        if step.opened.is_some() {
            self.opened = step.opened;
        }
        if step.upstream.is_some() {
            self.upstream = step.upstream;
        }
        if step.end.is_some() {
            self.end = step.end;
            self.newest.shrink();
        }
        self.wake();
        if self.end.is_some() {
            self.waker = None;
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.notify_waiters();
        }
    }

    pub(super) fn tail(&self) -> Tail {
        let (position, seq) = self.newest.tail();
        Tail {
            position,
            seq,
            ended: self.end.is_some(),
        }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent {
            tail: self.tail(),
            bytes: self.bytes,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.newest.epoch
    }

    /// Who may append.
    pub(super) fn writer(&self) -> WriterId {
        self.newest.writer
    }

    pub(super) fn last(&self) -> BatchRef {
        self.newest.last
    }

    pub(super) fn is_of(&self, project: &ProjectId) -> bool {
        let opened = self.opened.as_ref();
        opened.is_some_and(|opened| opened.project == *project)
    }

    /// Its runs, oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.older.iter().chain([&self.newest])
    }

    /// What is to be remembered of it; nothing if nobody knew it.
    pub(super) fn grave(&self, at: UnixMillis) -> Option<Grave> {
        let opened = self.opened.as_ref()?;
        Some(Grave {
            project: opened.project.clone(),
            claim: opened.claim.clone(),
            at,
        })
    }

    pub(super) fn info(&self, id: StreamId) -> Option<StreamInfo> {
        let opened = self.opened.as_ref()?;
        let end = self.end.as_deref();
        let running = match self.upstream {
            Some(_) => Status::Running,
            None => Status::Queued,
        };
        Some(StreamInfo {
            id,
            project: opened.project.clone(),
            status: end.map_or(running, |end| end.status),
            surface: opened.surface,
            mode: opened.mode,
            model: opened.model.as_ref().to_owned(),
            upstream: end
                .and_then(|end| end.upstream.clone())
                .or_else(|| self.upstream.as_deref().map(str::to_owned)),
            created_at: opened.created_at,
            ended_at: end.map(|end| end.at),
            last_seq: self.tail().seq,
            reason: end.and_then(|end| end.reason.clone()),
            usage: end.map(|end| end.usage.clone()),
        })
    }
}

/// Steps are checked to fit.
fn narrow(tail: Tail) -> (u32, u32) {
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(tail.position.0), narrow(tail.seq.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_stream_costs_what_the_doc_says() {
        // A map holds at least 4 entries for 7 places; an allocation has 8 bytes of its own.
        let place = (size_of::<(StreamId, Box<Entry>)>() + 1) * 7 / 4;
        let name = 16;
        let parts = [
            size_of::<Entry>(),
            size_of::<Opened>(),
            name,
            size_of::<End>() + 16,
            name,
        ];
        let total = place + parts.iter().map(|part| part + 8).sum::<usize>();
        assert!(total <= 480, "{total} bytes: {parts:?}");
    }
}
