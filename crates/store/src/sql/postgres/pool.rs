//! The connections.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, PoolError, QueueMode, RecyclingMethod, Runtime,
    TimeoutType,
};
use tokio::time::Instant;

use super::PostgresConfig;
use super::connect::Dialer;
use super::error::refused;
use crate::sql::CatalogError;

/// How often the pool is looked after, at least.
const TEND: Duration = Duration::from_secs(15);

/// What the pool looks like just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections at most.
    pub max: usize,
    /// Connections there are.
    pub open: usize,
    /// Connections that nobody uses.
    pub idle: usize,
    /// Who waits for one.
    pub waiting: usize,
    /// Connections that were held for too long, since the start.
    pub leaks: u64,
}

/// A watch on a pool, for metrics. It does not keep the pool open.
#[derive(Clone)]
pub struct PoolWatch(Weak<Pool>);

impl std::fmt::Debug for PoolWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PoolWatch").field(&self.status()).finish()
    }
}

impl PoolWatch {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self(Arc::downgrade(pool))
    }

    /// How it stands; nothing, once the catalogue is gone.
    pub fn status(&self) -> PoolStatus {
        self.0.upgrade().map_or_else(PoolStatus::default, |pool| {
            let status = pool.connections.status();
            PoolStatus {
                max: status.max_size,
                open: status.size,
                idle: status.available,
                waiting: status.waiting,
                leaks: pool.leaks.load(Ordering::Relaxed),
            }
        })
    }

    /// Takes a connection, for as long as what is given back lives. The place that calls is what a
    /// leak is reported with.
    #[track_caller]
    pub fn hold(&self) -> impl Future<Output = Result<impl Send + 'static, CatalogError>> + Send {
        let place = Location::caller();
        let pool = self.0.upgrade();
        async move { pool.ok_or(CatalogError::Closed)?.acquire_at(place).await }
    }
}

/// The pool.
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    loans: Arc<Mutex<HashMap<u64, Loan>>>,
    next: AtomicU64,
    leaks: AtomicU64,
    leak_after: Duration,
    idle_timeout: Duration,
    acquire_timeout: Duration,
}

/// A connection that somebody holds.
struct Loan {
    since: Instant,
    place: &'static Location<'static>,
    is_reported: bool,
}

impl Pool {
    pub(super) fn new(dialer: &Dialer, config: &PostgresConfig) -> Result<Self, CatalogError> {
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_connect(
            dialer.config.clone(),
            dialer.clone(),
            ManagerConfig { recycling_method },
        );
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(config.pool_size.max(1))
            .wait_timeout(Some(config.acquire_timeout))
            .create_timeout(Some(config.acquire_timeout))
            .recycle_timeout(Some(config.acquire_timeout))
            // The last one used is used next, so that those too many become idle.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build();
        let connections = pool.map_err(|error| CatalogError::Invalid(error.to_string()))?;
        Ok(Self {
            connections,
            loans: Arc::default(),
            next: AtomicU64::new(0),
            leaks: AtomicU64::new(0),
            leak_after: config.leak_after,
            idle_timeout: config.idle_timeout,
            acquire_timeout: config.acquire_timeout,
        })
    }

    pub(super) fn max(&self) -> usize {
        self.connections.status().max_size
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }

    pub(super) async fn acquire_at(
        &self,
        place: &'static Location<'static>,
    ) -> Result<Held, CatalogError> {
        let connection = self.connections.get().await;
        let connection = connection.map_err(|error| self.unavailable(&error))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let loan = Loan {
            since: Instant::now(),
            place,
            is_reported: false,
        };
        lock(&self.loans).insert(number, loan);
        Ok(Held {
            connection: Some(connection),
            number,
            place,
            loans: Arc::clone(&self.loans),
            patience: self.acquire_timeout,
        })
    }

    fn unavailable(&self, error: &PoolError) -> CatalogError {
        let waited = self.acquire_timeout;
        match error {
            PoolError::Timeout(TimeoutType::Wait) => CatalogError::Busy(format!(
                "all {} connections to the database are in use, and none came free within \
                 {waited:?}: make the pool larger, or find out what is slow",
                self.max()
            )),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                CatalogError::Unreachable(format!("no connection within {waited:?}"))
            }
            PoolError::Backend(error) => refused(error, waited),
            PoolError::Closed => CatalogError::Closed,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                CatalogError::Failed(error.to_string())
            }
        }
    }

    fn report_leaks(&self) {
        for loan in lock(&self.loans).values_mut() {
            let held_for = loan.since.elapsed();
            if held_for > self.leak_after && !loan.is_reported {
                loan.is_reported = true;
                self.leaks.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    taken_at = %loan.place,
                    ?held_for,
                    "a connection to the database is held for too long: it has leaked"
                );
            }
        }
    }
}

/// Reports leaks and closes idle connections, as long as there is a pool.
pub(super) async fn tend(pool: Weak<Pool>) {
    while let Some(pool) = pool.upgrade() {
        pool.report_leaks();
        let idle = pool.idle_timeout;
        pool.connections
            .retain(|_, metrics| metrics.last_used() < idle);
        let pause = TEND.min(pool.leak_after / 4).min(pool.idle_timeout / 4);
        drop(pool);
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
    }
}

/// A connection of the pool. It goes back when it is dropped, unless it is in the midst of something.
pub(super) struct Held {
    connection: Option<Object>,
    number: u64,
    place: &'static Location<'static>,
    loans: Arc<Mutex<HashMap<u64, Loan>>>,
    pub(super) patience: Duration,
}

impl Held {
    /// Where it was taken.
    pub(super) const fn place(&self) -> &'static Location<'static> {
        self.place
    }

    /// Whether the database has closed it.
    pub(super) fn is_lost(&self) -> bool {
        self.connection
            .as_ref()
            .is_none_or(|connection| connection.is_closed())
    }

    /// The connection; [`CatalogError::Closed`] never happens but between drops.
    pub(super) fn get(&self) -> Result<&ClientWrapper, CatalogError> {
        self.connection.as_deref().ok_or(CatalogError::Closed)
    }

    /// Takes the connection out of the pool: it is closed when this is dropped.
    pub(super) fn discard(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.loans).remove(&self.number);
    }
}

fn lock(loans: &Mutex<HashMap<u64, Loan>>) -> MutexGuard<'_, HashMap<u64, Loan>> {
    loans.lock().unwrap_or_else(PoisonError::into_inner)
}
