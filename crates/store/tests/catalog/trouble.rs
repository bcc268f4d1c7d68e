//! `PostgreSQL` gone, slow, read-only, used up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everstream_core::secret::Secret;
use everstream_store::sql::conformance::{acme, at, by, entry, key_id, project};
use everstream_store::sql::postgres::{PostgresConfig, open};
use everstream_store::sql::values::Cursor;
use everstream_store::sql::{Catalog, CatalogError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::postgres::{Database, Server};
use crate::proxy::{Line, Proxy};

/// More than anything here may take, on a machine that has much else to do.
const BUSY: Duration = Duration::from_secs(30);

struct Site {
    proxy: Proxy,
    database: Database,
    catalog: Arc<dyn Catalog>,
}

/// A catalogue of two connections, with little patience, by way of a proxy.
async fn site() -> Site {
    let proxy = Proxy::to(Server::socket()).await;
    let database = Server::database();
    let (_, port) = Server::socket();
    let address =
        Server::address(&database.0).replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
    let (catalog, _) = open(&PostgresConfig {
        patience: Duration::from_secs(2),
        acquire_timeout: Duration::from_secs(2),
        ..PostgresConfig::new(Secret::new(address), 2)
    })
    .unwrap();
    Site {
        proxy,
        database,
        catalog,
    }
}

async fn refused(catalog: &dyn Catalog) -> CatalogError {
    let since = Instant::now();
    let error = catalog.check().await.unwrap_err();
    let took = since.elapsed();
    assert!(took < BUSY, "refused only after {took:?}: {error}");
    assert!(error.is_unavailable(), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn gone_and_back() {
    let site = site().await;
    site.proxy.set(Line::Cut);
    let error = refused(&*site.catalog).await;
    assert!(matches!(error, CatalogError::Unreachable(_)), "{error:?}");
    // It was never there before: schema and all come with the first operation that reaches it.
    site.proxy.set(Line::Open);
    let payer = acme(&*site.catalog).await;
    site.proxy.set(Line::Cut);
    let lost = site.catalog.settle(&[entry(1, &payer, 1, at(0))]).await;
    assert!(lost.unwrap_err().is_unavailable());
    site.proxy.set(Line::Open);
    // Connections that died meanwhile are nobody's error.
    let done = site
        .catalog
        .settle(&[entry(1, &payer, 1, at(0))])
        .await
        .unwrap();
    assert_eq!(done.settled, 1);
    // The server ends all sessions, as a restart does.
    let name = &site.database.0;
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    assert!(!Server::tell(name, &end).await.is_empty());
    let done = site
        .catalog
        .settle(&[entry(1, &payer, 1, at(0))])
        .await
        .unwrap();
    assert_eq!(done.repeated, 1);
    // Hints come again as well, or changes are found without.
    let cursor = site.catalog.cursor().await.unwrap();
    let other = open(&site.database.config()).unwrap().0;
    other
        .revoke_key(&by(at(1)), &key_id("key00001"))
        .await
        .unwrap();
    let since = Instant::now();
    while site
        .catalog
        .changes(cursor, 9)
        .await
        .unwrap()
        .list
        .is_empty()
    {
        site.catalog.wait().await;
        assert!(since.elapsed() < BUSY, "a revocation is not seen");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn slow() {
    let site = site().await;
    acme(&*site.catalog).await;
    site.proxy.set(Line::Stalled);
    let all = tokio::join!(
        refused(&*site.catalog),
        refused(&*site.catalog),
        refused(&*site.catalog),
    );
    assert!(matches!(all.0, CatalogError::Slow(_)), "{:?}", all.0);
    site.proxy.set(Line::Open);
    // What was interrupted is not in the way of anybody.
    site.catalog.check().await.unwrap();
    let key = site.catalog.key(&key_id("key00001")).await.unwrap();
    assert!(key.is_some());
    // A lock that somebody holds in the database.
    let name = site.database.0.clone();
    let (locker, connection) =
        tokio_postgres::connect(&Server::address(&name), tokio_postgres::NoTls)
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    locker
        .batch_execute("BEGIN; LOCK TABLE api_keys")
        .await
        .unwrap();
    let since = Instant::now();
    let late = site
        .catalog
        .revoke_key(&by(at(1)), &key_id("key00001"))
        .await;
    assert!(matches!(late, Err(CatalogError::Slow(_))), "{late:?}");
    assert!(since.elapsed() < BUSY);
    drop(locker);
    driver.await.unwrap().unwrap();
    site.catalog
        .revoke_key(&by(at(1)), &key_id("key00001"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn used_up_and_leaked() {
    let database = Server::database();
    let (catalog, watch) = open(&PostgresConfig {
        // Enough to make one.
        acquire_timeout: Duration::from_secs(2),
        leak_after: Duration::from_secs(3),
        ..PostgresConfig::new(database.config().address, 2)
    })
    .unwrap();
    catalog.check().await.unwrap();
    let held = (watch.hold().await.unwrap(), watch.hold().await.unwrap());
    let error = catalog.check().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("all 2 connections"), "{text}");
    let since = Instant::now();
    while watch.status().leaks < 2 {
        assert!(since.elapsed() < BUSY, "{watch:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(held);
    catalog.check().await.unwrap();
    let status = watch.status();
    assert_eq!((status.leaks, status.max, status.waiting), (2, 2, 0));
    catalog.close().await;
    assert!(matches!(catalog.check().await, Err(CatalogError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn read_only() {
    let site = site().await;
    acme(&*site.catalog).await;
    let name = &site.database.0;
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    Server::tell("postgres", &set).await;
    let catalog = open(&site.database.config()).unwrap().0;
    let error = refused(&*catalog).await;
    assert!(matches!(error, CatalogError::ReadOnly(_)), "{error:?}");
    // What only reads goes on.
    assert!(catalog.key(&key_id("key00001")).await.unwrap().is_some());
    assert_eq!(catalog.cursor().await.unwrap(), Cursor(4));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn schemas() {
    // Eight processes start at once on an empty database.
    let database = Server::database();
    let all: Vec<_> = (0..8)
        .map(|_| open(&database.config()).unwrap().0)
        .collect();
    let checks = all.iter().map(|catalog| {
        let catalog = Arc::clone(catalog);
        tokio::spawn(async move { catalog.check().await })
    });
    for check in checks.collect::<Vec<_>>() {
        check.await.unwrap().unwrap();
    }
    // Each step was done once.
    let text = "SELECT count(*) - max(version) FROM schema_version";
    assert_eq!(Server::tell(&database.0, text).await, ["0"]);
    // One that a newer program made is left alone.
    Server::tell(
        &database.0,
        "INSERT INTO schema_version VALUES (99, 'future', 0)",
    )
    .await;
    let old = open(&database.config()).unwrap().0;
    let error = old.check().await.unwrap_err();
    assert!(
        matches!(error, CatalogError::Newer { found: 99, .. }),
        "{error:?}"
    );
    // The audit log refuses changes, whoever asks for them.
    all[0]
        .create_organisation(&by(at(0)), &project("acme"), "Acme")
        .await
        .unwrap();
    for text in [
        "DELETE FROM audit_log",
        "UPDATE audit_log SET who = 'eve'",
        "TRUNCATE audit_log",
    ] {
        let (client, connection) =
            tokio_postgres::connect(&Server::address(&database.0), tokio_postgres::NoTls)
                .await
                .unwrap();
        tokio::spawn(connection);
        let error = client.batch_execute(text).await.unwrap_err();
        assert!(
            error
                .as_db_error()
                .unwrap()
                .message()
                .contains("append only"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn encrypted() {
    let ca = std::env::var("EVERSTREAM_TEST_POSTGRES_CA").unwrap();
    let certificates = |roots: rustls::RootCertStore| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        Some(Arc::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let database = Server::database();
    let address = format!("{}?sslmode=require", Server::address(&database.0));
    let config = |tls| PostgresConfig {
        tls,
        ..PostgresConfig::new(Secret::new(address.clone()), 2)
    };
    let (catalog, _watch) = open(&config(certificates(roots))).unwrap();
    acme(&*catalog).await;
    let sql = format!(
        "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
         WHERE a.datname = '{}' AND a.application_name = 'everstream'",
        database.0
    );
    let encrypted = Server::tell(&database.0, &sql).await;
    assert!(
        !encrypted.is_empty() && encrypted.iter().all(|ssl| ssl == "t"),
        "{encrypted:?}"
    );
    // A server that nobody vouches for is not talked to.
    let (stranger, _watch) = open(&config(certificates(rustls::RootCertStore::empty()))).unwrap();
    let error = stranger.check().await.unwrap_err();
    assert!(matches!(error, CatalogError::Unreachable(_)), "{error:?}");
    let none = open(&config(None)).map(drop).unwrap_err().to_string();
    assert!(none.contains("sslmode=require"), "{none}");
}

#[tokio::test]
async fn an_address_that_is_none_is_not_quoted() {
    let address = Secret::new("postgres://ada:pa:ss@wo@rd/:x:/y?zz=1");
    let error = open(&PostgresConfig::new(address, 1))
        .map(drop)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("percent-encoded") && !text.contains("wo@"),
        "{text}"
    );
}
