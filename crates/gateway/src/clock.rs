//! The one clock: wall time that never runs backwards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everstream_core::id::UnixMillis;
use tokio::time::Instant;

/// Wall time, read once at start and moved on by the runtime's monotonic clock, so that deadlines
/// survive a correction of the machine's clock, and tests can pause it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_at: UnixMillis,
}

impl Clock {
    /// A clock that starts from the machine's wall time. Needs a runtime's context.
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self::start_at(UnixMillis::default().plus(wall))
    }

    /// A clock that takes it to be `wall` now. Needs a runtime's context.
    pub fn start_at(wall: UnixMillis) -> Self {
        Self {
            started: Instant::now(),
            started_at: wall,
        }
    }

    /// Now.
    pub fn now(&self) -> UnixMillis {
        self.started_at.plus(self.started.elapsed())
    }

    /// The runtime's instant for a wall time.
    pub fn instant(&self, at: UnixMillis) -> Instant {
        self.started + at.since(self.started_at)
    }
}
