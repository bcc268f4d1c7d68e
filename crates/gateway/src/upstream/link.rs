//! The way to one upstream, as all its connections together show it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstream_core::id::UnixMillis;
use everstream_core::limits::UPSTREAM_SILENT_WATCHES;
use everstream_core::policy::connection::{ConnectionEvent, ConnectionState, Connections};

use crate::clock::Clock;

/// All connections to one upstream, which tell it what becomes of them.
#[derive(Debug)]
pub(super) struct Link {
    /// For log lines.
    upstream: String,
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: Connections,
    lines: HashMap<u64, Watched>,
    next: u64,
}

#[derive(Debug)]
struct Watched {
    pulse: Arc<Pulse>,
    in_use: bool,
    /// Looks in a row that found nothing new.
    quiet: u32,
}

impl Watched {
    fn is_silent(&self) -> bool {
        self.quiet >= UPSTREAM_SILENT_WATCHES
    }
}

/// What there is to see of a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSight {
    /// Its state.
    pub state: ConnectionState,
    /// Since when.
    pub since: UnixMillis,
    /// Connections that carry a request.
    pub in_use: u32,
    /// Connections that are kept for the next one.
    pub idle: u32,
}

/// A connection that is being made. Dropping it says that it could not be.
#[derive(Debug)]
pub(super) struct Dialling {
    link: Arc<Link>,
    is_made: bool,
}

/// A connection's own place at its link. Dropping it says that it is closed. One pointer, as tens of
/// thousands of them wait at a time.
#[derive(Debug)]
pub(super) struct Line(Arc<Pulse>);

/// What a connection and its link both know.
pub(super) struct Pulse {
    link: Arc<Link>,
    id: u64,
    /// Something came since the last look.
    heard: AtomicBool,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pulse({} of {})", self.id, self.link.upstream)
    }
}

impl Link {
    pub(super) fn new(upstream: &str) -> Arc<Self> {
        Arc::new(Self {
            upstream: upstream.to_owned(),
            clock: Clock::start(),
            inner: Mutex::default(),
        })
    }

    /// A connection is being made.
    pub(super) fn dial(self: &Arc<Self>) -> Dialling {
        self.take(&mut self.lock(), ConnectionEvent::Dialling);
        Dialling {
            link: Arc::clone(self),
            is_made: false,
        }
    }

    pub(super) fn sight(&self) -> LinkSight {
        let inner = self.lock();
        let (state, since) = inner.connections.state();
        let (in_use, idle) = inner.connections.counts();
        LinkSight {
            state,
            since,
            in_use,
            idle,
        }
    }

    /// Looks for connections that carry a request and have said nothing since the last few looks.
    pub(super) fn watch(&self) {
        let mut inner = self.lock();
        let mut events = Vec::new();
        for line in inner.lines.values_mut().filter(|line| line.in_use) {
            let was_silent = line.is_silent();
            line.quiet = if line.pulse.heard.swap(false, Ordering::Relaxed) {
                0
            } else {
                line.quiet.saturating_add(1)
            };
            match (was_silent, line.is_silent()) {
                (false, true) => events.push(ConnectionEvent::FellSilent),
                (true, false) => events.push(ConnectionEvent::SpokeAgain),
                _ => {}
            }
        }
        for event in events {
            self.take(&mut inner, event);
        }
    }

    fn take(&self, inner: &mut Inner, event: ConnectionEvent) {
        let Some(changed) = inner.connections.take(self.clock.now(), event) else {
            return;
        };
        let (upstream, to) = (&self.upstream, changed.to.as_str());
        if changed.to == ConnectionState::HeartbeatLost {
            tracing::warn!(
                upstream,
                "answers are under way, and nothing comes any more"
            );
        } else {
            tracing::debug!(upstream, state = to, "connection state");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that runs under the lock can leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialling {
    /// It was made, and carries a request.
    pub(super) fn made(mut self) -> Line {
        self.is_made = true;
        let link = &self.link;
        let mut inner = link.lock();
        let id = inner.next;
        inner.next += 1;
        let pulse = Arc::new(Pulse {
            link: Arc::clone(link),
            id,
            heard: AtomicBool::new(true),
        });
        let watched = Watched {
            pulse: Arc::clone(&pulse),
            in_use: true,
            quiet: 0,
        };
        inner.lines.insert(id, watched);
        link.take(&mut inner, ConnectionEvent::Dialled);
        Line(pulse)
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if !self.is_made {
            let link = &self.link;
            link.take(&mut link.lock(), ConnectionEvent::DialFailed);
        }
    }
}

impl Line {
    /// Something came. This is all that a read costs.
    pub(super) fn heard(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }

    /// It carries a request from now on, or none.
    pub(super) fn set_in_use(&self, in_use: bool) {
        self.0.set_in_use(in_use);
    }

    /// For who knows what it carries, and does not hold it.
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.0)
    }
}

impl Pulse {
    /// Whom it leads to.
    pub(super) fn upstream(&self) -> &str {
        &self.link.upstream
    }

    /// The connection carries a request from now on, or none.
    pub(super) fn set_in_use(&self, in_use: bool) {
        let link = &self.link;
        let mut inner = link.lock();
        let Some(line) = inner.lines.get_mut(&self.id) else {
            return;
        };
        if line.in_use == in_use {
            return;
        }
        let was_silent = line.is_silent();
        (line.in_use, line.quiet) = (in_use, 0);
        self.heard.store(true, Ordering::Relaxed);
        if was_silent {
            link.take(&mut inner, ConnectionEvent::SpokeAgain);
        }
        let event = if in_use {
            ConnectionEvent::Taken
        } else {
            ConnectionEvent::Returned
        };
        link.take(&mut inner, event);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let link = &self.0.link;
        let mut inner = link.lock();
        let Some(line) = inner.lines.remove(&self.0.id) else {
            return;
        };
        if line.is_silent() {
            link.take(&mut inner, ConnectionEvent::SpokeAgain);
        }
        let event = if line.in_use {
            ConnectionEvent::ClosedInUse
        } else {
            ConnectionEvent::ClosedIdle
        };
        link.take(&mut inner, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(link: &Link) -> (&'static str, u32, u32) {
        let sight = link.sight();
        (sight.state.as_str(), sight.in_use, sight.idle)
    }

    #[test]
    fn it_follows_a_connection_through_its_life() {
        let link = Link::new("u");
        assert_eq!(seen(&link), ("disconnected", 0, 0));
        let dialling = link.dial();
        assert_eq!(seen(&link), ("connecting", 0, 0));
        drop(dialling);
        assert_eq!(seen(&link), ("disconnected", 0, 0));
        let line = link.dial().made();
        assert_eq!(seen(&link), ("connected", 1, 0));
        line.set_in_use(false);
        assert_eq!(seen(&link), ("connected", 0, 1));
        line.set_in_use(true);
        assert_eq!(seen(&link), ("connected", 1, 0));
        drop(line);
        assert_eq!(seen(&link), ("disconnected", 0, 0));
    }

    #[test]
    fn silence_shows_after_some_looks_and_ends_with_the_next_word() {
        let link = Link::new("u");
        let line = link.dial().made();
        let look = |times| (0..times).for_each(|_| link.watch());
        // The first look finds that it was made just now.
        look(UPSTREAM_SILENT_WATCHES);
        assert_eq!(seen(&link).0, "connected");
        look(1);
        assert_eq!(seen(&link).0, "heartbeat_lost");
        line.heard();
        look(1);
        assert_eq!(seen(&link).0, "connected");
        look(UPSTREAM_SILENT_WATCHES);
        assert_eq!(seen(&link).0, "heartbeat_lost");
        let other = link.dial().made();
        assert_eq!(seen(&link).0, "connected");
        drop(other);
        assert_eq!(seen(&link).0, "heartbeat_lost");
        line.set_in_use(false);
        look(2 * UPSTREAM_SILENT_WATCHES);
        assert_eq!(seen(&link), ("connected", 0, 1));
    }
}
