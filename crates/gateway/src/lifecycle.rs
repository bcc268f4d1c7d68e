//! Starting, draining and ending: who owns the tasks, and whether new requests are wanted.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The life of the process, as its parts see it.
#[derive(Debug, Default)]
pub struct Lifecycle {
    leaving: CancellationToken,
    left_at: OnceLock<Instant>,
    draining: AtomicBool,
    sessions: TaskTracker,
    stop: CancellationToken,
    background: TaskTracker,
}

impl Lifecycle {
    /// Whether the process is on its way out: clients should go to another one.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Waits until the process is on its way out: for what would never end by itself.
    pub async fn leaving(&self) {
        self.leaving.cancelled().await;
    }

    /// From now on clients are sent elsewhere, and what they ask here is still answered.
    pub fn leave(&self) {
        self.left_at();
        self.leaving.cancel();
        self.sessions.close();
    }

    /// When [`leave`](Self::leave) was called first; now, if it was not.
    pub fn left_at(&self) -> Instant {
        *self.left_at.get_or_init(Instant::now)
    }

    /// Holds the process, for as long as it may be held, until this is dropped: for connections
    /// that are no HTTP any more.
    pub fn session(&self) -> TaskTrackerToken {
        self.sessions.token()
    }

    /// Waits until no session is left. Only after [`leave`](Self::leave).
    pub async fn sessions_over(&self) {
        self.sessions.wait().await;
    }

    /// Lets a new generation in, unless the process takes no more of them.
    pub fn admit(&self) -> Result<(), Error> {
        if !self.draining.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(draining())
    }

    /// From now on no new generation is let in.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }

    /// Waits until no generation runs any more and the process ends: what is left has to go.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Runs a task until it heeds the token it is given, which is cancelled when the process ends.
    pub fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background.spawn(task(self.stop.clone()));
    }

    /// Runs `work` every `period` until the process ends.
    pub fn every<F>(&self, period: Duration, work: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.background.spawn(async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(period))
                .await
                .is_some()
            {
                // Not cancelled in the middle: what it began, it finishes.
                work().await;
            }
        });
    }

    /// Ends the background tasks and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
    }
}

/// What is told to a request for a generation that does not begin any more.
pub(crate) fn draining() -> Error {
    let message = "This process is about to end; repeat the request, another one takes it.";
    let mut error = Error::new(ErrorCode::Draining, message);
    error.retry_after = Some(Duration::from_secs(1));
    error
}
