//! The generations that run in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::record::Digest;
use everstream_store::Lease;

use super::live::Live;

/// Live streams by id, and by the request they answer.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<StreamId, Arc<Live>>,
    /// The newest generation of a request that an SDK may repeat by itself: project and body.
    recent: HashMap<Digest, (Arc<Live>, UnixMillis)>,
    /// At most as many as ran when the log failed, as it takes no new ones then.
    unended: BTreeMap<StreamId, Unended>,
}

/// A stream that this process holds and nobody writes any more, because the log refused its
/// terminal record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unended {
    pub(super) lease: Lease,
    /// What its readers were told, if anybody told them anything.
    pub(super) told: Option<ErrorCode>,
}

impl Registry {
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
        self.lock().live.remove(&id);
    }

    /// Remembers a stream that is still to be ended.
    pub(super) fn leave(&self, id: StreamId, unended: Unended) {
        self.lock().unended.insert(id, unended);
    }

    /// The streams that are still to be ended.
    pub(super) fn take_unended(&self) -> BTreeMap<StreamId, Unended> {
        std::mem::take(&mut self.lock().unended)
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
