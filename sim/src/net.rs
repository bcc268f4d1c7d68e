//! The network: virtual time, and connections in memory that are slow, cut, refused and parted.
//!
//! All times are whole milliseconds since the start of the world. Nothing happens between two events
//! of the queue but what the gateway's own timers do.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::pipe::{Endpoint, Lane, Piece};
use crate::random::Random;
use crate::trace::Trace;

pub(crate) type Millis = u64;
pub(crate) type LaneId = usize;

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    /// Something was put into the queue before the moment up to which the gateway runs.
    sooner: Arc<Notify>,
}

pub(crate) struct State {
    now: Millis,
    /// While the gateway runs: its own moment that was `now`.
    running_since: Option<Instant>,
    /// It runs up to here, unless something comes sooner.
    horizon: Millis,
    /// How many events were ever put into the queue, so that those of one moment keep their order.
    order: u64,
    queue: BTreeMap<Key, Event>,
    pub(crate) lanes: Vec<Lane>,
    ports: Vec<Port>,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
}

/// Those of one moment by their lanes and then in the order in which they came: of what the gateway does
/// at one moment on many connections the order is chance, which comes from the runtime.
type Key = (Millis, LaneId, u64);

enum Event {
    Wake(Waker),
    /// The oldest piece in flight on a lane arrives.
    Arrive(LaneId),
    /// The connection of a lane's reader is reset.
    Reset(LaneId),
}

/// What a way is like.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// How long a piece takes.
    pub(crate) latency: (Millis, Millis),
    /// Bytes under way or unread at most.
    pub(crate) window: usize,
    /// Bytes a millisecond.
    pub(crate) bandwidth: usize,
    /// When nothing arrives.
    pub(crate) parted: Vec<Range<Millis>>,
}

/// Where somebody listens, or not.
#[derive(Default)]
struct Port {
    attitude: Attitude,
    backlog: VecDeque<Endpoint>,
    listener: Option<Waker>,
}

/// What becomes of who connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Attitude {
    /// There is nobody.
    #[default]
    Refuses,
    Listens,
    /// What is sent there is lost.
    Swallows,
}

impl Net {
    pub(crate) fn new(random: Random, ports: usize, trace: Trace) -> Self {
        let state = State {
            now: 0,
            running_since: None,
            horizon: 0,
            order: 0,
            queue: BTreeMap::new(),
            lanes: Vec::new(),
            ports: (0..ports).map(|_| Port::default()).collect(),
            random,
            trace,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            sooner: Arc::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Millis {
        self.lock().now()
    }

    pub(crate) fn note(&self, what: impl AsRef<str>) {
        let mut state = self.lock();
        let now = state.now();
        state.trace.note(now, what.as_ref());
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Millis> {
        let state = self.lock();
        state.queue.first_key_value().map(|(key, _)| key.0)
    }

    /// From now on the time is that of the runtime this is called in, until [`stopped`](Self::stopped).
    pub(crate) fn runs_until(&self, horizon: Millis) {
        let mut state = self.lock();
        state.running_since = Some(Instant::now());
        state.horizon = horizon;
    }

    /// Waits until something happens before the horizon.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// Ends what the gateway is doing now.
    pub(crate) fn interrupt(&self) {
        self.sooner.notify_one();
    }

    /// The runtime stands still. Called within it.
    pub(crate) fn stopped(&self) {
        let mut state = self.lock();
        state.now = state.now();
        state.running_since = None;
        state.horizon = 0;
    }

    /// Time passes while no gateway runs.
    pub(crate) fn pass_to(&self, now: Millis) {
        let mut state = self.lock();
        state.now = state.now.max(now);
    }

    /// Somebody may write on, now.
    pub(crate) fn room(&self, writer: Option<Waker>) {
        if let Some(writer) = writer {
            writer.wake();
            self.interrupt();
        }
    }

    /// Makes everything happen that is due.
    pub(crate) fn happen(&self) {
        loop {
            let mut state = self.lock();
            let now = state.now;
            let due = state.queue.first_entry().filter(|next| next.key().0 <= now);
            let Some(due) = due else { return };
            let woken = match due.remove() {
                Event::Wake(waker) => [Some(waker), None],
                Event::Arrive(lane) => [state.arrive(lane), None],
                Event::Reset(lane) => state.reset(lane),
            };
            drop(state);
            woken.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Waits so long.
    pub(crate) async fn sleep(&self, time: Millis) {
        let until = self.now() + time;
        let mut alarm = Alarm {
            net: self,
            key: None,
        };
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.now() >= until {
                return Poll::Ready(());
            }
            let wake = Event::Wake(cx.waker().clone());
            match alarm.key {
                Some(key) => {
                    state.queue.insert(key, wake);
                }
                None => alarm.key = Some(self.schedule(&mut state, until, wake)),
            }
            Poll::Pending
        })
        .await;
    }

    /// Connects to a port. Nothing comes of it while the link is parted.
    pub(crate) async fn connect(&self, link: &Arc<Link>, port: usize) -> io::Result<Endpoint> {
        self.travel(link).await;
        let attitude = self.lock().ports[port].attitude;
        match attitude {
            Attitude::Swallows => std::future::pending().await,
            Attitude::Refuses => {
                self.travel(link).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Attitude::Listens => {
                let (ours, theirs) = Endpoint::pair(self, link);
                let waker = {
                    let mut state = self.lock();
                    let port = &mut state.ports[port];
                    port.backlog.push_back(theirs);
                    port.listener.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
                self.travel(link).await;
                Ok(ours)
            }
        }
    }

    /// The next connection to a port.
    pub(crate) async fn accept(&self, port: usize) -> Endpoint {
        poll_fn(|cx| {
            let mut state = self.lock();
            let port = &mut state.ports[port];
            if let Some(endpoint) = port.backlog.pop_front() {
                return Poll::Ready(endpoint);
            }
            port.listener = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Decides what becomes of who connects from now on. What waits is forgotten, unless it listens.
    pub(crate) fn turn(&self, port: usize, attitude: Attitude) {
        let mut state = self.lock();
        let port = &mut state.ports[port];
        port.attitude = attitude;
        let waiting = std::mem::take(&mut port.backlog);
        if attitude == Attitude::Listens {
            port.backlog = waiting;
        } else {
            // Dropping them locks the network.
            drop(state);
            drop(waiting);
        }
    }

    async fn travel(&self, link: &Link) {
        let latency = {
            let mut state = self.lock();
            let at = state.now();
            let (least, most) = link.latency;
            let arrival = at + state.random.between(least, most);
            link.healed(arrival) - at
        };
        self.sleep(latency).await;
    }

    /// Puts a piece on its way.
    pub(crate) fn send(&self, state: &mut State, lane: LaneId, piece: Piece) {
        let at = state.arrival(lane, &piece);
        state.lanes[lane].fly(at, piece);
        self.schedule(state, at, Event::Arrive(lane));
    }

    /// Tells the reader of a lane that its connection is no more.
    pub(crate) fn send_reset(&self, state: &mut State, lane: LaneId) {
        let now = state.now();
        let at = now + state.lanes[lane].latency();
        let at = state.lanes[lane].link.healed(at);
        self.schedule(state, at, Event::Reset(lane));
    }

    fn schedule(&self, state: &mut State, at: Millis, event: Event) -> Key {
        state.order += 1;
        let lane = match event {
            Event::Wake(_) => LaneId::MAX,
            Event::Arrive(lane) | Event::Reset(lane) => lane,
        };
        let key = (at, lane, state.order);
        state.queue.insert(key, event);
        if at < state.horizon {
            self.sooner.notify_one();
        }
        key
    }
}

impl State {
    pub(crate) fn now(&self) -> Millis {
        let passed = self.running_since.map(|since| since.elapsed().as_millis());
        self.now + Millis::try_from(passed.unwrap_or(0)).unwrap_or(Millis::MAX)
    }

    /// When a piece arrives: after all before it.
    fn arrival(&mut self, lane: LaneId, piece: &Piece) -> Millis {
        let now = self.now();
        let lane = &mut self.lanes[lane];
        let takes = (piece.len() / lane.link.bandwidth) as Millis;
        let at = now + lane.latency() + takes;
        lane.link.healed(at).max(lane.last_arrival)
    }

    fn arrive(&mut self, lane: LaneId) -> Option<Waker> {
        let now = self.now;
        let piece = self.lanes[lane].land()?;
        self.trace.arrival(now, lane, &piece);
        self.lanes[lane].take_in(piece)
    }

    /// Neither reading nor writing goes on.
    fn reset(&mut self, lane: LaneId) -> [Option<Waker>; 2] {
        let now = self.now;
        self.trace.note(now, &format!("reset on {lane}"));
        let back = self.lanes[lane].back;
        [self.lanes[lane].reset(), self.lanes[back].writer.take()]
    }
}

impl Link {
    /// Whether a request and the first event pass within a second or so.
    pub(crate) fn is_good(&self, time: Range<Millis>) -> bool {
        let mut parted = self.parted.iter();
        let whole = !parted.any(|p| p.start < time.end && time.start < p.end);
        whole && self.latency.1 <= 100 && self.window >= 1 << 10
    }

    /// The first moment from `at` on at which something can arrive.
    pub(crate) fn healed(&self, at: Millis) -> Millis {
        let parted = self.parted.iter().find(|parted| parted.contains(&at));
        parted.map_or(at, |parted| parted.end)
    }
}

/// Takes its event out of the queue when nobody waits for it any more.
struct Alarm<'a> {
    net: &'a Net,
    key: Option<Key>,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.net.lock().queue.remove(&key);
        }
    }
}
