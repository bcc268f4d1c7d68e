//! The catalogue's part: reserves, and the way from an end to the ledger.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use everstream_core::calendar::DateTime;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits;
use everstream_store::disk::OsDisk;
use everstream_store::sql::queue::{LedgerQueue, OnAlert, QueueConfig, QueueError};
use everstream_store::sql::values::{Alert, LedgerEntry, Payer, Refusal, ReserveRequest, Reserved};
use everstream_store::sql::{Catalog, CatalogError};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::Hold;
use super::audit::{Clerk, Source};
use super::covered::Covered;
use crate::clock::Clock;
use crate::telemetry::billing::BillingMetrics;

/// Alerts that wait for whoever hears them.
const ALERTS: usize = 64;
/// Reserves that are renewed at once.
const RENEWED: usize = 256;

pub(super) struct Books {
    catalog: Arc<dyn Catalog>,
    pub(super) queue: Arc<LedgerQueue>,
    pub(super) alerts: broadcast::Sender<Alert>,
    /// `None` until the budgets are read: then any may be.
    covered: ArcSwapOption<Covered>,
    /// The reserves of generations that run here.
    running: Mutex<HashMap<StreamId, ReserveRequest>>,
    /// One was taken over, and may have to be renewed at once.
    adopted: Notify,
    /// Until then the database is not asked for reserves, in milliseconds: it did not answer.
    rests_until: AtomicU64,
    /// The ledger's queue takes nothing.
    is_full: Arc<AtomicBool>,
    bills: mpsc::Sender<Bill>,
    /// Lets the clerk gather no longer.
    hurry: Arc<Notify>,
    clerk: Mutex<Option<JoinHandle<()>>>,
    /// Reserves that are being given back.
    errands: TaskTracker,
    metrics: BillingMetrics,
    clock: Clock,
}

/// What is to be written to the ledger.
pub(super) enum Bill {
    /// This, of a generation that ended then, if the log has it.
    Entry(LedgerEntry, Option<UnixMillis>),
    /// What the log says of this generation, which ended then.
    Logged(StreamId, UnixMillis),
    /// All that came before: tells when it is settled.
    Tell(oneshot::Sender<()>),
    /// There is nothing more.
    Close,
}

/// What became of a reserve.
pub(super) enum Asked {
    Held,
    Refused(Refusal),
    /// It may be held or not.
    Unavailable,
}

impl Books {
    pub(super) fn open(
        dir: PathBuf,
        catalog: Arc<dyn Catalog>,
        source: Source,
        metrics: BillingMetrics,
        clock: Clock,
    ) -> Result<Arc<Self>, QueueError> {
        let (alerts, _) = broadcast::channel(ALERTS);
        let config = QueueConfig::new(dir);
        let on_alert = tell(alerts.clone(), metrics.clone());
        let queue = LedgerQueue::open(config, Arc::new(OsDisk), Arc::clone(&catalog), on_alert)?;
        let queue = Arc::new(queue);
        let is_full = Arc::new(AtomicBool::new(false));
        let (bills, incoming) = mpsc::channel(limits::BILLS);
        let hurry = Arc::new(Notify::new());
        let clerk = Clerk::new(
            source,
            Arc::clone(&queue),
            Arc::clone(&is_full),
            Arc::clone(&hurry),
            clock,
        );
        let clerk = tokio::spawn(clerk.run(incoming));
        Ok(Arc::new(Self {
            catalog,
            queue,
            alerts,
            covered: ArcSwapOption::empty(),
            running: Mutex::default(),
            adopted: Notify::new(),
            rests_until: AtomicU64::new(0),
            is_full,
            bills,
            hurry,
            clerk: Mutex::new(Some(clerk)),
            errands: TaskTracker::new(),
            metrics,
            clock,
        }))
    }

    pub(super) async fn close(&self) {
        self.errands.close();
        self.errands.wait().await;
        let clerk = self
            .clerk
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(clerk) = clerk {
            self.bills.send(Bill::Close).await.ok();
            self.hurry.notify_one();
            clerk.await.ok();
        }
        self.queue.close().await;
    }

    pub(super) async fn settled(&self) {
        let (told, heard) = oneshot::channel();
        if self.bills.send(Bill::Tell(told)).await.is_ok() {
            self.hurry.notify_one();
            heard.await.ok();
        }
        self.queue.drained().await;
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    pub(super) fn covers(&self, payer: &Payer) -> bool {
        let covered = self.covered.load();
        covered.as_ref().is_none_or(|covered| covered.covers(payer))
    }

    /// Writes to the ledger what a generation cost. If there is no room for it, it is found in the
    /// log, if it ended there.
    pub(super) fn write(&self, entry: LedgerEntry, ended_at: Option<UnixMillis>) {
        let Err(error) = self.bills.try_send(Bill::Entry(entry, ended_at)) else {
            return;
        };
        let bill = error.into_inner();
        if ended_at.is_none() {
            let bills = self.bills.clone();
            self.errand(async move { bills.send(bill).await.unwrap_or_default() });
        }
    }

    /// A generation ended of which nothing is known here.
    pub(super) fn found(&self, stream: StreamId, ended_at: UnixMillis) {
        self.bills.try_send(Bill::Logged(stream, ended_at)).ok();
    }

    /// Reserves what `hold` says.
    pub(super) async fn ask(&self, hold: &Hold) -> Asked {
        let now = self.clock.now();
        if now.0 < self.rests_until.load(Ordering::Relaxed) {
            self.metrics.reserved("unavailable");
            return Asked::Unavailable;
        }
        let request = hold.request(now);
        let reserved = timeout(limits::RESERVE_PATIENCE, self.catalog.reserve(&request)).await;
        let trouble = match reserved {
            Ok(Ok(Reserved::Held(_))) => {
                self.metrics.reserved("held");
                return Asked::Held;
            }
            Ok(Ok(Reserved::Refused(refusal))) => {
                self.metrics.reserved("refused");
                return Asked::Refused(refusal);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_late) => "it took too long".to_owned(),
        };
        let rests = now.plus(limits::RESERVE_REST);
        self.rests_until.store(rests.0, Ordering::Relaxed);
        tracing::warn!(%trouble, "the database of budgets gives no reserves just now");
        self.metrics.reserved("unavailable");
        Asked::Unavailable
    }

    /// Renews a reserve from now on.
    pub(super) fn keep(&self, hold: &Hold) {
        let request = hold.request(self.clock.now());
        self.running().insert(hold.stream, request);
    }

    /// Renews it no more.
    pub(super) fn let_go(&self, stream: StreamId) {
        self.running().remove(&stream);
    }

    /// Gives a reserve back whose generation did not begin. What is not given back lapses.
    pub(super) fn give_back(&self, stream: StreamId) {
        let catalog = Arc::clone(&self.catalog);
        self.errand(async move {
            if let Err(error) = catalog.release(stream).await {
                tracing::debug!(%stream, %error, "a reserve is left to lapse");
            }
        });
    }

    /// Gives a reserve back when all that ended before is settled, so that it counts until then.
    pub(super) fn give_back_later(self: &Arc<Self>, stream: StreamId) {
        let books = Arc::clone(self);
        self.errand(async move {
            timeout(limits::RESERVE_PATIENCE, books.settled())
                .await
                .ok();
            books.catalog.release(stream).await.ok();
        });
    }

    /// Does something that nobody waits for, but the end of the process.
    pub(super) fn errand(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.errands.spawn_on(work, &runtime);
        }
    }

    /// Follows which budgets there are.
    pub(super) async fn follow(&self, changed: &Notify) {
        loop {
            let now = self.clock.now();
            let pause = match Covered::read(&*self.catalog, now).await {
                Ok(covered) => {
                    self.covered.store(Some(Arc::new(covered)));
                    limits::BUDGETS_REREAD
                }
                Err(error) => {
                    tracing::warn!(%error, "it is not known just now which budgets there are");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = changed.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Keeps the reserves of generations that run from lapsing.
    pub(super) async fn renew(&self) {
        loop {
            tokio::select! {
                () = sleep(limits::RESERVE_RENEW) => {}
                () = self.adopted.notified() => {}
            }
            if let Err(error) = self.renew_all().await {
                tracing::warn!(%error, "reserves are not renewed just now");
            }
        }
    }

    /// Something may have to be renewed before its time.
    pub(super) fn hurry(&self) {
        self.adopted.notify_one();
    }

    async fn renew_all(&self) -> Result<(), CatalogError> {
        let streams: Vec<_> = self.running().keys().copied().collect();
        for streams in streams.chunks(RENEWED) {
            let now = self.clock.now();
            let until = now.plus(limits::RESERVE_LEASE);
            let renewed = self.catalog.renew(streams, now, until).await?;
            for stream in streams.iter().filter(|stream| !renewed.contains(stream)) {
                let request = self.running().get(stream).cloned();
                let Some(request) = request else { continue };
                // It lapsed, or was never had, as the database was gone. What is refused now runs on:
                // it was let in.
                let request = ReserveRequest {
                    now,
                    lease_until: until,
                    ..request
                };
                self.catalog.reserve(&request).await?;
                if !self.running().contains_key(stream) {
                    // It ended meanwhile, and may be settled already.
                    self.catalog.release(*stream).await?;
                }
            }
        }
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<StreamId, ReserveRequest>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is done about an alert.
fn tell(alerts: broadcast::Sender<Alert>, metrics: BillingMetrics) -> OnAlert {
    Box::new(move |alert| {
        let Alert {
            budget,
            percent,
            limit,
            spent,
            since,
        } = &alert;
        tracing::warn!(
            %budget,
            percent,
            %limit,
            spent = %everstream_core::money::Money(*spent),
            since = DateTime::from(*since).date(),
            "a budget has crossed a threshold"
        );
        metrics.alerted();
        // Nobody may be listening.
        let _ = alerts.send(alert);
    })
}
