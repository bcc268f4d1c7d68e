//! Limits that gateways share by way of their database.
//!
//! A request waits for one round trip. What follows it, corrections and slots that are given back, is
//! told in the background; renewals as well. While the database does not answer, each gateway counts
//! for itself, in memory, and nobody waits: the database is asked now and then whether it is back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everstream_core::id::StreamId;
use everstream_core::limits::{
    LIMITS_PATIENCE, LIMITS_RETRY, LIMITS_SWEEP, SLOT_LEASE, SLOT_RENEW,
};
use everstream_core::policy::limit::rate;
use everstream_store::counters::{Counters, CountersFuture, Hold, Refusal, Settle, Take, Taken};
use everstream_store::sql::Catalog;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

pub(super) struct Shared {
    catalog: Arc<dyn Catalog>,
    clock: Clock,
    is_gone: AtomicBool,
    books: Mutex<Books>,
    /// There are ends to be told.
    bell: Notify,
    /// Held while something is told, so that nothing overtakes it.
    telling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Books {
    /// The slots that are held.
    holds: HashMap<StreamId, Vec<String>>,
    /// What is over and is to be told.
    ends: Vec<Settle>,
    /// How many of these there are, with those that are being told.
    untold: usize,
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
            telling: tokio::sync::Mutex::new(()),
        }))
    }

    /// Whether the database answers, as far as is known.
    pub(super) fn is_there(&self) -> bool {
        !self.is_gone.load(Ordering::Relaxed)
    }

    /// `None` if the database does not answer.
    pub(super) async fn take(&self, wish: &Take) -> Option<Taken> {
        let is_behind = self.lock().untold > 0;
        let mut taken = self.ask(|counters| counters.take(wish)).await?;
        // What this gateway has given back was perhaps not told when that was asked.
        let may_pass = matches!(
            taken.refusal,
            Some(Refusal::Slots(_) | Refusal::Rate(rate::Refusal::Wait { .. }))
        );
        if is_behind && may_pass {
            self.tell_ends().await;
            taken = self.ask(|counters| counters.take(wish)).await?;
        }
        if taken.refusal.is_none() && !wish.seats.is_empty() {
            let seats = wish.seats.iter().map(|seat| seat.key.clone()).collect();
            self.lock().holds.insert(wish.holder, seats);
        }
        Some(taken)
    }

    pub(super) fn settle(&self, end: Settle) {
        let mut books = self.lock();
        books.holds.remove(&end.holder);
        books.ends.push(end);
        books.untold += 1;
        drop(books);
        self.bell.notify_one();
    }

    /// Tells what is over, renews leases, forgets what is idle.
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
                () = stop.cancelled() => break,
                () = self.bell.notified() => self.tell_ends().await,
                _ = renew.tick() => self.renew().await,
                _ = sweep.tick() => {
                    let now = self.clock.now();
                    self.ask(|counters| counters.sweep(now)).await;
                }
                _ = retry.tick(), if !self.is_there() => self.renew().await,
            }
        }
        self.tell_ends().await;
    }

    async fn tell_ends(&self) {
        let _alone = self.telling.lock().await;
        let ends = std::mem::take(&mut self.lock().ends);
        if ends.is_empty() {
            return;
        }
        // If it fails, leases run out, and what was reserved too much is paid off by time.
        self.ask(|counters| counters.settle(&ends)).await;
        self.lock().untold -= ends.len();
    }

    async fn renew(&self) {
        let _alone = self.telling.lock().await;
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
        let was_gone = self.is_gone.swap(answer.is_none(), Ordering::Relaxed);
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
