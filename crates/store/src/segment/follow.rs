//! Looking at streams, wherever they are written.

use std::pin::pin;
use std::time::Duration;

use everstream_core::event::StreamInfo;
use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::record::{Digest, Record, Tail};

use super::{Shared, lock};
use crate::{Claimed, LogError};

/// How often the segments of another process are looked at while somebody waits for them.
const POLL: Duration = Duration::from_millis(20);
/// Streams shown to a list before others may use the index.
const VISIT_STEP: usize = 256;

impl Shared {
    /// Reads what other processes appended, if this stream is theirs or not known. One that has ended
    /// may have been deleted by any of them.
    pub(super) fn fresh(&self, id: StreamId) -> Result<(), LogError> {
        self.check_open()?;
        let writer = lock(&self.index).get(id).map(|entry| {
            let is_final = entry.end.is_some();
            (!is_final).then(|| entry.writer())
        });
        match writer {
            Some(Some(writer)) if !self.is_peer(writer) => {}
            Some(None) => self.refresh_if_older(POLL),
            Some(Some(_)) | None => self.refresh(),
        }
        Ok(())
    }

    pub(super) fn claimed(&self, key: Digest) -> Option<Claimed> {
        self.check_open().ok()?;
        self.refresh();
        lock(&self.index).claimed(key, self.now())
    }

    pub(super) async fn wait(&self, id: StreamId, seen: Tail) {
        if self.may_read_here() && self.fresh(id).is_err() {
            return;
        }
        loop {
            let (moved, writer) = {
                let mut index = lock(&self.index);
                let Some(waker) = index.waker(id, seen) else {
                    return;
                };
                let writer = index.get(id).map(super::index::Entry::writer);
                (waker.notified_owned(), writer)
            };
            if !writer.is_some_and(|writer| self.is_peer(writer)) {
                if self.check_open().is_ok() {
                    moved.await;
                }
                return;
            }
            let moved = pin!(moved);
            if tokio::time::timeout(POLL, moved).await.is_ok() || self.check_open().is_err() {
                return;
            }
            if self.may_read_here() {
                self.refresh_if_older(POLL);
            }
        }
    }

    pub(super) async fn audit(&self, id: StreamId) -> Result<Vec<Record>, LogError> {
        self.reading(move |shared| shared.fresh(id)).await??;
        let mut found = Vec::new();
        for run in self.whole(id)?.iter().rev() {
            let (position, seq) = run.tail();
            let mut next = Tail {
                position,
                seq,
                ended: false,
            };
            let mut from = run.last;
            loop {
                let (more, oldest, before) = self.audit_back(id, run, from, next)?;
                found.extend(more);
                if oldest.position <= run.first.position {
                    break;
                }
                (from, next) = (oldest, before);
                tokio::task::yield_now().await;
            }
        }
        Ok(found.into_iter().rev().flatten().collect())
    }

    /// Those of a project, or of all.
    pub(super) fn visit(&self, project: Option<&ProjectId>, visit: &mut dyn FnMut(&StreamInfo)) {
        if self.check_open().is_err() {
            return;
        }
        if self.may_read_here() {
            self.refresh();
        }
        let ids: Vec<StreamId> = lock(&self.index).iter().map(|(id, _)| id).collect();
        for ids in ids.chunks(VISIT_STEP) {
            let infos: Vec<_> = {
                let index = lock(&self.index);
                let entries = ids.iter().filter_map(|id| Some((*id, index.get(*id)?)));
                let own = entries.filter(|(_, entry)| project.is_none_or(|one| entry.is_of(one)));
                own.filter_map(|(id, entry)| entry.info(id)).collect()
            };
            infos.iter().for_each(&mut *visit);
        }
    }

    pub(super) fn visit_ended(
        &self,
        since: UnixMillis,
        visit: &mut dyn FnMut(StreamId, UnixMillis),
    ) {
        if self.check_open().is_err() {
            return;
        }
        if self.may_read_here() {
            self.refresh();
        }
        let ended: Vec<_> = {
            let index = lock(&self.index);
            let ends = index.iter();
            let ends = ends.filter_map(|(id, entry)| Some((id, entry.end.as_ref()?.at)));
            ends.filter(|(_, at)| *at >= since).collect()
        };
        for (id, at) in ended {
            visit(id, at);
        }
    }

    pub(super) async fn orphans(&self) -> Vec<StreamId> {
        if self.check_open().is_err() || self.on_sync_thread(Self::adopt_dead).await.is_err() {
            return Vec::new();
        }
        let adopted: Vec<_> = {
            let sources = lock(&self.sources);
            let adopted = sources.list.iter().filter(|(_, s)| s.adopted.is_some());
            adopted.map(|(writer, _)| *writer).collect()
        };
        let index = lock(&self.index);
        let orphans = index.iter().filter(|(_, entry)| {
            entry.opened.is_some() && entry.end.is_none() && adopted.contains(&entry.writer())
        });
        orphans.map(|(id, _)| id).collect()
    }
}
