//! The thread that a connection lives on.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::SqliteConfig;
use super::connection::Connection;
use crate::sql::CatalogError;
use crate::sql::engine::Operation;

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// A thread with a bounded queue.
pub(super) struct Worker {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    patience: Duration,
}

/// A connection that is opened when it is needed, and again after it broke.
struct Slot {
    path: PathBuf,
    patience: Duration,
    connection: Option<Connection>,
}

impl Worker {
    pub(super) fn spawn(name: &str, config: &SqliteConfig) -> Self {
        let (queue, mut jobs) = mpsc::channel::<Job>(config.queue.max(1));
        let mut slot = Slot {
            path: config.path.clone(),
            patience: config.patience,
            connection: None,
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            while let Some(job) = jobs.blocking_recv() {
                job(&mut slot);
            }
        });
        // Without a thread nobody receives, and all operations say so.
        let thread = thread
            .inspect_err(|error| tracing::error!(%error, "cannot start the database's thread"));
        Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(thread.ok()),
            patience: config.patience,
        }
    }

    pub(super) async fn run<O: Operation>(&self, operation: O) -> Result<O::Output, CatalogError> {
        let queue = {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.clone().ok_or(CatalogError::Closed)?
        };
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + self.patience;
        let job: Job = Box::new(move |slot| {
            // Whoever asked has left before it began, or will have: it is not begun.
            if answer.is_closed() || deadline < Instant::now() {
                return;
            }
            answer.send(slot.run(&operation)).ok();
        });
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CatalogError::Busy(format!(
                "{} operations wait for the database already: try again later",
                queue.max_capacity()
            )),
            mpsc::error::TrySendError::Closed(_) => CatalogError::Closed,
        })?;
        drop(queue);
        answered
            .await
            .unwrap_or(Err(CatalogError::Slow(self.patience)))
    }

    /// Lets the thread finish what waits, and end.
    pub(super) async fn close(&self) {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(|| thread.join());
            tokio::time::timeout(self.patience, joined).await.ok();
        }
    }
}

impl Slot {
    fn run<O: Operation>(&mut self, operation: &O) -> Result<O::Output, CatalogError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.path, self.patience)?),
        };
        let answer = connection.run(operation);
        if connection.is_broken() {
            self.connection = None;
        }
        answer
    }
}
