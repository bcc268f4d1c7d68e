//! Starting, draining and ending: who owns the tasks, and whether new requests are wanted.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The life of the process, as its parts see it.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
    stop: CancellationToken,
    background: TaskTracker,
}

impl Lifecycle {
    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Lets a new generation in, unless the process is about to end.
    pub fn admit(&self) -> Result<(), Error> {
        if !self.is_draining() {
            return Ok(());
        }
        let message = "This process is about to end; repeat the request, another one takes it.";
        let mut error = Error::new(ErrorCode::Draining, message);
        error.retry_after = Some(Duration::from_secs(1));
        Err(error)
    }

    /// From now on no new generation is let in.
    pub fn drain(&self) {
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
