//! `SQLite` in one file that several processes may share.

mod connection;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::limits;
use tokio::sync::Notify;

use self::worker::Worker;
use super::engine::{Driver, Effect, Operation, SqlCatalog};
use super::{Catalog, CatalogError};

/// What a catalogue in `SQLite` is opened with.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The file, made if it is not there; its directory is.
    pub path: PathBuf,
    /// How long an operation may take, the wait for other processes included.
    pub patience: Duration,
    /// Operations that may wait.
    pub queue: usize,
}

impl SqliteConfig {
    /// The defaults for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            patience: limits::CATALOG_PATIENCE,
            queue: limits::CATALOG_QUEUE,
        }
    }
}

/// Opens a catalogue in `SQLite`. Never fails: a file that cannot be opened or brought to this
/// program's schema fails [`Catalog::check`], and every other operation, until it can.
///
/// Writes have a thread, and reads have another, so that a sum over a year holds nobody up.
/// A killed process loses nothing that was acknowledged; a power loss takes at most what
/// [`reserve`](Catalog::reserve) and its like have written, which are leases.
pub fn open(config: &SqliteConfig) -> Arc<dyn Catalog> {
    Arc::new(SqlCatalog(Sqlite {
        writer: Worker::spawn("catalog-write", config),
        reader: Worker::spawn("catalog-read", config),
        patience: config.patience,
        changed: Notify::new(),
    }))
}

struct Sqlite {
    writer: Worker,
    reader: Worker,
    patience: Duration,
    changed: Notify,
}

impl Driver for Sqlite {
    async fn run<O: Operation>(&self, operation: O) -> Result<O::Output, CatalogError> {
        let worker = match O::EFFECT {
            Effect::Reads => &self.reader,
            Effect::Single | Effect::Leases | Effect::Writes => &self.writer,
        };
        let answer = tokio::time::timeout(self.patience, worker.run(operation)).await;
        let answer = answer.map_err(|_| CatalogError::Slow(self.patience))?;
        if O::EFFECT == Effect::Writes && answer.is_ok() {
            self.changed.notify_waiters();
        }
        answer
    }

    /// Only this process's own changes; those of others are found when the wait is over.
    async fn hint(&self) {
        self.changed.notified().await;
    }

    async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}
