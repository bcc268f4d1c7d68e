//! The log on disk: append-only segments that many streams share.
//!
//! # Constraints
//! - A killed process loses nothing that was acknowledged, at any setting: an append is one write
//!   to the kernel, and nothing is kept back in the process.
//! - Several processes share a data directory during a deploy. Each writes only what is its own;
//!   each can read everything, and see at once that another one died.
//! - Thousands of streams are appended to at a time, so they share files: one write an append, one
//!   sync for all that were written meanwhile. A stream's index must not grow with the stream.
//! - Retention must cost nothing: it unlinks whole files.
//!
//! # Layout
//! ```text
//! <data dir>/log/claims.lock           held by who creates a stream with an Idempotency-Key
//! <data dir>/log/00000007/             the directory of one process: its number grows
//!                        lock          held (flock) as long as the process lives
//!                        00000001.seg  header, then batches (everstream_core::record::codec)
//!                        00000002.seg
//!                        synced        at `sync = always`: how far others may read
//!                        adopted       once its process is dead and another has taken it over
//!                        tombstones    streams that this process dropped
//! ```
//! The header of a segment is 36 bytes: magic and version (8), number of the process (4), of the
//! segment (4), mark (4), the segment before it (4), how much of that one counts (8), CRC-32 (4).
//! A batch's link is the segment and offset of the stream's batch before it by the same process
//! under the same epoch. Where a stream went on with another process, its epoch tells the order.
//!
//! # Recovery
//! A directory whose lock is free belongs to a dead process. Who finds it takes the lock and so
//! adopts it: reads it to the end, cuts a torn tail (a batch that is not whole and has none behind
//! it), and owns its streams without `End`, which go on in the adopter's own segments. Nothing is
//! ever appended to a dead process's directory; its segments are dropped by the adopter's
//! retention, and the empty directory removed. Damage that has sound batches behind it costs the
//! streams that had a batch there: they read [`LogError::Damaged`] at that place, and nothing else
//! is lost.
//!
//! After a failed write the next append goes over its remains, or to another segment whose header
//! says how much of the one before counts. After a failed sync nothing behind the last good one
//! counts: its appends fail, and the segment is left in the same way.
//!
//! # Locks
//! In this order: `writer`, `sources`, `graveyard`, `index`; `walked` and `files` alone. None is held
//! over an await. What a disk that hangs can stop, and what not, is told in `pace`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use everstream_core::event::StreamInfo;
use everstream_core::id::{ProjectId, Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Digest, Record, Tail};

use crate::config::{Clock, SegmentConfig};
use crate::disk::{Disk, DiskFile};
use crate::{
    Claimed, Created, Lease, LogError, LogFuture, Page, ReadLimit, Retained, Stat, StreamLog,
};

mod append;
mod claims;
mod files;
mod follow;
mod graveyard;
mod index;
mod layout;
mod open;
mod pace;
mod read;
mod retain;
mod runs;
mod scan;
mod sources;
mod step;
mod sync;
mod tail;
mod walk;
mod writer;

/// A log in segments on disk. Dropping it without [`close`](StreamLog::close) is as the death of
/// the process: what the kernel has is there, what the device has not may be lost with the power.
pub struct SegmentLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the log and its threads share.
struct Shared {
    config: SegmentConfig,
    clock: Clock,
    disk: Arc<dyn Disk>,
    own: layout::WriterId,
    /// The own `synced` file, at `sync = always`.
    synced: Option<Arc<dyn DiskFile>>,
    /// For the sync thread.
    jobs: mpsc::Sender<sync::Job>,
    /// For the threads that append and read while the disk is slow.
    appends: mpsc::Sender<sync::Job>,
    reads: mpsc::Sender<sync::Job>,
    pace: Arc<pace::Pace>,
    claims: Arc<claims::ClaimLock>,
    writer: Mutex<writer::Writer>,
    sources: Mutex<sources::Sources>,
    graveyard: Mutex<graveyard::Graveyard>,
    index: Mutex<index::Index>,
    walked: Mutex<walk::Walked>,
    files: files::Files,
    /// Bytes of all segments in the data directory.
    used: AtomicU64,
    closed: AtomicBool,
}

/// A panic of another thread while it held a lock does not stop the log: what is changed under a
/// lock is changed by steps that leave it sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn own_dir(&self) -> PathBuf {
        layout::writer_dir(self.files.log_dir(), self.own)
    }

    fn segment_bytes(&self) -> u64 {
        let most = (self.config.max_bytes / 4).min(layout::SEGMENT_BYTES_MAX);
        let wanted = self.config.segment_bytes.min(most);
        wanted.max(writer::SEGMENT_BYTES_MIN)
    }

    fn grow(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// How many bytes too many there would be with `wanted` more.
    fn excess(&self, wanted: u64) -> u64 {
        let used = self.used.load(Ordering::Relaxed).saturating_add(wanted);
        used.saturating_sub(self.config.max_bytes)
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(LogError::Closed);
        }
        Ok(())
    }
}

impl SegmentLog {
    fn stop(&self) {
        let Shared {
            jobs,
            appends,
            reads,
            pace,
            ..
        } = &*self.shared;
        for jobs in [jobs, appends, reads] {
            let _ = jobs.send(sync::Job::Stop);
        }
        // A thread that hangs in the disk ends with the process.
        let hangs = pace.is_hanging();
        for thread in lock(&self.threads).drain(..).filter(|_| !hangs) {
            let _ = thread.join();
        }
        pace.stop();
    }

    async fn retain_now(&self) -> Result<Retained, LogError> {
        self.shared.check_open()?;
        self.shared.on_sync_thread(Shared::retain).await?
    }

    async fn delete_now(&self, id: StreamId) -> Result<(), LogError> {
        self.shared
            .reading(move |shared| shared.fresh(id))
            .await??;
        self.shared
            .on_sync_thread(move |shared| shared.delete(id))
            .await?
    }

    async fn close_now(&self) -> Result<(), LogError> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = self.shared.on_sync_thread(Shared::sync_all).await;
        self.stop();
        if matches!(synced, Err(LogError::Stalled)) {
            return Err(LogError::Stalled);
        }
        lock(&self.shared.sources).list.clear();
        lock(&self.shared.writer).lock = None;
        lock(&self.shared.index).wake_all();
        synced?
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl StreamLog for SegmentLog {
    fn create(
        &self,
        id: StreamId,
        accepted: Arc<Accepted>,
    ) -> LogFuture<'_, Result<Created, LogError>> {
        Box::pin(self.shared.create(id, accepted))
    }

    fn lease(&self, id: StreamId) -> LogFuture<'_, Result<Lease, LogError>> {
        Box::pin(self.shared.lease(id))
    }

    fn append<'a>(
        &'a self,
        id: StreamId,
        lease: Lease,
        records: &'a [Record],
    ) -> LogFuture<'a, Result<Lease, LogError>> {
        Box::pin(self.shared.append(id, lease, records))
    }

    fn try_append(
        &self,
        id: StreamId,
        lease: Lease,
        records: &[Record],
    ) -> Option<Result<Lease, LogError>> {
        self.shared.append_at_once(id, lease, records)
    }

    fn read(
        &self,
        id: StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> LogFuture<'_, Result<Page, LogError>> {
        Box::pin(async move {
            let page = move |shared: &Shared| {
                shared.fresh(id)?;
                shared.page(id, after, limit)
            };
            self.shared.reading(page).await?
        })
    }

    fn audit(&self, id: StreamId) -> LogFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.shared.audit(id))
    }

    fn wait(&self, id: StreamId, seen: Tail) -> LogFuture<'_, ()> {
        Box::pin(self.shared.wait(id, seen))
    }

    fn info(&self, id: StreamId) -> LogFuture<'_, Result<Stat, LogError>> {
        Box::pin(async move {
            let stat = move |shared: &Shared| {
                shared.fresh(id)?;
                shared.stat(id)
            };
            self.shared.reading(stat).await?
        })
    }

    fn claimed(&self, key: Digest) -> LogFuture<'_, Option<Claimed>> {
        Box::pin(async move {
            let claimed = self.shared.reading(move |shared| shared.claimed(key)).await;
            claimed.ok().flatten()
        })
    }

    fn scan(&self, project: &ProjectId, visit: &mut dyn FnMut(&StreamInfo)) {
        self.shared.visit(Some(project), visit);
    }

    fn scan_all(&self, visit: &mut dyn FnMut(&StreamInfo)) {
        self.shared.visit(None, visit);
    }

    fn ended(&self, since: UnixMillis, visit: &mut dyn FnMut(StreamId, UnixMillis)) {
        self.shared.visit_ended(since, visit);
    }

    fn orphans(&self) -> LogFuture<'_, Vec<StreamId>> {
        Box::pin(self.shared.orphans())
    }

    fn is_stalled(&self) -> bool {
        self.shared.is_stalled()
    }

    fn delete(&self, id: StreamId) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(self.delete_now(id))
    }

    fn retain(&self) -> LogFuture<'_, Result<Retained, LogError>> {
        Box::pin(self.retain_now())
    }

    fn close(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(self.close_now())
    }
}
