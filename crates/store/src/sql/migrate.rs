//! Brings a database to the schema that this program knows.
//!
//! Migrations are only ever added, and only add: during a rolling deploy the old program works on
//! with the new schema. A program that starts on a schema newer than its own refuses.

use std::time::{SystemTime, UNIX_EPOCH};

use super::CatalogError;
use super::engine::{Dialect, Effect, Lock, Operation, Sql, Statement};

/// A step, by its place in the list: the first leads to schema 1.
struct Migration {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "control",
        sqlite: include_str!("migrations/sqlite/0001_control.sql"),
        postgres: include_str!("migrations/postgres/0001_control.sql"),
    },
    Migration {
        name: "limits",
        sqlite: include_str!("migrations/sqlite/0002_limits.sql"),
        postgres: include_str!("migrations/postgres/0002_limits.sql"),
    },
    Migration {
        name: "nonces",
        sqlite: include_str!("migrations/sqlite/0003_nonces.sql"),
        postgres: include_str!("migrations/postgres/0003_nonces.sql"),
    },
];

const CREATE_VERSIONS: Statement = Statement::new(
    "CREATE TABLE IF NOT EXISTS schema_version (
        version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, at BIGINT NOT NULL)",
);
const VERSION: Statement =
    Statement::new("SELECT CAST(coalesce(max(version), 0) AS BIGINT) FROM schema_version");
const ADD_VERSION: Statement =
    Statement::new("INSERT INTO schema_version (version, name, at) VALUES ($1, $2, $3)");

/// Whether there is a table `schema_version`.
const HAS_VERSIONS: Statement = Statement::of(
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
    "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL",
);

/// The schema that this program knows.
#[expect(clippy::cast_possible_wrap, reason = "there are few")]
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The schema of the database, 0 for an empty one. A read, for a database that takes no writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct GetVersion;

impl Operation for GetVersion {
    type Output = i64;
    const EFFECT: Effect = Effect::Reads;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<i64, CatalogError> {
        if sql.query(&HAS_VERSIONS, &[]).await?.is_empty() {
            return Ok(0);
        }
        let rows = sql.query(&VERSION, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.int(0))
    }
}

/// All steps that are missing, in one transaction under a lock that no other process gets: whoever
/// comes second finds nothing to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migrate;

impl Operation for Migrate {
    type Output = ();
    const EFFECT: Effect = Effect::Writes;
    const LOCK: Lock = Lock::Schema;

    async fn run<S: Sql>(&self, sql: &mut S) -> Result<(), CatalogError> {
        sql.execute(&CREATE_VERSIONS, &[]).await?;
        let rows = sql.query(&VERSION, &[]).await?;
        let found = rows.first().map_or(Ok(0), |row| row.int(0))?;
        if found > KNOWN {
            let known = KNOWN;
            return Err(CatalogError::Newer { found, known });
        }
        for (version, migration) in (1..).zip(MIGRATIONS) {
            if version <= found {
                continue;
            }
            sql.script(match sql.dialect() {
                Dialect::Sqlite => migration.sqlite,
                Dialect::Postgres => migration.postgres,
            })
            .await?;
            // When a schema was changed is for people to read; nothing depends on it.
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let at = since.map_or(0, |time| {
                i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
            });
            let row = [version.into(), migration.name.into(), at.into()];
            sql.execute(&ADD_VERSION, &row).await?;
        }
        Ok(())
    }
}
