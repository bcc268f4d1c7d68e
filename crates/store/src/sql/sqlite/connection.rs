//! One connection to the file.

use std::collections::HashMap;
use std::future::{Future, ready};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, ToSql};

use crate::sql::CatalogError;
use crate::sql::engine::{Dialect, Effect, Operation, Row, Sql, Statement, Value};
use crate::sql::migrate::{GetVersion, KNOWN, Migrate};

/// Prepared statements that are kept: more than there are.
const STATEMENTS: usize = 128;

pub(super) struct Connection {
    sqlite: rusqlite::Connection,
    /// The statements with `?1` for `$1`, which would be a name, looked up each time.
    numbered: HashMap<&'static str, String>,
    /// How hard a commit is written to the disk just now.
    is_synced: bool,
    is_broken: bool,
}

impl Connection {
    /// Opens the file and brings it to this program's schema.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Self, CatalogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = rusqlite::Connection::open_with_flags(path, flags);
        let sqlite = sqlite.map_err(|error| refused(&error))?;
        let mut connection = Self {
            sqlite,
            numbered: HashMap::new(),
            is_synced: true,
            is_broken: false,
        };
        connection
            .set_up(patience)
            .map_err(|error| refused(&error))?;
        if connection.run(&GetVersion)? != KNOWN {
            connection.run(&Migrate)?;
        }
        Ok(connection)
    }

    fn set_up(&mut self, patience: Duration) -> Result<(), rusqlite::Error> {
        let sqlite = &self.sqlite;
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS);
        // Else a statement may be planned anew for every parameter it is given.
        sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        sqlite.busy_timeout(patience)?;
        sqlite.pragma_update(None, "foreign_keys", true)?;
        sqlite.pragma_update(None, "synchronous", "FULL")?;
        // Two processes that switch at once: one is told that the file is busy, whatever the timeout.
        let deadline = Instant::now() + patience;
        loop {
            let switched = sqlite.pragma_update(None, "journal_mode", "WAL");
            match switched {
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }

    /// Whether it is to be opened again.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(super) fn run<O: Operation>(&mut self, operation: &O) -> Result<O::Output, CatalogError> {
        let answer = self.transact(operation);
        self.is_broken |= matches!(
            answer,
            Err(CatalogError::Unreachable(_)
                | CatalogError::Damaged(_)
                | CatalogError::ReadOnly(_)
                | CatalogError::Full(_))
        ) || !self.sqlite.is_autocommit();
        answer
    }

    fn transact<O: Operation>(&mut self, operation: &O) -> Result<O::Output, CatalogError> {
        self.sync(O::EFFECT == Effect::Writes)?;
        self.batch(match O::EFFECT {
            Effect::Reads => "BEGIN",
            Effect::Single | Effect::Leases | Effect::Writes => "BEGIN IMMEDIATE",
        })?;
        let answer = answered(operation.run(self));
        match answer {
            Ok(output) => {
                let committed = self.batch("COMMIT");
                if committed.is_err() {
                    self.batch("ROLLBACK").ok();
                }
                committed.map(|()| output)
            }
            Err(error) => {
                // Some errors have rolled it back already.
                if !self.sqlite.is_autocommit() {
                    self.batch("ROLLBACK").ok();
                }
                Err(error)
            }
        }
    }

    /// Whether a commit returns only once the disk has it. One that does makes those before it
    /// durable too.
    fn sync(&mut self, synced: bool) -> Result<(), CatalogError> {
        if self.is_synced != synced {
            self.batch(if synced {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.is_synced = synced;
        }
        Ok(())
    }

    fn batch(&self, text: &'static str) -> Result<(), CatalogError> {
        self.sqlite
            .execute_batch(text)
            .map_err(|error| refused(&error))
    }

    /// Runs a statement with the parameters of each row.
    fn bound<T>(
        &mut self,
        statement: &'static Statement,
        rows: impl IntoIterator<Item = impl AsRef<[Value]>>,
        mut run: impl FnMut(&mut rusqlite::Statement<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<T>, CatalogError> {
        let text = statement.text(Dialect::Sqlite);
        let numbered = self.numbered.entry(text);
        let numbered = numbered.or_insert_with(|| text.replace('$', "?"));
        let bound = || -> Result<Vec<T>, rusqlite::Error> {
            let mut statement = self.sqlite.prepare_cached(numbered)?;
            let answers = rows.into_iter().map(|row| {
                for (index, parameter) in (1..).zip(row.as_ref()) {
                    statement.raw_bind_parameter(index, parameter)?;
                }
                run(&mut statement)
            });
            answers.collect()
        };
        bound().map_err(|error| refused(&error))
    }
}

impl Sql for Connection {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn query(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, CatalogError>> + Send {
        let answers = self.bound(statement, [parameters], |statement| {
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| row.get_ref(column).map(read));
                all.push(Row(values.collect::<Result<_, _>>()?));
            }
            Ok(all)
        });
        ready(answers.map(|answers| answers.into_iter().flatten().collect()))
    }

    fn execute(
        &mut self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> impl Future<Output = Result<u64, CatalogError>> + Send {
        let changed = self.bound(statement, [parameters], changed);
        ready(changed.map(|changed| changed.into_iter().sum()))
    }

    fn execute_each(
        &mut self,
        statement: &'static Statement,
        rows: &[Vec<Value>],
    ) -> impl Future<Output = Result<Vec<u64>, CatalogError>> + Send {
        ready(self.bound(statement, rows, changed))
    }

    fn script(
        &mut self,
        text: &'static str,
    ) -> impl Future<Output = Result<(), CatalogError>> + Send {
        ready(self.batch(text))
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn changed(statement: &mut rusqlite::Statement<'_>) -> Result<u64, rusqlite::Error> {
    statement.raw_execute().map(|changed| changed as u64)
}

/// No statement gives real numbers, and a text that is not UTF-8 is nobody's.
fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

/// The output of a future whose every wait is for `SQLite`, which never lets wait.
fn answered<T>(future: impl Future<Output = Result<T, CatalogError>>) -> Result<T, CatalogError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(CatalogError::Failed(
            "an operation waited for something else than the database".to_owned(),
        )),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// `SQLite`'s own texts hold names of tables and columns, and no values.
fn refused(error: &rusqlite::Error) -> CatalogError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CatalogError::Busy(format!(
            "another process holds the database for too long ({text}): find out which"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => CatalogError::ReadOnly(text),
        Some(ErrorCode::DiskFull) => CatalogError::Full(text),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => CatalogError::Unreachable(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => CatalogError::Damaged(text),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            CatalogError::Invalid(text)
        }
        _ => CatalogError::Failed(text),
    }
}
