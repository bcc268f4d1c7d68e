//! `PostgreSQL`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use everstream_core::secret::Secret;
use everstream_store::sql::Catalog;
use everstream_store::sql::conformance::{self, Backend, Instance};
use everstream_store::sql::postgres::{PostgresConfig, open};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use crate::random;

/// A server that `scripts/postgres.sh` started.
pub(crate) struct Server;

/// A database of its own.
pub(crate) struct Database(pub(crate) String);

impl Server {
    /// The address of a database on it.
    pub(crate) fn address(database: &str) -> String {
        let address = std::env::var("EVERSTREAM_TEST_POSTGRES")
            .expect("EVERSTREAM_TEST_POSTGRES: run this with scripts/postgres.sh");
        let (server, _) = address.rsplit_once('/').unwrap();
        format!("{server}/{database}")
    }

    /// Where it listens.
    pub(crate) fn socket() -> (String, u16) {
        let config: tokio_postgres::Config = Self::address("postgres").parse().unwrap();
        let Host::Tcp(host) = &config.get_hosts()[0] else {
            panic!("the server has a socket");
        };
        (host.clone(), config.get_ports()[0])
    }

    /// Says something to a database, as its master.
    pub(crate) async fn tell(database: &str, text: &str) -> Vec<String> {
        let (client, connection) = tokio_postgres::connect(&Self::address(database), NoTls)
            .await
            .unwrap();
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(text).await.unwrap();
        drop(client);
        driver.await.unwrap().unwrap();
        let row = |message: tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }

    /// Makes an empty database, from whatever context.
    pub(crate) fn database() -> Database {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let create = format!("CREATE DATABASE {name}");
        let runs = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(Self::tell("postgres", &create));
        });
        runs.join().unwrap();
        Database(name)
    }
}

impl Database {
    pub(crate) fn config(&self) -> PostgresConfig {
        PostgresConfig::new(Secret::new(Server::address(&self.0)), 4)
    }
}

impl Backend for Server {
    fn open(&self) -> Box<dyn Instance> {
        Box::new(Self::database())
    }
}

impl Instance for Database {
    fn catalog(&self) -> Arc<dyn Catalog> {
        open(&self.config()).unwrap().0
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn keeps_the_contract() {
    conformance::run(&Server).await;
}

#[test]
#[ignore = "needs a server: scripts/postgres.sh"]
fn money_equals_the_model() {
    random::equals_the_model(15, || Server.open());
}
