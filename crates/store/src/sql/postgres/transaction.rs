//! A transaction on a connection of the pool.

use bytes::BytesMut;
use futures_util::future::join_all;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::error::{is_to_be_repeated, refused};
use super::pool::Held;
use crate::sql::CatalogError;
use crate::sql::engine::{Dialect, Effect, Lock, Row, Sql, Statement, Value};

/// How transactions begin. The locks are those of all processes of the program: `EVRS` in ASCII,
/// and what of it.
macro_rules! begin {
    (reads) => {
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    };
    (leases, $lock:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit TO off; ",
            $lock
        )
    };
    (writes, $lock:literal) => {
        concat!("BEGIN ISOLATION LEVEL READ COMMITTED; ", $lock)
    };
}

/// A transaction that has begun. Dropped before its end, it takes its connection with it.
pub(super) struct Transaction<'a> {
    held: &'a mut Held,
    is_over: bool,
    /// It is one statement, of which the database makes a transaction.
    is_single: bool,
    is_to_be_repeated: bool,
}

impl<'a> Transaction<'a> {
    /// Begins one on a connection; [`new`](Self::new) takes it over.
    pub(super) async fn begin(
        held: &mut Held,
        effect: Effect,
        lock: Lock,
    ) -> Result<(), CatalogError> {
        let text = match (effect, lock) {
            (Effect::Single, _) => return Ok(()),
            (Effect::Reads, _) => begin!(reads),
            (Effect::Leases, Lock::Spending) => {
                begin!(leases, "SELECT pg_advisory_xact_lock_shared(1163285075, 1)")
            }
            (Effect::Leases, _) => begin!(leases, ""),
            (Effect::Writes, Lock::Rows) => begin!(writes, ""),
            (Effect::Writes, Lock::Spending) => {
                begin!(writes, "SELECT pg_advisory_xact_lock_shared(1163285075, 1)")
            }
            (Effect::Writes, Lock::Budgets) => {
                begin!(writes, "SELECT pg_advisory_xact_lock(1163285075, 1)")
            }
            (Effect::Writes, Lock::Schema) => {
                begin!(writes, "SELECT pg_advisory_xact_lock(1163285075, 2)")
            }
        };
        let patience = held.patience;
        let mut begun = Transaction::new(held, effect);
        let answer = begun.held.get()?.batch_execute(text).await;
        match answer {
            Ok(()) => begun.is_over = true,
            // The connection is good if it can be rolled back.
            Err(_) => begun.rollback().await,
        }
        answer.map_err(|error| refused(&error, patience))
    }

    /// The transaction that [`begin`](Self::begin) began.
    pub(super) fn new(held: &'a mut Held, effect: Effect) -> Self {
        let is_single = effect == Effect::Single;
        Self {
            held,
            is_over: is_single,
            is_single,
            is_to_be_repeated: false,
        }
    }

    /// Whether the database wants it to be run again.
    pub(super) const fn is_to_be_repeated(&self) -> bool {
        self.is_to_be_repeated
    }

    pub(super) async fn commit(&mut self) -> Result<(), CatalogError> {
        if self.is_single {
            return Ok(());
        }
        let committed = self.held.get()?.batch_execute("COMMIT").await;
        self.is_over = committed.is_ok();
        committed.map_err(|error| self.failed(&error))
    }

    /// One that cannot be rolled back is given up with its connection.
    pub(super) async fn rollback(&mut self) {
        if self.is_single {
            return;
        }
        if let Ok(connection) = self.held.get() {
            self.is_over = connection.batch_execute("ROLLBACK").await.is_ok();
        }
    }

    fn failed(&mut self, error: &tokio_postgres::Error) -> CatalogError {
        self.is_to_be_repeated |= is_to_be_repeated(error);
        refused(error, self.held.patience)
    }

    async fn ask(
        &self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<Asked, CatalogError> {
        let connection = self.held.get()?;
        let answer = async {
            let text = statement.text(Dialect::Postgres);
            let statement = connection.prepare_cached(text).await?;
            let parameters: Vec<_> = parameters
                .iter()
                .map(|value| value as &(dyn ToSql + Sync))
                .collect();
            if statement.columns().is_empty() {
                let changed = connection.execute(&statement, &parameters).await?;
                return Ok((Vec::new(), changed));
            }
            let rows = connection.query(&statement, &parameters).await?;
            let count = rows.len() as u64;
            Ok((rows, count))
        };
        Ok(answer.await)
    }
}

/// Rows, and how many there were or were changed.
type Asked = Result<(Vec<tokio_postgres::Row>, u64), tokio_postgres::Error>;

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.held.discard();
        }
    }
}

impl Sql for Transaction<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn query(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<Vec<Row>, CatalogError> {
        let asked = self.ask(statement, parameters).await?;
        let (rows, _) = asked.map_err(|error| self.failed(&error))?;
        let rows = rows.iter().map(read).collect::<Result<_, _>>();
        rows.map_err(|error| self.failed(&error))
    }

    async fn execute(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<u64, CatalogError> {
        let asked = self.ask(statement, parameters).await?;
        asked
            .map(|(_, count)| count)
            .map_err(|error| self.failed(&error))
    }

    /// All are sent before the first is answered.
    async fn execute_each(
        &mut self,
        statement: &'static Statement,
        rows: &[Vec<Value>],
    ) -> Result<Vec<u64>, CatalogError> {
        let connection = self.held.get()?;
        let answers = async {
            let text = statement.text(Dialect::Postgres);
            let statement = connection.prepare_cached(text).await?;
            let run = |row| connection.execute_raw(&statement, row);
            join_all(rows.iter().map(run)).await.into_iter().collect()
        };
        let answers: Result<Vec<_>, tokio_postgres::Error> = answers.await;
        answers.map_err(|error| self.failed(&error))
    }

    async fn script(&mut self, text: &'static str) -> Result<(), CatalogError> {
        let done = self.held.get()?.batch_execute(text).await;
        done.map_err(|error| self.failed(&error))
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let column = |(n, column): (usize, &tokio_postgres::Column)| {
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(n)?.map(Value::Int),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(n)?
                .map(|int| Value::Int(int.into())),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(n)?.map(Value::Bytes),
            Type::VOID => None,
            _ => row.try_get::<_, Option<String>>(n)?.map(Value::Text),
        }
        .unwrap_or(Value::Null))
    };
    let values = row.columns().iter().enumerate().map(column);
    Ok(Row(values.collect::<Result<_, _>>()?))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(n) if *ty == Type::INT4 => i32::try_from(*n)?.to_sql(ty, out),
            Self::Int(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

impl std::fmt::Debug for Value {
    /// A value may be a key's hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[value]")
    }
}
