//! Operations, and what runs them.
//!
//! An operation is written once against [`Sql`], a transaction on some database. `SQLite` answers
//! at once, on a thread of its own; `PostgreSQL` over the network. Statements are the same text for
//! both wherever they can be.

mod catalog;
mod value;

use std::future::Future;

pub(super) use catalog::SqlCatalog;
pub(super) use value::{Row, Value};

use super::CatalogError;
use crate::counters::Counters;

/// A database's own kind of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement with parameters `$1`, `$2` ..., all of which it uses.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Statement {
    /// The same text for both.
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    /// A text for each.
    pub(super) const fn of(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    pub(super) const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// A transaction.
pub(super) trait Sql: Send {
    fn dialect(&self) -> Dialect;

    /// Runs a statement and gives its rows.
    fn query(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, CatalogError>> + Send;

    /// Runs a statement and says how many rows it changed.
    fn execute(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> impl Future<Output = Result<u64, CatalogError>> + Send;

    /// Runs a statement with the parameters of each row, and says how many rows each has changed.
    fn execute_each(
        &mut self,
        statement: &'static Statement,
        rows: &[Vec<Value>],
    ) -> impl Future<Output = Result<Vec<u64>, CatalogError>> + Send;

    /// Runs a script without parameters.
    fn script(
        &mut self,
        text: &'static str,
    ) -> impl Future<Output = Result<(), CatalogError>> + Send;
}

/// What an operation does to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Reads,
    /// It is one statement, which is a transaction of its own. It writes nothing that lasts.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "there is no such statement for SQLite")
    )]
    Single,
    /// It writes what a power loss may take back: a lease, which time takes back anyhow.
    Leases,
    /// It writes what stays.
    Writes,
}

/// What an operation locks from its beginning to its end, where the database runs several at once.
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "SQLite runs one at a time")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Nothing but the rows it touches.
    Rows,
    /// The set of budgets, against [`Lock::Budgets`].
    Spending,
    /// The set of budgets: whoever spends has seen all budgets or none of this change.
    Budgets,
    /// The schema.
    Schema,
}

/// Something that happens as a whole in one transaction; it is run again when the database asks for
/// that.
pub(super) trait Operation: Send + Sync + 'static {
    type Output: Send + 'static;
    const EFFECT: Effect;
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "SQLite runs one at a time")
    )]
    const LOCK: Lock = Lock::Rows;

    fn run<S: Sql>(
        &self,
        sql: &mut S,
    ) -> impl Future<Output = Result<Self::Output, CatalogError>> + Send;
}

/// What runs operations.
pub(super) trait Driver: Send + Sync + 'static {
    /// The caller's place in the program is what a connection that is held too long is reported
    /// with.
    #[track_caller]
    fn run<O: Operation>(
        &self,
        operation: O,
    ) -> impl Future<Output = Result<O::Output, CatalogError>> + Send;

    /// The counters that all who use the database share, if it can hold any.
    fn counters(_catalog: &SqlCatalog<Self>) -> Option<&dyn Counters>
    where
        Self: Sized,
    {
        None
    }

    /// Waits for a hint that something changed; for ever, if no hint comes.
    fn hint(&self) -> impl Future<Output = ()> + Send;

    fn close(&self) -> impl Future<Output = ()> + Send;
}
