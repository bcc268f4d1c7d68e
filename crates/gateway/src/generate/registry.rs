//! The generations that run in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::id::{Epoch, StreamId, UnixMillis};
use everstream_core::record::Digest;

use super::live::Live;
use crate::telemetry::metrics::GenerationMetrics;

/// Live streams by id, and by the request they answer.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
    metrics: GenerationMetrics,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<StreamId, Arc<Live>>,
    /// Those among them whose end is not logged although nobody writes them any more.
    lost: HashMap<StreamId, Lost>,
    /// The newest generation of a request that an SDK may repeat by itself: project and body.
    recent: HashMap<Digest, (Arc<Live>, UnixMillis)>,
}

/// A stream that the log took no end of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    /// Under which it was written.
    pub(super) epoch: Epoch,
    /// What its readers were told, if anybody told them anything.
    pub(super) code: Option<ErrorCode>,
}

impl Registry {
    /// What is counted of them.
    pub fn metrics(&self) -> &GenerationMetrics {
        &self.metrics
    }

    /// The live stream of this id.
    pub fn get(&self, id: StreamId) -> Option<Arc<Live>> {
        self.lock().live.get(&id).cloned()
    }

    /// All live streams.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.lock().live.values().cloned().collect()
    }

    /// How many generations run.
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn insert(&self, live: &Arc<Live>) {
        self.lock().live.insert(live.id(), Arc::clone(live));
    }

    pub(super) fn remove(&self, id: StreamId) {
        let mut inner = self.lock();
        inner.live.remove(&id);
        inner.lost.remove(&id);
    }

    /// Keeps a stream whose end could not be logged: who comes for it is told, and it is ended once
    /// the log takes something again.
    pub(super) fn lose(&self, live: &Arc<Live>, lost: Lost) {
        let mut inner = self.lock();
        inner.live.insert(live.id(), Arc::clone(live));
        inner.lost.insert(live.id(), lost);
    }

    /// Remembers a stream that recovery could not end, and that has no readers here.
    pub(super) fn lose_unread(&self, id: StreamId, lost: Lost) {
        self.lock().lost.insert(id, lost);
    }

    /// The streams that are to be ended.
    pub(super) fn lost(&self) -> Vec<(StreamId, Lost)> {
        let inner = self.lock();
        let mut lost: Vec<_> = inner.lost.iter().map(|(id, lost)| (*id, *lost)).collect();
        // In an order that does not depend on the table.
        lost.sort_by_key(|(id, _)| *id);
        lost
    }

    /// Remembers that `request` is answered by `live`, for as long as an SDK may retry it.
    pub fn remember(&self, request: Digest, live: &Arc<Live>, now: UnixMillis, window: Duration) {
        let mut inner = self.lock();
        // Swept each time it has doubled, so that the cost is spread over the requests.
        if inner.recent.len() >= 1024 && inner.recent.len().is_power_of_two() {
            inner
                .recent
                .retain(|_, (_, since)| now.since(*since) < window);
        }
        inner.recent.insert(request, (Arc::clone(live), now));
    }

    /// The generation that an SDK's own retry of `request` belongs to, if it is younger than
    /// `window` and its answer reached nobody.
    pub fn retried(&self, request: Digest, now: UnixMillis, window: Duration) -> Option<StreamId> {
        let inner = self.lock();
        let (live, since) = inner.recent.get(&request)?;
        (now.since(*since) < window && live.is_wanting()).then(|| live.id())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
