use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everstream_core::limits::UPSTREAM_SHARED_STREAMS;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::connection::{Shared, begin};
use super::failure::io;
use crate::upstream::UpstreamErrorKind;
use crate::upstream::link::Line;

/// The connections of one upstream that requests share. A request goes to the one that carries the
/// fewest. Where all are full, another is made; those who come meanwhile and fit on it wait for it, so
/// that a burst makes no connection for each request.
pub(in crate::upstream) struct Pool {
    inner: Mutex<Inner>,
    most_idle: usize,
    longest: Duration,
}

#[derive(Default)]
struct Inner {
    /// The oldest first.
    open: Vec<Entry>,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// Streams for those who wait, on connections that are being made or have not said what they take.
    promised: usize,
    /// What the upstream chose last is HTTP/1.1: nobody waits for what others are making.
    is_http1: bool,
    next: u64,
}

struct Entry {
    shared: Arc<Shared>,
    streams: usize,
    limit: usize,
    /// Its part of what is promised.
    promise: usize,
    idle_since: Instant,
}

/// Who may go on, and how.
pub(super) enum Turn {
    /// With a stream of a connection.
    Stream(Slot),
    /// By making a connection.
    Dial(Ticket),
}

/// A place on a connection. Dropping it makes it free.
pub(super) struct Slot {
    pool: Arc<Pool>,
    shared: Arc<Shared>,
}

/// A connection that is being made. Dropping it lets somebody else make it.
pub(super) struct Ticket {
    pool: Arc<Pool>,
    promise: usize,
}

/// Turns that were given while the pool was locked, to be told afterwards: one whose request is gone
/// gives its place back.
type Turns = Vec<(oneshot::Sender<Turn>, Turn)>;

impl Pool {
    /// Room for `most_idle` connections that nobody uses, which are kept for `longest`.
    pub(in crate::upstream) fn new(most_idle: usize, longest: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            most_idle,
            longest,
        })
    }

    /// Waits for a connection that others are making, if it will have room.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let turn = {
            let mut inner = self.lock();
            if let Some(slot) = self.free(&mut inner) {
                return Turn::Stream(slot);
            }
            inner.waiting.retain(|waiting| !waiting.is_closed());
            if inner.is_http1 || inner.waiting.len() >= inner.promised {
                return Turn::Dial(self.ticket(&mut inner));
            }
            let (sender, turn) = oneshot::channel();
            inner.waiting.push_back(sender);
            turn
        };
        match turn.await {
            Ok(turn) => turn,
            // Nobody drops those who wait.
            Err(_) => Turn::Dial(Ticket {
                pool: Arc::clone(self),
                promise: 0,
            }),
        }
    }

    /// So many streams the upstream takes on this connection.
    pub(super) fn set_room(self: &Arc<Self>, id: u64, room: usize) {
        self.change(|inner| {
            if let Some(entry) = inner.open.iter_mut().find(|entry| entry.shared.id == id) {
                entry.limit = room.min(UPSTREAM_SHARED_STREAMS);
                inner.promised -= std::mem::take(&mut entry.promise);
            }
        });
    }

    /// The connection has ended.
    pub(super) fn forget(self: &Arc<Self>, id: u64) {
        self.change(|inner| inner.keep(|entry| entry.shared.id != id));
    }

    /// Closes what was idle for too long, and what was told to go away once it is idle.
    pub(in crate::upstream) fn close_old(self: &Arc<Self>) {
        let now = Instant::now();
        self.change(|inner| {
            inner.keep(|entry| {
                let is_old = entry.streams == 0 && now - entry.idle_since >= self.longest;
                !is_old && entry.shared.is_open()
            });
        });
    }

    /// Closes what nobody uses.
    pub(in crate::upstream) fn close_idle(self: &Arc<Self>) {
        self.change(|inner| inner.keep(|entry| entry.streams > 0));
    }

    #[cfg(test)]
    pub(in crate::upstream) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// A place on the connection with the fewest requests, of equals on the oldest, so that the others
    /// grow old and go.
    fn free(self: &Arc<Self>, inner: &mut Inner) -> Option<Slot> {
        loop {
            let free = inner.open.iter_mut();
            let free = free.filter(|entry| entry.streams < entry.limit);
            let entry = free.min_by_key(|entry| entry.streams)?;
            if !entry.shared.is_open() {
                let id = entry.shared.id;
                inner.keep(|entry| entry.shared.id != id);
                continue;
            }
            entry.streams += 1;
            if entry.streams == 1 {
                entry.shared.set_in_use(true);
            }
            return Some(Slot {
                pool: Arc::clone(self),
                shared: Arc::clone(&entry.shared),
            });
        }
    }

    fn ticket(self: &Arc<Self>, inner: &mut Inner) -> Ticket {
        let promise = if inner.is_http1 {
            0
        } else {
            UPSTREAM_SHARED_STREAMS - 1
        };
        inner.promised += promise;
        Ticket {
            pool: Arc::clone(self),
            promise,
        }
    }

    fn give_back(self: &Arc<Self>, id: u64) {
        self.change(|inner| {
            let Some(entry) = inner.open.iter_mut().find(|entry| entry.shared.id == id) else {
                return;
            };
            entry.streams -= 1;
            if entry.streams > 0 {
                return;
            }
            entry.idle_since = Instant::now();
            entry.shared.set_in_use(false);
            let idle = inner.open.iter().filter(|entry| entry.streams == 0);
            if inner.waiting.is_empty() && idle.count() > self.most_idle {
                inner.keep(|entry| entry.shared.id != id);
            }
        });
    }

    /// Changes something, and lets those go on who can.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Inner)) {
        let turns = {
            let mut inner = self.lock();
            change(&mut inner);
            self.turns(&mut inner)
        };
        for (waiting, turn) in turns {
            let _ = waiting.send(turn);
        }
    }

    fn turns(self: &Arc<Self>, inner: &mut Inner) -> Turns {
        inner.waiting.retain(|waiting| !waiting.is_closed());
        let mut turns = Turns::new();
        while !inner.waiting.is_empty() {
            let turn = if let Some(slot) = self.free(inner) {
                Turn::Stream(slot)
            } else if inner.is_http1 || inner.waiting.len() > inner.promised {
                Turn::Dial(self.ticket(inner))
            } else {
                break;
            };
            if let Some(waiting) = inner.waiting.pop_front() {
                turns.push((waiting, turn));
            }
        }
        turns
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that runs under the lock can leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Lets go of the connections that are not to be kept: each ends with the last of its answers.
    fn keep(&mut self, keep: impl Fn(&Entry) -> bool) {
        let promised = &mut self.promised;
        self.open.retain(|entry| {
            let kept = keep(entry);
            if !kept {
                *promised -= entry.promise;
            }
            kept
        });
    }
}

impl Ticket {
    /// The connection is made, and the upstream chose HTTP/2: its first stream. How many more there are
    /// it says soon, and until then those who wait do.
    pub(super) async fn open(
        mut self,
        stream: Box<TlsStream<TcpStream>>,
        line: Line,
    ) -> Result<Slot, UpstreamErrorKind> {
        let id = {
            let mut inner = self.pool.lock();
            inner.next += 1;
            inner.next
        };
        let (shared, driven) = match begin(stream, line, id).await {
            Ok(begun) => begun,
            Err(error) => {
                self.failed();
                return Err(UpstreamErrorKind::Connect(io(error)));
            }
        };
        let (pool, shared) = (Arc::clone(&self.pool), Arc::new(shared));
        pool.change(|inner| {
            inner.is_http1 = false;
            inner.open.push(Entry {
                shared: Arc::clone(&shared),
                streams: 1,
                limit: 1,
                promise: std::mem::take(&mut self.promise),
                idle_since: Instant::now(),
            });
        });
        tokio::spawn(driven.run(Arc::downgrade(&pool)));
        Ok(Slot { pool, shared })
    }

    /// The upstream chose HTTP/1.1. Those who wait make connections of their own.
    pub(super) fn chose_http1(self) {
        self.pool.change(|inner| inner.is_http1 = true);
    }

    /// No connection could be made. Those who waited for it try for themselves.
    pub(super) fn failed(mut self) {
        let promise = std::mem::take(&mut self.promise);
        let pool = Arc::clone(&self.pool);
        let alone: Vec<_> = {
            let mut inner = pool.lock();
            inner.promised -= promise;
            let spare = inner.waiting.len().saturating_sub(inner.promised);
            inner.waiting.drain(..spare).collect()
        };
        for waiting in alone {
            let pool = Arc::clone(&pool);
            let _ = waiting.send(Turn::Dial(Ticket { pool, promise: 0 }));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let promise = std::mem::take(&mut self.promise);
        if promise > 0 {
            self.pool.change(|inner| inner.promised -= promise);
        }
    }
}

impl Deref for Slot {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.give_back(self.shared.id);
    }
}
