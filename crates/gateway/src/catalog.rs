//! The database of the configuration.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use everstream_core::config::{Backend, Config, DatabaseConfig};
use everstream_core::secret::Secret;
use everstream_store::sql::Catalog;
use everstream_store::sql::postgres::{self, PostgresConfig};
use everstream_store::sql::sqlite::{self, SqliteConfig};

use crate::roots::{TlsError, client_config};

/// The catalogue, if there is one; `data_dir` exists if the log is on disk. A database that cannot be
/// reached is no error: it is asked again.
pub(crate) fn open(config: &Config, data_dir: &Path) -> io::Result<Option<Arc<dyn Catalog>>> {
    let database = &config.database;
    let Some(url) = &database.url else {
        let on_disk = config.log.backend == Backend::Disk;
        let file = data_dir.join("catalog.db");
        return Ok(on_disk.then(|| open_sqlite(database, file)));
    };
    match url.expose().strip_prefix("sqlite:") {
        Some(file) => Ok(Some(open_sqlite(database, file.into()))),
        None => open_postgres(database, url.clone()).map(Some),
    }
}

fn open_sqlite(config: &DatabaseConfig, path: PathBuf) -> Arc<dyn Catalog> {
    sqlite::open(&SqliteConfig {
        patience: config.timeout,
        ..SqliteConfig::new(path)
    })
}

fn open_postgres(config: &DatabaseConfig, address: Secret) -> io::Result<Arc<dyn Catalog>> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let tls = client_config(config.ca_file.as_deref()).map_err(|error| {
        let (TlsError::CaFile(why) | TlsError::Other(why)) = error;
        io::Error::other(format!("database.ca_file: {why}"))
    })?;
    let config = PostgresConfig {
        address,
        pool_size: config.pool_size.unwrap_or(2 * cores),
        acquire_timeout: config.acquire_timeout,
        idle_timeout: config.idle_timeout,
        leak_after: config.leak_after,
        patience: config.timeout,
        tls: Some(Arc::new(tls)),
    };
    let (catalog, _watch) = postgres::open(&config).map_err(io::Error::other)?;
    Ok(catalog)
}
