//! `SQLite`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everstream_store::sql::conformance::{self, Backend, Instance, at, by, project};
use everstream_store::sql::sqlite::{SqliteConfig, open};
use everstream_store::sql::{Catalog, CatalogError};

use crate::random;

pub(crate) struct Files;

pub(crate) struct File(pub(crate) tempfile::TempDir);

impl File {
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("control.db")
    }
}

impl Backend for Files {
    fn open(&self) -> Box<dyn Instance> {
        Box::new(File(tempfile::tempdir().unwrap()))
    }
}

impl Instance for File {
    fn catalog(&self) -> Arc<dyn Catalog> {
        open(&SqliteConfig::new(self.path()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    conformance::run(&Files).await;
}

#[test]
fn money_equals_the_model() {
    random::equals_the_model(150, || Files.open());
}

/// Another process that writes for ever.
fn held(file: &File) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(file.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_holds_the_file() {
    let file = File(tempfile::tempdir().unwrap());
    let catalog = open(&SqliteConfig {
        patience: Duration::from_millis(500),
        queue: 2,
        ..SqliteConfig::new(file.path())
    });
    catalog.check().await.unwrap();
    let other = held(&file);
    let since = Instant::now();
    let errors = (0..8).map(|_| {
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move { catalog.check().await.unwrap_err() })
    });
    let errors: Vec<_> = errors.collect();
    let mut texts = Vec::new();
    for error in errors {
        let error = error.await.unwrap();
        assert!(error.is_unavailable(), "{error}");
        texts.push(error.to_string());
    }
    // Not one after the other, for as long as each may wait and all that stand in front of it.
    assert!(since.elapsed() < Duration::from_secs(20));
    let is_refused = |text: &String| text.contains("operations wait for the database already");
    assert!(texts.iter().any(is_refused), "{texts:?}");
    // What only reads goes on beside it.
    catalog.cursor().await.unwrap();
    drop(other);
    let since = Instant::now();
    while catalog.check().await.is_err() {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "it never recovers"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    std::fs::write(&path, "no database at all, ".repeat(99)).unwrap();
    let catalog = open(&SqliteConfig::new(&path));
    let error = catalog.check().await.unwrap_err();
    assert!(matches!(error, CatalogError::Damaged(_)), "{error:?}");
    std::fs::remove_file(&path).unwrap();
    catalog.check().await.unwrap();
    catalog.close().await;
    assert!(matches!(catalog.check().await, Err(CatalogError::Closed)));
    let missing = open(&SqliteConfig::new(dir.path().join("not/there/control.db")));
    let error = missing.check().await.unwrap_err();
    assert!(matches!(error, CatalogError::Unreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_refuses_what_the_contract_does() {
    let file = File(tempfile::tempdir().unwrap());
    let all: Vec<_> = (0..8).map(|_| file.catalog()).collect();
    let checks = all.iter().map(|catalog| {
        let catalog = Arc::clone(catalog);
        tokio::spawn(async move { catalog.check().await })
    });
    for check in checks.collect::<Vec<_>>() {
        check.await.unwrap().unwrap();
    }
    all[0]
        .create_organisation(&by(at(0)), &project("acme"), "Acme")
        .await
        .unwrap();
    let other = rusqlite::Connection::open(file.path()).unwrap();
    for text in ["DELETE FROM audit_log", "UPDATE audit_log SET who = 'eve'"] {
        let error = other.execute_batch(text).unwrap_err();
        assert!(error.to_string().contains("append only"), "{error}");
    }
    other
        .execute_batch("INSERT INTO schema_version VALUES (99, 'future', 0)")
        .unwrap();
    let error = file.catalog().check().await.unwrap_err();
    assert!(
        matches!(error, CatalogError::Newer { found: 99, .. }),
        "{error:?}"
    );
    let mode: String = other
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}
