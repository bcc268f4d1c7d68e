//! The ledger's queue: what was used is on disk before anybody waits for the database.
//!
//! An entry is written to a file of this process, and settled from there in batches. With the
//! database gone the files grow, up to a bound, and are settled when it is back. A process that dies
//! leaves its files to the next one, or to another that lives on the same directory. An entry that
//! was settled by a process that died before it knew is settled again, which changes nothing.

mod codec;
mod drain;
mod file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::limits;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::file::Files;
use super::values::{Alert, LedgerEntry};
use super::{Catalog, CatalogError};
use crate::disk::Disk;

/// What a queue is opened with.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// Its directory, made if it is not there; its parent is.
    pub dir: PathBuf,
    /// Bytes that may wait.
    pub max_bytes: u64,
    /// How soon the database is asked again after it failed, at first, and at last.
    pub retry: (Duration, Duration),
}

impl QueueConfig {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: limits::LEDGER_QUEUE_BYTES,
            retry: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// Why an entry was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The database is gone for too long. Nothing that costs money may begin.
    #[error(
        "{waiting} bytes wait for the ledger's database, and {limit} may: make the database answer again"
    )]
    Full {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may.
        limit: u64,
    },
    /// The entry is larger than any can be.
    #[error("a ledger entry of {0} bytes")]
    TooLarge(usize),
    /// The directory cannot be written or read.
    #[error("the ledger's queue cannot be written or read ({0}): check the data directory")]
    Io(String),
    /// The queue was closed.
    #[error("the ledger's queue is closed")]
    Closed,
}

/// How a queue stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Entries that wait, of this process and of dead ones that it has found.
    pub entries: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Entries that were settled by this process.
    pub settled: u64,
    /// Entries that the database refused for good: they stand in `refused.jsonl`.
    pub refused: u64,
    /// Files that were damaged, and are kept aside with the ending `.damaged`.
    pub damaged: u64,
    /// Why nothing is settled just now.
    pub trouble: Option<String>,
}

/// What is told of entries that are settled: alerts of budgets.
pub type OnAlert = Box<dyn Fn(Alert) + Send + Sync>;

/// The queue.
pub struct LedgerQueue {
    shared: Arc<Shared>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// Until the queue is closed.
    files: Mutex<Option<Files>>,
    max_bytes: u64,
    /// Something was written, or the queue is closing.
    written: Notify,
    is_closed: AtomicBool,
    status: watch::Sender<QueueStatus>,
}

impl LedgerQueue {
    /// Opens the queue in its directory, takes over what dead processes left there, and starts to
    /// settle it. Needs a runtime.
    pub fn open(
        config: QueueConfig,
        disk: Arc<dyn Disk>,
        catalog: Arc<dyn Catalog>,
        on_alert: OnAlert,
    ) -> Result<Self, QueueError> {
        let files = Files::open(disk, config.dir)?;
        let shared = Arc::new(Shared {
            files: Mutex::new(Some(files)),
            max_bytes: config.max_bytes,
            written: Notify::new(),
            is_closed: AtomicBool::new(false),
            status: watch::Sender::default(),
        });
        shared.with_files(|_| Ok(()))?;
        let drain = drain::Drain {
            shared: Arc::clone(&shared),
            catalog,
            on_alert,
            retry: config.retry,
        };
        Ok(Self {
            shared,
            drain: Mutex::new(Some(tokio::spawn(drain.run()))),
        })
    }

    /// Takes an entry: once this returns, no kill takes it back, and it will be settled. What is
    /// refused was not taken.
    pub async fn push(&self, entry: &LedgerEntry) -> Result<(), QueueError> {
        self.push_all(std::slice::from_ref(entry)).await
    }

    /// As [`push`](Self::push), of several: all of them, or none.
    pub async fn push_all(&self, entries: &[LedgerEntry]) -> Result<(), QueueError> {
        let texts: Result<Vec<_>, _> = entries.iter().map(serde_json::to_vec).collect();
        let texts = texts.map_err(|error| QueueError::Io(error.to_string()))?;
        let shared = Arc::clone(&self.shared);
        // A disk may hang.
        let pushed = tokio::task::spawn_blocking(move || {
            if shared.is_closed.load(Ordering::Acquire) {
                return Err(QueueError::Closed);
            }
            let pushed = shared.with_files(|files| files.push(&texts, shared.max_bytes));
            shared.written.notify_one();
            pushed
        });
        pushed.await.unwrap_or(Err(QueueError::Closed))
    }

    /// How it stands.
    pub fn status(&self) -> QueueStatus {
        self.shared.status.borrow().clone()
    }

    /// Waits until nothing waits to be settled.
    pub async fn drained(&self) {
        let mut status = self.shared.status.subscribe();
        status
            .wait_for(|status| status.entries == 0)
            .await
            .map(drop)
            .ok();
    }

    /// Takes no more, tries once more to settle what waits, and lets go of the directory. What still
    /// waits is the next process's. Idempotent.
    pub async fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.written.notify_one();
        let drain = self
            .drain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(drain) = drain {
            drain.await.ok();
            let shared = Arc::clone(&self.shared);
            let closed = tokio::task::spawn_blocking(move || drop(shared.lock().take()));
            closed.await.ok();
        }
    }
}

impl Drop for LedgerQueue {
    fn drop(&mut self) {
        let drain = self.drain.get_mut();
        if let Some(drain) = drain.unwrap_or_else(PoisonError::into_inner).take() {
            drain.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Files>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_files<T>(
        &self,
        run: impl FnOnce(&mut Files) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let mut files = self.lock();
        let files = files.as_mut().ok_or(QueueError::Closed)?;
        let result = run(files);
        self.status.send_modify(|status| {
            (status.entries, status.bytes) = files.count();
            status.damaged = files.damaged();
        });
        result
    }
}

impl From<std::io::Error> for QueueError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Whether the database refuses an entry for what it is, however often it is asked.
const fn is_final(error: &CatalogError) -> bool {
    matches!(
        error,
        CatalogError::Invalid(_) | CatalogError::NotFound { .. } | CatalogError::Exists { .. }
    )
}
