//! What generations may cost, and what they did.
//!
//! Before a generation begins, the worst that it may cost is reserved in every budget that covers its
//! payer ([`Hold`]). When it has ended, what its log says that it used is written to the ledger
//! ([`books`]), which adds it to the budgets and frees the reserve, all in one step.
//!
//! **Settled exactly once.** The terminal record comes first, the ledger after it: what a generation
//! cost is known for certain only when nothing can be appended to it any more. Between the two a
//! process may be killed, so the log is searched at each start, and every [`AUDIT_EVERY`] for the sake
//! of processes that died beside this one, for generations that ended and were not written yet
//! ([`audit`]). One that is written twice changes nothing, as the ledger has one row for each stream.
//! The other order would settle what never ended so: an answer whose end did not get into the log may
//! go on in another process, and cost more.
//!
//! [`AUDIT_EVERY`]: everstream_core::limits::AUDIT_EVERY

mod audit;
mod books;
mod covered;
mod hold;
mod meter;
mod passed;
mod quote;
mod tab;

use std::io;
use std::path::Path;
use std::sync::Arc;

use everstream_core::calendar::DateTime;
use everstream_core::config::{Backend, BudgetsConfig, Config, Otherwise};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Usage;
use everstream_core::id::StreamId;
use everstream_core::money::Money;
use everstream_core::policy::price::PriceTable;
use everstream_core::record::{Accepted, End};
use everstream_store::StreamLog;
use everstream_store::sql::Catalog;
use everstream_store::sql::queue::QueueStatus;
use everstream_store::sql::values::{Alert, Payer, Refusal};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::telemetry::billing::BillingMetrics;
use books::{Asked, Books};
pub use hold::Hold;
pub use meter::Meter;
pub use passed::Passed;
pub use quote::{Order, Target};
pub use tab::{Tab, account_of, payer_of};

/// Prices, budgets and the ledger.
pub struct Billing {
    prices: PriceTable,
    policy: BudgetsConfig,
    books: Option<Arc<Books>>,
    metrics: BillingMetrics,
    clock: Clock,
}

impl std::fmt::Debug for Billing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Billing")
    }
}

impl Billing {
    /// The billing of a configuration. Without a catalogue there are neither budgets nor a ledger.
    /// Needs a runtime.
    ///
    /// # Errors
    /// When the ledger's queue cannot be opened in the data directory.
    pub fn open(
        config: &Config,
        data_dir: &Path,
        catalog: Option<Arc<dyn Catalog>>,
        log: Arc<dyn StreamLog>,
        clock: Clock,
    ) -> io::Result<Arc<Self>> {
        let metrics = BillingMetrics::default();
        let prices = config.price_table();
        let books = match catalog {
            None => None,
            Some(catalog) => {
                std::fs::create_dir_all(data_dir)?;
                // A log in memory holds nothing that an earlier process left.
                let mark =
                    (config.log.backend == Backend::Disk).then(|| data_dir.join("ledger.mark"));
                let dir = data_dir.join("ledger");
                let source = audit::Source {
                    log,
                    prices: prices.clone(),
                    mark,
                };
                let books = Books::open(dir, catalog, source, metrics.clone(), clock);
                Some(books.map_err(io::Error::other)?)
            }
        };
        Ok(Arc::new(Self {
            prices,
            policy: config.budgets.clone(),
            books,
            metrics,
            clock,
        }))
    }

    /// Follows which budgets there are, and renews reserves, until `stop`. `changed` says that budgets
    /// may have changed.
    pub async fn run(&self, changed: Arc<Notify>, stop: CancellationToken) {
        let Some(books) = &self.books else { return };
        let work = async {
            tokio::join!(books.follow(&changed), books.renew());
        };
        stop.run_until_cancelled(work).await;
    }

    /// Writes what is left to the ledger, as far as its database takes it.
    pub async fn close(&self) {
        if let Some(books) = &self.books {
            books.close().await;
        }
    }

    /// What is counted.
    pub const fn metrics(&self) -> &BillingMetrics {
        &self.metrics
    }

    /// How the ledger's queue stands, if there is one.
    pub fn queue(&self) -> Option<QueueStatus> {
        self.books.as_ref().map(|books| books.queue.status())
    }

    /// Alerts of budgets, from now on: each threshold that is crossed, once in its period.
    pub fn alerts(&self) -> Option<broadcast::Receiver<Alert>> {
        self.books.as_ref().map(|books| books.alerts.subscribe())
    }

    /// Waits until all that ended before is in the ledger.
    pub async fn settled(&self) {
        if let Some(books) = &self.books {
            books.settled().await;
        }
    }

    /// Whether nothing is to be asked before the payer spends something: no budget covers it, which is
    /// known without the database.
    pub fn is_free(&self, payer: &Payer) -> bool {
        let is_bound = |books: &Arc<Books>| books.is_full() || books.covers(payer);
        let is_bound = self.books.as_ref().is_some_and(is_bound);
        !is_bound && self.policy.unpriced == Otherwise::Allow
    }

    /// Reserves the worst that a generation may cost, if a budget covers the payer. `draw` draws the
    /// id that it will have.
    ///
    /// # Errors
    /// [`ErrorCode::ModelUnpriced`], [`ErrorCode::InsufficientQuota`], and
    /// [`ErrorCode::BudgetUnavailable`], as the operator wants it.
    pub async fn reserve(
        &self,
        payer: Payer,
        order: &Order<'_>,
        draw: impl FnOnce() -> Result<StreamId, Error>,
    ) -> Result<Option<Hold>, Error> {
        if self.policy.unpriced == Otherwise::Refuse {
            order.require_prices(&self.prices)?;
        }
        let Some(books) = &self.books else {
            return Ok(None);
        };
        if books.is_full() {
            return Err(full());
        }
        if !books.covers(&payer) {
            return Ok(None);
        }
        let amount = order.worst_case(&self.prices, &self.policy);
        self.hold(books, payer, amount, draw()?).await.map(Some)
    }

    async fn hold(
        &self,
        books: &Arc<Books>,
        payer: Payer,
        amount: Money,
        stream: StreamId,
    ) -> Result<Hold, Error> {
        let hold = Hold::new(books, stream, payer, amount, self.clock.now());
        let must_hold = self.policy.when_unavailable == Otherwise::Refuse;
        match books.ask(&hold).await {
            Asked::Refused(refusal) => {
                hold.forget();
                Err(used_up(&refusal))
            }
            Asked::Unavailable if must_hold => Err(unavailable()),
            Asked::Held | Asked::Unavailable => Ok(hold),
        }
    }

    /// Holds on to the reserve of a generation that a dead process had begun.
    pub fn adopt(&self, stream: StreamId, accepted: &Accepted, order: &Order<'_>) -> Option<Hold> {
        let payer = payer_of(accepted);
        let books = self.books.as_ref().filter(|books| books.covers(&payer))?;
        let amount = order.worst_case(&self.prices, &self.policy);
        let hold = Hold::new(books, stream, payer, amount, accepted.created_at).begun();
        books.hurry();
        Some(hold)
    }

    /// A generation ended, and its end is in the log. Without a tab its log is read.
    pub fn ended(&self, stream: StreamId, tab: Option<Tab>, end: &End) {
        let Some(tab) = tab else {
            if let Some(books) = &self.books {
                books.found(stream, end.at);
            }
            return;
        };
        let charge = tab.bill.charge(end, &self.prices);
        self.metrics.charged(end.upstream.as_deref(), &charge);
        if let Some(books) = &self.books {
            books.write(tab.entry(end, charge), Some(end.at));
        }
    }

    /// Watches the answer that has this reserve, if answers are to end with their budgets.
    pub fn meter(&self, hold: &Hold) -> Option<Meter> {
        let lenient = self.policy.when_unavailable == Otherwise::Allow;
        self.policy.hard_stop.then(|| hold.meter(lenient))
    }

    /// What a generation has cost so far, with what its latest attempt has used.
    pub fn so_far(&self, tab: &Tab, attempt: u32, usage: &Usage) -> Money {
        tab.bill.so_far(attempt, usage, &self.prices).cost
    }
}

fn used_up(refusal: &Refusal) -> Error {
    let Refusal {
        budget,
        limit,
        spent,
        reserved,
        resets_at,
    } = refusal;
    let message = format!(
        "The budget `{budget}` is used up: {} of {limit} dollars are spent, and {} reserved by \
         requests that run. It begins anew on {} (UTC). Ask the operator for more.",
        Money(*spent),
        Money(*reserved),
        DateTime::from(*resets_at).date(),
    );
    Error::new(ErrorCode::InsufficientQuota, message)
}

fn unavailable() -> Error {
    let message = "The database of budgets does not answer, and without it nothing that costs money \
                   may begin; try again.";
    soon(Error::new(ErrorCode::BudgetUnavailable, message))
}

fn full() -> Error {
    let message = "The ledger's database did not answer for so long that nothing more may wait for \
                   it; nothing that costs money may begin.";
    soon(Error::new(ErrorCode::BudgetUnavailable, message))
}

fn soon(mut error: Error) -> Error {
    error.retry_after = Some(std::time::Duration::from_secs(1));
    error
}
