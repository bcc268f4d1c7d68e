//! What keeps a disk that hangs from stopping the runtime.
//!
//! Appends and reads run where they are asked for, on a worker of the runtime: a write to the page
//! cache takes some microseconds, and handing it to another thread and back takes more. But a disk
//! that hangs keeps the worker, and one worker that does not come back may stop all others: it can
//! be the one that was to look after the sockets. So:
//!
//! - Whoever goes to the disk counts that before and after. A thread looks at the counts every
//!   [`SAMPLE`]: where something was under way and nothing came to its end since, it is stuck, and
//!   after some samples, as many as [`SLOW`] says, the disk is *slow*. That costs two additions an
//!   append, and no clock.
//! - While it is slow, and for a moment after, nothing that goes to it runs on a worker: appends
//!   and reads have a thread each (`Shared::appending`, `Shared::reading`).
//! - The runtime is given an empty task, which wakes a worker that takes over the sockets.
//! - No worker waits for a lock that is held over a write; who finds it taken goes to the thread.
//! - What is stuck for `patience` is *stalled*: who waits for it fails with [`LogError::Stalled`],
//!   and who comes fails at once, until the disk moves.
//!
//! What is left: the append that finds the disk hanging keeps its worker, so a runtime needs two.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, TryLockError, mpsc};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use super::sync::Job;
use super::writer::Writer;
use super::{Shared, lock};
use crate::LogError;

/// How often the watch thread looks, while there is something to see.
const SAMPLE: Duration = Duration::from_millis(25);
/// Samples in a row with something stuck before the disk counts as slow. An append may also have been
/// put off its core in the middle, while the others are kept from the disk by its lock. A sync on a
/// disk that is merely busy takes some tenths of a second, and the kernel takes appends meanwhile:
/// moving them to a thread would double what they cost.
const SLOW: [u32; 3] = [2, 40, 1];
/// Samples in a row in which it was not slow before the disk counts as quick again: a second.
const CALM: u32 = 40;
/// Turns given to others while a lock is taken, which it is for some microseconds.
const TURNS: u32 = 32;

/// What goes to the disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Under the writer's lock: one at a time.
    Append = 0,
    /// On the sync thread.
    Sync = 1,
    /// Anywhere.
    Read = 2,
}

const KINDS: [Kind; 3] = [Kind::Append, Kind::Sync, Kind::Read];

/// How the disk does.
#[derive(Default)]
pub(super) struct Pace {
    counts: [Count; 3],
    /// The watch thread looks.
    watched: AtomicBool,
    slow: AtomicBool,
    stalled: [watch::Sender<bool>; 3],
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

#[derive(Default)]
struct Count {
    begun: AtomicU64,
    ended: AtomicU64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    begun: u64,
    ended: u64,
}

/// Something that goes to the disk, until dropped.
pub(super) struct Underway<'a>(&'a Count);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Pace {
    /// Starts the thread that looks.
    pub(super) fn start(self: &Arc<Self>, patience: Duration) -> std::io::Result<()> {
        if patience == Duration::MAX {
            self.watched.store(true, Ordering::SeqCst);
            return Ok(());
        }
        let (pace, runtime) = (Arc::clone(self), Handle::try_current().ok());
        let patience = patience.as_millis().div_ceil(SAMPLE.as_millis());
        let patience = u32::try_from(patience).unwrap_or(u32::MAX);
        let thread = std::thread::Builder::new().name("everstream-pace".to_owned());
        let thread = thread.spawn(move || pace.watch(patience, runtime.as_ref()))?;
        let _ = self.thread.set(thread.thread().clone());
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// From now on something goes to the disk.
    pub(super) fn begin(&self, kind: Kind) -> Underway<'_> {
        let count = &self.counts[kind as usize];
        count.begun.fetch_add(1, Ordering::SeqCst);
        if !self.watched.load(Ordering::SeqCst) && !self.watched.swap(true, Ordering::SeqCst) {
            self.wake();
        }
        Underway(count)
    }

    /// Work of many steps, such as the recovery of a dead process's log, made one of them: it is
    /// long, and not stuck.
    pub(super) fn progress(&self) {
        for kind in [Kind::Sync, Kind::Read] {
            let count = &self.counts[kind as usize];
            count.begun.fetch_add(1, Ordering::SeqCst);
            count.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether workers must not go to the disk.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }

    /// Whether this was stuck for longer than anybody is to wait.
    pub(super) fn is_stalled(&self, kind: Kind) -> bool {
        *self.stalled[kind as usize].borrow()
    }

    /// Whether anything is stalled.
    pub(super) fn is_hanging(&self) -> bool {
        KINDS.iter().any(|&kind| self.is_stalled(kind))
    }

    /// Waits for `waited`, unless what it stands for is stalled.
    pub(super) async fn patiently<F: Future>(
        &self,
        kind: Kind,
        waited: F,
    ) -> Result<F::Output, LogError> {
        let mut stalled = self.stalled[kind as usize].subscribe();
        tokio::select! {
            biased;
            output = waited => Ok(output),
            _ = stalled.wait_for(|&stalled| stalled) => Err(LogError::Stalled),
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn seen(&self) -> [Seen; 3] {
        KINDS.map(|kind| {
            let count = &self.counts[kind as usize];
            // In this order, so that what ends meanwhile does not look like something under way.
            let begun = count.begun.load(Ordering::SeqCst);
            let ended = count.ended.load(Ordering::SeqCst);
            Seen { begun, ended }
        })
    }

    fn watch(&self, patience: u32, runtime: Option<&Handle>) {
        let mut before = self.seen();
        let mut stuck = [0_u32; 3];
        let mut calm = CALM;
        while !self.stopped.load(Ordering::SeqCst) {
            if !self.watched.load(Ordering::SeqCst) {
                std::thread::park();
                before = self.seen();
                continue;
            }
            std::thread::park_timeout(SAMPLE);
            let now = self.seen();
            for kind in KINDS {
                let at = kind as usize;
                let is_stuck =
                    before[at].begun > before[at].ended && now[at].ended == before[at].ended;
                stuck[at] = if is_stuck {
                    stuck[at].saturating_add(1)
                } else {
                    0
                };
            }
            let is_slow = |kind| stuck[kind as usize] >= SLOW[kind as usize].min(patience);
            calm = if KINDS.into_iter().any(is_slow) {
                0
            } else {
                calm.saturating_add(1)
            };
            // Before anybody is told of a stall: who comes then must not take the disk for a quick one.
            self.slow.store(calm < CALM, Ordering::Release);
            for kind in KINDS {
                self.set_stalled(kind, stuck[kind as usize] >= patience);
            }
            let is_idle = stuck == [0; 3];
            if !is_idle && let Some(runtime) = runtime {
                drop(runtime.spawn(std::future::ready(())));
            }
            if is_idle && calm >= CALM && now == before {
                self.watched.store(false, Ordering::SeqCst);
                if self.seen() != now {
                    self.watched.store(true, Ordering::SeqCst);
                }
            }
            before = now;
        }
    }

    fn set_stalled(&self, kind: Kind, stalled: bool) {
        let set = |was: &mut bool| std::mem::replace(was, stalled) != stalled;
        if self.stalled[kind as usize].send_if_modified(set) {
            if stalled {
                error!(
                    ?kind,
                    "the disk hangs: what needs it fails until it goes on"
                );
            } else {
                info!(?kind, "the disk goes on");
            }
        }
    }
}

impl Shared {
    /// Runs an append: here, on the caller's thread, while the disk is quick.
    pub(super) async fn appending<T: Send + 'static>(
        &self,
        here: impl Fn(&mut Writer) -> T,
        there: impl FnOnce() -> Box<dyn FnOnce(&Self, &mut Writer) -> T + Send>,
    ) -> Result<T, LogError> {
        for _ in 0..TURNS {
            let done = self.try_writer().map(|mut writer| {
                let _underway = self.pace.begin(Kind::Append);
                here(&mut writer)
            });
            if let Some(done) = done {
                return Ok(done);
            }
            if self.pace.is_slow() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if self.is_stalled() {
            return Err(LogError::Stalled);
        }
        let there = there();
        let work = move |shared: &Self| {
            let mut writer = lock(&shared.writer);
            let _underway = shared.pace.begin(Kind::Append);
            there(shared, &mut writer)
        };
        self.on_thread(&self.appends, Kind::Append, work).await
    }

    /// Whether nothing can be appended for now.
    pub(super) fn is_stalled(&self) -> bool {
        self.pace.is_stalled(Kind::Append) || self.pace.is_stalled(Kind::Sync)
    }

    /// The writer's lock, unless the disk is slow or somebody else has it.
    pub(super) fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        if self.pace.is_slow() {
            return None;
        }
        if self.config.patience == Duration::MAX {
            return Some(lock(&self.writer));
        }
        let take = || match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        take().or_else(|| {
            // Who has it may have been put off this very core in the middle of an append.
            std::thread::yield_now();
            take()
        })
    }

    /// Runs what reads the disk: here, on the caller's thread, while the disk is quick.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        if self.may_read_here() {
            let _underway = self.pace.begin(Kind::Read);
            return Ok(work(self));
        }
        if self.pace.is_stalled(Kind::Read) {
            return Err(LogError::Stalled);
        }
        let work = move |shared: &Self| {
            let _underway = shared.pace.begin(Kind::Read);
            work(shared)
        };
        self.on_thread(&self.reads, Kind::Read, work).await
    }

    /// Whether a worker may read: the disk is quick, and nobody keeps the lock that it may need.
    pub(super) fn may_read_here(&self) -> bool {
        let is_taken = || matches!(self.sources.try_lock(), Err(TryLockError::WouldBlock));
        !self.pace.is_slow() && !is_taken()
    }

    /// Runs `work` on one of the log's threads.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        jobs: &mpsc::Sender<Job>,
        kind: Kind,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        let (done, result) = oneshot::channel();
        let task = Job::Task(Box::new(move |shared| {
            // What failed for its caller must not happen afterwards.
            if !done.is_closed() {
                let _ = done.send(work(shared));
            }
        }));
        jobs.send(task).map_err(|_| LogError::Closed)?;
        let result = self.pace.patiently(kind, result).await?;
        result.map_err(|_| LogError::Closed)
    }
}

/// Runs tasks until it is told to stop.
pub(super) fn run(shared: &Shared, jobs: &mpsc::Receiver<Job>) {
    while let Ok(Job::Task(task)) = jobs.recv() {
        task(shared);
    }
}
