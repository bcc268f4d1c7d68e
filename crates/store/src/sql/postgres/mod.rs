//! `PostgreSQL`.

mod connect;
mod error;
mod pool;
mod transaction;
mod watch;

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::limits;
use everstream_core::secret::Secret;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;

use self::connect::Dialer;
use self::pool::{Held, Pool};
pub use self::pool::{PoolStatus, PoolWatch};
use self::transaction::Transaction;
use super::engine::{Driver, Effect, Operation, SqlCatalog};
use super::migrate::{GetVersion, Migrate};
use super::ops::{RenewSlots, SettleLimits, SweepLimits, TakeLimits};
use super::{Catalog, CatalogError, migrate};
use crate::counters::{Counters, CountersFuture, Hold, Settle, Take, Taken};

/// How often an operation is run that the database wants to have run again.
const ATTEMPTS: u32 = 5;

/// What a catalogue in `PostgreSQL` is opened with.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Where it is and who comes: `postgres://user:password@host:5432/database?sslmode=require`.
    pub address: Secret,
    /// Connections at most, one more for hints aside. CPU cores times two serve well.
    pub pool_size: usize,
    /// How long an operation waits for a connection of the pool, and for a new one.
    pub acquire_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// How long a connection may be held before it is reported, with where it was taken.
    pub leak_after: Duration,
    /// How long an operation may take, the wait for a connection included.
    pub patience: Duration,
    /// With which certificates the database proves who it is. Without, and without
    /// `sslmode=require`, it is talked to in plain text.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl PostgresConfig {
    /// The defaults for an address.
    pub fn new(address: Secret, pool_size: usize) -> Self {
        Self {
            address,
            pool_size,
            acquire_timeout: limits::CATALOG_ACQUIRE_TIMEOUT,
            idle_timeout: limits::CATALOG_IDLE_TIMEOUT,
            leak_after: limits::CATALOG_LEAK_AFTER,
            patience: limits::CATALOG_PATIENCE,
            tls: None,
        }
    }
}

/// Opens a catalogue in `PostgreSQL`, and a watch on its connections. Fails only for an address that
/// is none: a database that cannot be reached, or brought to this program's schema, fails
/// [`Catalog::check`], and every other operation, until it can. Needs a runtime.
pub fn open(config: &PostgresConfig) -> Result<(Arc<dyn Catalog>, PoolWatch), CatalogError> {
    let hint = Arc::new(Notify::new());
    let dialer = Dialer::new(config, Arc::clone(&hint))?;
    let pool = Arc::new(Pool::new(&dialer, config)?);
    let watch = PoolWatch::new(&pool);
    let postgres = Postgres {
        tasks: vec![
            tokio::spawn(watch::listen(dialer)),
            tokio::spawn(pool::tend(Arc::downgrade(&pool))),
        ],
        pool,
        hint,
        patience: config.patience,
        schema: OnceCell::new(),
    };
    Ok((Arc::new(SqlCatalog(postgres)), watch))
}

struct Postgres {
    pool: Arc<Pool>,
    hint: Arc<Notify>,
    patience: Duration,
    /// Set once the database has this program's schema.
    schema: OnceCell<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Driver for Postgres {
    #[track_caller]
    fn run<O: Operation>(
        &self,
        operation: O,
    ) -> impl Future<Output = Result<O::Output, CatalogError>> + Send {
        let place = Location::caller();
        async move {
            let answer = tokio::time::timeout(self.patience, self.serve(&operation, place)).await;
            let answer = answer.map_err(|_| CatalogError::Slow(self.patience))?;
            if O::EFFECT == Effect::Writes && answer.is_ok() {
                self.hint.notify_waiters();
            }
            answer
        }
    }

    fn counters(catalog: &SqlCatalog<Self>) -> Option<&dyn Counters> {
        Some(catalog)
    }

    async fn hint(&self) {
        self.hint.notified().await;
    }

    async fn close(&self) {
        self.pool.close();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Counters for SqlCatalog<Postgres> {
    fn take<'a>(&'a self, wishes: &'a [Take]) -> CountersFuture<'a, Vec<Taken>> {
        Box::pin(self.0.run(TakeLimits::new(wishes)))
    }

    fn settle<'a>(&'a self, ends: &'a [Settle]) -> CountersFuture<'a, ()> {
        Box::pin(self.0.run(SettleLimits::new(ends)))
    }

    fn renew<'a>(&'a self, holds: &'a [Hold], until: UnixMillis) -> CountersFuture<'a, ()> {
        Box::pin(self.0.run(RenewSlots::new(holds, until)))
    }

    fn sweep(&self, now: UnixMillis) -> CountersFuture<'_, ()> {
        Box::pin(self.0.run(SweepLimits(now)))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Postgres {
    async fn serve<O: Operation>(
        &self,
        operation: &O,
        place: &'static Location<'static>,
    ) -> Result<O::Output, CatalogError> {
        let mut held = self.pool.acquire_at(place).await?;
        let migrated = self
            .schema
            .get_or_try_init(async || {
                if self.transact(&mut held, &GetVersion).await? == migrate::KNOWN {
                    return Ok(());
                }
                self.transact(&mut held, &Migrate).await
            })
            .await;
        migrated?;
        self.transact(&mut held, operation).await
    }

    async fn transact<O: Operation>(
        &self,
        held: &mut Held,
        operation: &O,
    ) -> Result<O::Output, CatalogError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut transaction = self.begin::<O>(held).await?;
            let error = match operation.run(&mut transaction).await {
                Ok(output) => match transaction.commit().await {
                    Ok(()) => return Ok(output),
                    Err(error) => error,
                },
                Err(error) => {
                    transaction.rollback().await;
                    error
                }
            };
            if !transaction.is_to_be_repeated() || attempt == ATTEMPTS {
                return Err(error);
            }
        }
    }

    /// A connection of the pool may have died unseen, and nothing has happened on it: then another
    /// one serves.
    async fn begin<'a, O: Operation>(
        &self,
        held: &'a mut Held,
    ) -> Result<Transaction<'a>, CatalogError> {
        for _ in 0..=self.pool.max() {
            match Transaction::begin(held, O::EFFECT, O::LOCK).await {
                Ok(()) => break,
                Err(error) if !held.is_lost() => return Err(error),
                Err(_) => *held = self.pool.acquire_at(held.place()).await?,
            }
        }
        Ok(Transaction::new(held, O::EFFECT))
    }
}
