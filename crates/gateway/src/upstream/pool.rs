use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// The idle connections of one upstream. The one used last is used first, so that the others grow
/// old and go.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    most: usize,
    longest: Duration,
}

struct Idle {
    connection: Connection,
    expires: Instant,
}

impl Pool {
    /// Room for `most` connections, which are kept for `longest`.
    pub(super) fn new(most: usize, longest: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            most,
            longest,
        }
    }

    /// A connection that is alive as far as can be known without using it.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let idle = self.lock().pop_back()?;
            let mut connection = idle.connection;
            if idle.expires > Instant::now() && connection.is_quiet() {
                connection.set_in_use(true);
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end. `promised` is how long the
    /// upstream says it will keep it open.
    pub(super) fn put(&self, connection: Connection, promised: Option<Duration>) {
        let lifetime = promised.map_or(self.longest, |promised| {
            // A request that leaves in the last second may cross the upstream's close.
            let safe = promised.saturating_sub(Duration::from_secs(1));
            safe.min(self.longest)
        });
        let now = Instant::now();
        connection.set_in_use(false);
        let mut idle = self.lock();
        idle.push_back(Idle {
            connection,
            expires: now + lifetime,
        });
        let is_too_many = idle.len() > self.most;
        if is_too_many || idle.front().is_some_and(|oldest| oldest.expires <= now) {
            idle.pop_front();
        }
    }

    /// Closes what was idle for too long, and what the upstream closed.
    pub(super) fn close_old(&self) {
        let now = Instant::now();
        self.lock()
            .retain_mut(|idle| idle.expires > now && idle.connection.is_quiet());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        // Nothing that runs under the lock can leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
