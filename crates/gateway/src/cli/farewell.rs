//! How a process leaves: nobody who can be answered is refused, and nobody is cut who need not be.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::limits;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::server::Shutdown;

/// How long connections may take to finish once no generation runs any more and the drain time is
/// over.
const GRACE: Duration = Duration::from_secs(5);

/// What a leaving process still has to see to.
pub(super) struct Farewell {
    pub(super) app: Arc<App>,
    pub(super) shutdown: Shutdown,
    /// Done when the last connection is.
    pub(super) serving: Shared<BoxFuture<'static, ()>>,
}

impl Farewell {
    /// Ends in its own time, in `streams.drain_timeout` at most. `is_followed`: another process
    /// accepts, or will, from the same socket.
    pub(super) async fn say(self, why: &str, is_followed: bool) {
        if is_followed {
            self.app.leave();
        } else {
            self.app.drain();
        }
        tracing::info!(why, running = self.app.generator.registry.len(), "draining");
        if is_followed {
            self.hand_over().await;
            self.app.drain();
        }
        self.app.drained().await;
        self.shutdown.refuse.cancel();
        self.shutdown.close.cancel();
        // Readers of what ended just now, or of what another process writes.
        let patience = self.app.deadline().max(Instant::now() + GRACE);
        let readers = async {
            self.serving.clone().await;
            self.app.lifecycle.sessions_over().await;
        };
        if timeout_at(patience, readers).await.is_err() {
            tracing::warn!("some connections were still open");
        }
        self.shutdown.abandon.cancel();
        self.serving.await;
        self.app.stop().await;
    }

    /// New connections go to the other process. What comes on those that are open is answered here
    /// as ever: a client that keeps one alive may be sending just now.
    async fn hand_over(&self) {
        self.shutdown.refuse.cancel();
        let _ = timeout(limits::KEEP_ALIVE_FAREWELL, self.serving.clone()).await;
        self.shutdown.close.cancel();
        let _ = timeout_at(self.app.deadline(), self.serving.clone()).await;
    }
}
