//! Limits that gateways share by way of their database.
//!
//! One task talks with the database. While one question is on its way, those that come are gathered and
//! asked together, after what was given back meanwhile has been told. Leases are renewed between. While the database does not answer, each gateway counts
//! for itself, in memory, and nobody waits: the database is asked now and then whether it is back.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstream_core::id::StreamId;
use everstream_core::limits::{
    LIMITS_BATCH, LIMITS_PATIENCE, LIMITS_RETRY, LIMITS_SWEEP, SLOT_LEASE, SLOT_RENEW,
};
use everstream_store::counters::{Counters, CountersFuture, Hold, Settle, Take, Taken};
use everstream_store::sql::Catalog;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

pub(super) struct Shared {
    catalog: Arc<dyn Catalog>,
    clock: Clock,
    is_gone: AtomicBool,
    books: Mutex<Books>,
    /// There is something to be told or asked.
    bell: Notify,
}

#[derive(Default)]
struct Books {
    /// The slots that are held.
    holds: HashMap<StreamId, Vec<String>>,
    /// What is over and is to be told.
    ends: Vec<Settle>,
    /// What is to be asked, and who waits for the answer.
    wishes: VecDeque<(Take, oneshot::Sender<Taken>)>,
}

impl Shared {
    /// `None` if the catalogue is this process's alone.
    pub(super) fn new(catalog: Arc<dyn Catalog>, clock: Clock) -> Option<Arc<Self>> {
        catalog.counters()?;
        Some(Arc::new(Self {
            catalog,
            clock,
            is_gone: AtomicBool::new(false),
            books: Mutex::default(),
            bell: Notify::new(),
        }))
    }

    /// Whether the database answers, as far as is known.
    pub(super) fn is_there(&self) -> bool {
        !self.is_gone.load(Ordering::SeqCst)
    }

    /// `None` if the database does not answer.
    pub(super) async fn take(&self, wish: Take) -> Option<Taken> {
        let seats: Vec<_> = wish.seats.iter().map(|seat| seat.key.clone()).collect();
        let holder = wish.holder;
        let (tell, told) = oneshot::channel();
        self.lock().wishes.push_back((wish, tell));
        self.bell.notify_one();
        if !self.is_there() {
            return None;
        }
        let taken = told.await.ok()?;
        if taken.refusal.is_none() && !seats.is_empty() {
            self.lock().holds.insert(holder, seats);
        }
        Some(taken)
    }

    pub(super) fn settle(&self, end: Settle) {
        let mut books = self.lock();
        books.holds.remove(&end.holder);
        books.ends.push(end);
        drop(books);
        self.bell.notify_one();
    }

    /// Tells what is over, asks what is wished, renews leases, forgets what is idle: one after the other,
    /// so that nothing overtakes anything.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let every = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut renew, mut sweep) = (every(SLOT_RENEW), every(LIMITS_SWEEP));
        let mut retry = every(LIMITS_RETRY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = renew.tick() => self.renew().await,
                _ = retry.tick(), if !self.is_there() => self.renew().await,
                _ = sweep.tick() => {
                    let now = self.clock.now();
                    self.ask(|counters| counters.sweep(now)).await;
                }
                () = self.bell.notified() => self.turn().await,
            }
        }
        self.turn().await;
        self.is_gone.store(true, Ordering::SeqCst);
        self.lock().wishes.clear();
    }

    /// Tells all that is over, and then asks what was wished until now. Those whose question fails are
    /// not kept waiting.
    async fn turn(&self) {
        let (ends, wishes) = {
            let mut books = self.lock();
            let count = books.wishes.len().min(LIMITS_BATCH);
            let wishes: Vec<_> = books.wishes.drain(..count).collect();
            if !books.wishes.is_empty() {
                self.bell.notify_one();
            }
            (std::mem::take(&mut books.ends), wishes)
        };
        if !ends.is_empty() {
            // If it fails, leases run out, and what was reserved too much is paid off by time.
            self.ask(|counters| counters.settle(&ends)).await;
        }
        if wishes.is_empty() || !self.is_there() {
            return;
        }
        let (wishes, waiting): (Vec<_>, Vec<_>) = wishes.into_iter().unzip();
        let taken = self.ask(|counters| counters.take(&wishes)).await;
        for (tell, taken) in waiting.into_iter().zip(taken.unwrap_or_default()) {
            // Who does not wait any more has its lease run out.
            let _gone = tell.send(taken);
        }
    }

    async fn renew(&self) {
        let holds: Vec<Hold> = {
            let books = self.lock();
            let holds = books.holds.iter().flat_map(|(holder, keys)| {
                keys.iter().map(|key| Hold {
                    holder: *holder,
                    key: key.clone(),
                })
            });
            holds.collect()
        };
        let until = self.clock.now().plus(SLOT_LEASE);
        self.ask(|counters| counters.renew(&holds, until)).await;
    }

    /// What the database answers in time. Whether it does is what is known of it from then on.
    async fn ask<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a dyn Counters) -> CountersFuture<'a, T>,
    ) -> Option<T> {
        let answer = timeout(LIMITS_PATIENCE, ask(self.catalog.counters()?)).await;
        let (answer, why) = match answer {
            Ok(Ok(answer)) => (Some(answer), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(format!("no answer within {LIMITS_PATIENCE:?}"))),
        };
        let was_gone = self.is_gone.swap(answer.is_none(), Ordering::SeqCst);
        match (was_gone, why) {
            (false, Some(why)) => {
                tracing::warn!(%why, "limits are counted in this gateway alone until the database answers");
            }
            (true, None) => tracing::info!("limits are shared again"),
            _ => {}
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing that runs under the lock can leave it half changed.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
