use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::request::ReceivedRequest;

/// What came in and went out, counted while it happens. The default only counts requests, so that
/// a benchmark may send millions; a [`FakeProvider`](super::FakeProvider) keeps them too.
#[derive(Debug, Default)]
pub struct Traffic {
    /// `None` when requests are only counted, not kept.
    kept: Option<Mutex<Vec<ReceivedRequest>>>,
    by_path: Mutex<BTreeMap<String, u64>>,
    numbers: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    marks: watch::Sender<Marks>,
}

/// What a test waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    calls: u64,
    hangups: u64,
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Bytes of all answers, heads and framing included.
    pub bytes: u64,
}

impl Traffic {
    /// Keeps every request: for tests.
    pub(super) fn keeping() -> Self {
        Self {
            kept: Some(Mutex::default()),
            ..Self::default()
        }
    }

    /// The requests so far but those for the list of models. Empty when they are not kept.
    pub fn calls(&self) -> Vec<ReceivedRequest> {
        self.kept
            .as_ref()
            .map(|kept| lock(kept).clone())
            .unwrap_or_default()
    }

    /// How many requests there were for each path, those for the list of models included.
    pub fn by_path(&self) -> BTreeMap<String, u64> {
        lock(&self.by_path).clone()
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        Written {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// How many requests there were but those for the list of models.
    pub fn total(&self) -> u64 {
        self.marks.borrow().calls
    }

    /// How many clients left before the end of their script. It is seen while the script waits,
    /// or at the next write.
    pub fn hangups(&self) -> u64 {
        self.marks.borrow().hangups
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        if let Some(kept) = &self.kept {
            lock(kept).clear();
        }
        lock(&self.by_path).clear();
        self.events.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.marks.send_replace(Marks::default());
    }

    pub(super) async fn wait_for_calls(&self, n: u64) {
        let mut marks = self.marks.subscribe();
        let came = marks.wait_for(|marks| marks.calls >= n).await;
        came.expect("the sender lives in self");
    }

    pub(super) async fn wait_for_hangups(&self, n: u64) {
        let mut marks = self.marks.subscribe();
        let came = marks.wait_for(|marks| marks.hangups >= n).await;
        came.expect("the sender lives in self");
    }

    /// Numbers a request and counts it, unless its path is one of the provider's own (`/_...`).
    pub(super) fn received(&self, request: &mut ReceivedRequest) {
        if request.path.starts_with("/_") {
            return;
        }
        request.number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        *lock(&self.by_path).entry(request.path.clone()).or_default() += 1;
        if request.is_model_list() {
            return;
        }
        if let Some(kept) = &self.kept {
            lock(kept).push(request.clone());
        }
        self.marks.send_modify(|marks| marks.calls += 1);
    }

    pub(super) fn wrote(&self, events: usize, bytes: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn hung_up(&self) {
        self.marks.send_modify(|marks| marks.hangups += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
