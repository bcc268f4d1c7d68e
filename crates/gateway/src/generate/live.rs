//! A running generation as its readers see it: the newest events in memory, and who waits for more.
//!
//! Nothing is published here before the log acknowledged it. A reader that is further behind than
//! the tail kept here reads the log; what every attached reader has taken is dropped at once, so an
//! idle stream holds next to nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Event, Status};
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::End;
use tokio::sync::Notify;

pub use super::batch::Batch;

/// How a live stream ended for its readers.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The terminal record is logged.
    Logged(Arc<End>),
    /// The log refused even that; readers are told this instead.
    Lost(Error),
}

/// One running generation.
#[derive(Debug)]
pub struct Live {
    id: StreamId,
    /// An append is under way: [`IDLE`], [`APPENDING`] or [`GIVEN_UP`].
    append: AtomicU8,
    shared: Mutex<Shared>,
    /// Wakes the driver when the readers changed or somebody wants something.
    pub(super) attention: Notify,
}

const IDLE: u8 = 0;
const APPENDING: u8 = 1;
/// Readers were told that it hangs.
const GIVEN_UP: u8 = 2;

#[derive(Debug, Default)]
struct Shared {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// The newest published event.
    last: Seq,
    /// Who was asked last.
    upstream: Option<String>,
    ending: Option<Ending>,
    readers: Vec<Option<Slot>>,
    attached: usize,
    /// Some reader got all of it, the end included.
    delivered: bool,
    wishes: Wishes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    stop: Option<ErrorCode>,
    keep: bool,
}

/// See [`Live::news`].
pub(super) struct News {
    pub(super) stop: Option<ErrorCode>,
    pub(super) keep: bool,
    pub(super) readers: usize,
}

#[derive(Debug)]
struct Slot {
    seen: Seq,
    waker: Option<Waker>,
}

/// What a live stream has for a reader just now.
#[derive(Debug)]
pub enum Next {
    /// Events, some of which it may have seen.
    Batch(Arc<Batch>),
    /// It has seen all there will ever be.
    Ended(Ending),
    /// Its next event is not in memory any more.
    Behind,
}

impl Live {
    /// A generation without events.
    pub fn new(id: StreamId) -> Arc<Self> {
        Self::behind(id, Seq::ZERO)
    }

    /// One whose events up to `last` are in the log alone.
    pub fn behind(id: StreamId, last: Seq) -> Arc<Self> {
        let shared = Shared {
            last,
            ..Shared::default()
        };
        Arc::new(Self {
            id,
            append: AtomicU8::new(IDLE),
            shared: Mutex::new(shared),
            attention: Notify::new(),
        })
    }

    /// The stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Asks the driver to stop the upstream and end the stream, for this reason.
    pub fn stop(&self, why: ErrorCode) {
        self.lock().wishes.stop.get_or_insert(why);
        self.attention.notify_one();
    }

    /// Tells the driver that readers come and go elsewhere from now on.
    pub fn keep(&self) {
        self.lock().wishes.keep = true;
        self.attention.notify_one();
    }

    /// What the driver was woken for: what somebody wants, and how many readers there are.
    pub(super) fn news(&self) -> News {
        let mut shared = self.lock();
        let Wishes { stop, keep } = shared.wishes;
        shared.wishes.keep = false;
        News {
            stop,
            keep,
            readers: shared.attached,
        }
    }

    /// An upstream is about to be asked.
    pub(super) fn asked(&self, upstream: String) {
        self.lock().upstream = Some(upstream);
    }

    /// Who answers, once something of the answer was published.
    pub fn upstream(&self) -> Option<String> {
        let shared = self.lock();
        let began = shared.last > Seq::ZERO;
        shared.upstream.clone().filter(|_| began)
    }

    /// How many readers are attached.
    pub fn readers(&self) -> usize {
        self.lock().attached
    }

    /// Whether a repeat of the request belongs here: it runs and is unanswered or unread, or it
    /// completed and nobody has got all of it. A failed one is not worth attaching to.
    pub(super) fn is_wanting(&self) -> bool {
        let shared = self.lock();
        match &shared.ending {
            None => shared.attached == 0 || shared.last == Seq::ZERO,
            Some(Ending::Logged(end)) => end.status == Status::Completed && !shared.delivered,
            Some(Ending::Lost(_)) => false,
        }
    }

    /// Attaches a reader that has seen everything up to `seen`; `None` when there are too many.
    pub fn attach(self: &Arc<Self>, seen: Seq, most: usize) -> Option<Attachment> {
        let mut shared = self.lock();
        if shared.attached >= most {
            return None;
        }
        shared.attached += 1;
        let slot = Slot { seen, waker: None };
        let free = shared.readers.iter().position(Option::is_none);
        let index = if let Some(index) = free {
            shared.readers[index] = Some(slot);
            index
        } else {
            shared.readers.push(Some(slot));
            shared.readers.len() - 1
        };
        drop(shared);
        self.attention.notify_one();
        Some(Attachment {
            live: Arc::clone(self),
            index,
        })
    }

    /// Hands acknowledged events to the readers. Without readers nothing is rendered or kept.
    pub(super) fn publish(&self, events: Vec<Event>, ending: Option<Ending>) {
        let last = events.last().map(|event| event.seq);
        let wanted = self.lock().attached > 0 && !events.is_empty();
        let batch = wanted.then(|| Arc::new(Batch::render(self.id, events)));
        let mut shared = self.lock();
        shared.last = last.unwrap_or(shared.last);
        if let Some(batch) = batch {
            shared.bytes += batch.frames.len();
            shared.batches.push_back(batch);
        } else if last.is_some() {
            // A gap in memory: whoever comes now starts from the log.
            shared.batches.clear();
            shared.bytes = 0;
        }
        shared.ending = ending.or(shared.ending.take());
        shared.trim();
        for slot in shared.readers.iter_mut().flatten() {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// An append begins.
    pub(super) fn appending(&self) {
        self.append.store(APPENDING, Ordering::Relaxed);
    }

    /// It is over. If readers were told that it hangs, those who come from now on read on.
    pub(super) fn appended(&self) {
        if self.append.swap(IDLE, Ordering::Relaxed) == GIVEN_UP {
            self.lock().ending = None;
        }
    }

    /// Tells the readers of a stream whose append hangs, and has its task hang with it.
    pub fn give_up_append(&self, why: Error) {
        let swapped =
            self.append
                .compare_exchange(APPENDING, GIVEN_UP, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            self.publish(Vec::new(), Some(Ending::Lost(why)));
        }
    }

    /// Ends the stream for its readers if its task ended without doing so, by a panic. If its end
    /// is not logged, why.
    pub(super) fn lost(&self) -> Option<ErrorCode> {
        let ending = self.lock().ending.clone();
        match ending {
            Some(Ending::Logged(_)) => None,
            Some(Ending::Lost(error)) => Some(error.code),
            None => {
                let message = "The task that wrote this stream died.";
                let error = Error::new(ErrorCode::Internal, message);
                self.publish(Vec::new(), Some(Ending::Lost(error)));
                Some(ErrorCode::Internal)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Drops what every reader has, and what does not fit; the newest batch always stays, as its
    /// readers are being woken for it.
    fn trim(&mut self) {
        let seen = self.readers.iter().flatten().map(|slot| slot.seen).min();
        let seen = seen.unwrap_or(self.last);
        while let Some(oldest) = self.batches.front() {
            let taken = oldest.last() <= seen;
            let over = self.bytes > limits::LIVE_TAIL_BYTES && self.batches.len() > 1;
            if !taken && !over {
                break;
            }
            self.bytes -= oldest.frames.len();
            self.batches.pop_front();
        }
    }
}

/// A reader's place at a live stream. Dropping it is leaving.
#[derive(Debug)]
pub struct Attachment {
    live: Arc<Live>,
    index: usize,
}

impl Attachment {
    /// The live stream.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What follows `seq`; pending, with the waker kept, when nothing does yet.
    pub fn poll_next(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Next> {
        let mut shared = self.live.lock();
        if seq < shared.last {
            let next = seq.next();
            let found = shared.batches.iter().find(|batch| batch.last() >= next);
            let found = found.filter(|batch| batch.events.first().is_some_and(|e| e.seq <= next));
            return Poll::Ready(found.map_or(Next::Behind, |batch| Next::Batch(Arc::clone(batch))));
        }
        if let Some(ending) = shared.ending.clone() {
            shared.delivered = true;
            return Poll::Ready(Next::Ended(ending));
        }
        if let Some(Some(slot)) = shared.readers.get_mut(self.index) {
            slot.seen = seq;
            match &mut slot.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        shared.trim();
        Poll::Pending
    }

    /// How the stream ended, if it did and nothing follows `seq`.
    pub fn ending_at(&self, seq: Seq) -> Option<Ending> {
        let shared = self.live.lock();
        if seq >= shared.last {
            shared.ending.clone()
        } else {
            None
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut shared = self.live.lock();
        if let Some(slot) = shared.readers.get_mut(self.index) {
            *slot = None;
        }
        shared.attached -= 1;
        if shared.attached == 0 {
            shared.readers.clear();
            shared.batches.clear();
            shared.bytes = 0;
        }
        drop(shared);
        self.live.attention.notify_one();
    }
}
