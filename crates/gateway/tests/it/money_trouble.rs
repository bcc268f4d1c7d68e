//! Money while the database does not answer: what is spent waits, and is counted once.

use everstream_core::money::Money;
use everstream_testkit::provider::FakeProvider;
use rusqlite::Connection;

use crate::harness::{Gateway, Setup};
use crate::money::{COST, PRICES, ask, budget, catalog, entry, money, stands};
use crate::talk::{answer_to, chat};

/// Nobody else writes to the database until this is dropped.
fn lock(dir: &std::path::Path) -> Connection {
    let connection = Connection::open(dir.join("catalog.db")).unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

async fn start(provider: &FakeProvider, dir: &tempfile::TempDir, more: &str) -> Gateway {
    let database = format!(
        "[database]\nurl = \"sqlite:{}\"\ntimeout = \"200ms\"\n{more}",
        dir.path().join("catalog.db").display()
    );
    let setup = Setup::new(provider).with_keys().config(PRICES);
    setup.config(&database).start().await
}

#[tokio::test]
async fn without_its_database_requests_go_on_and_are_settled_once_later() {
    let provider = FakeProvider::start(answer_to).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(&provider, &dir, "").await;
    budget(&gateway, "1000", &[]).await;
    let locked = lock(dir.path());
    let mut ids = Vec::new();
    for n in 0..3 {
        let reply = ask(&gateway, &chat(&n.to_string())).await;
        assert_eq!(reply.head.status, 200);
        ids.push(reply.stream());
        reply.body().await;
    }
    crate::harness::until(|| {
        let queue = gateway.app.generator.billing.queue().unwrap();
        queue.entries == 3 && queue.trouble.is_some()
    })
    .await;
    drop(locked);
    assert_eq!(stands(&gateway).await, (money("37.5"), Money::ZERO));
    for id in &ids {
        assert_eq!(entry(&gateway, id).await.unwrap().cost, money(COST));
    }
    gateway.stop().await;
}

/// A process that ends without its database leaves what it owes to the next one.
#[tokio::test]
async fn the_next_process_settles_what_waited() {
    let provider = FakeProvider::start(answer_to).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = start(&provider, &dir, "").await;
    budget(&gateway, "1000", &[]).await;
    let locked = lock(dir.path());
    let reply = ask(&gateway, &chat("x")).await;
    let id = reply.stream();
    reply.body().await;
    let data = gateway.stop().await;
    drop(locked);
    let database = format!("sqlite:{}", dir.path().join("catalog.db").display());
    let setup = Setup::new(&provider).with_keys().config(PRICES);
    let setup = setup.config(&format!("[database]\nurl = {database:?}"));
    let gateway = setup.data_dir(data).start().await;
    assert_eq!(entry(&gateway, &id).await.unwrap().cost, money(COST));
    assert_eq!(stands(&gateway).await.0, money(COST));
    assert!(catalog(&gateway).check().await.is_ok());
    gateway.stop().await;
}

#[tokio::test]
async fn who_wants_to_be_sure_refuses_without_the_database() {
    let provider = FakeProvider::start(answer_to).await;
    let dir = tempfile::tempdir().unwrap();
    let refuse = "[budgets]\nwhen_unavailable = \"refuse\"";
    let gateway = start(&provider, &dir, refuse).await;
    budget(&gateway, "1000", &[]).await;
    let locked = lock(dir.path());
    let calls = provider.calls().len();
    let refused = ask(&gateway, &chat("x")).await;
    assert_eq!(refused.head.header("retry-after"), Some("1"));
    assert_eq!(
        refused.json(503).await["error"]["code"],
        "budget_unavailable"
    );
    assert_eq!(provider.calls().len(), calls);
    drop(locked);
    let mut status = 503;
    while status == 503 {
        let reply = ask(&gateway, &chat("x")).await;
        status = reply.head.status;
        reply.body().await;
    }
    assert_eq!(status, 200);
    assert_eq!(stands(&gateway).await, (money(COST), Money::ZERO));
    gateway.stop().await;
}
