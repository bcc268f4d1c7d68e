//! Money under `kill -9` at random moments: every generation that the log has is in the ledger once,
//! at what its log says, and no reserve stays.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits::RESERVE_LEASE;
use everstream_core::money::Money;
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use everstream_store::sql::values::{Actor, Budget, BudgetState, Period, Scope};
use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client;
use crate::harness::{PATIENCE, Process, Random, Site};

const ROUNDS: usize = 5;
const CLIENTS: usize = 30;
/// A dollar for a token, and a cent for a request.
const PRICES: &str = "[[prices]]\nmodel = \"m\"\ninput = \"1000000\"\noutput = \"1000000\"\n\
                      request = \"0.01\"";

fn now() -> UnixMillis {
    UnixMillis::default().plus(std::time::UNIX_EPOCH.elapsed().unwrap())
}

/// A client that does not mind what becomes of its answer.
async fn ask(addr: SocketAddr, marker: String) {
    let body = json!({"model": "m", "stream": true, "max_tokens": 12,
                      "messages": [{"role": "user", "content": marker}]});
    let Ok(mut client) = RawClient::connect(addr).await else {
        return;
    };
    if client
        .post_json("/v1/chat/completions", &body, &[])
        .await
        .is_ok()
    {
        while let Ok(Some(_)) = client.read_some().await {}
    }
}

/// The database, beside the gateway.
async fn catalog(dir: &Path) -> Arc<dyn Catalog> {
    let catalog = sqlite::open(&SqliteConfig::new(dir.join("data/catalog.db")));
    let budget = Budget {
        id: "b".parse().unwrap(),
        scope: Scope::Project("default".parse().unwrap()),
        period: Period::Month,
        limit: "1000000".parse().unwrap(),
        alert_at: Vec::new(),
    };
    let by = Actor {
        who: "test".to_owned(),
        at: now(),
    };
    catalog.put_budget(&by, &budget).await.unwrap();
    catalog
}

async fn state(catalog: &dyn Catalog, now: UnixMillis) -> BudgetState {
    let states = catalog.budgets(None, None, 10, now).await.unwrap();
    states.into_iter().next().unwrap()
}

/// The streams, once nothing runs.
async fn over(addr: SocketAddr) -> HashMap<String, String> {
    loop {
        let statuses = client::statuses(addr).await;
        let is_over = |status: &String| !matches!(status.as_str(), "running" | "queued");
        if statuses.values().all(is_over) {
            return statuses;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn page(addr: SocketAddr, id: &str) -> Value {
    let mut client = RawClient::connect(addr).await.unwrap();
    let path = format!("/v1/streams/{id}");
    client.get(&path, &[]).await.unwrap();
    client.read_json().await.unwrap()
}

/// Everything that ended is in the ledger, at what its log says; gives the sum.
async fn settled(catalog: &dyn Catalog, process: &Process) -> Money {
    let streams = timeout(PATIENCE, over(process.addr)).await.unwrap();
    let mut sum = Money::ZERO;
    for (id, status) in &streams {
        let stream: StreamId = id.parse().unwrap();
        let entry = async {
            loop {
                if let Some(entry) = catalog.ledger_entry(stream).await.unwrap() {
                    return entry;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let entry = timeout(PATIENCE, entry).await;
        let entry = entry.unwrap_or_else(|_| panic!("{id} ({status}) is not in the ledger"));
        let usage = &page(process.addr, id).await["usage"];
        let told = |name: &str| usage[name].as_u64().unwrap_or(0);
        let used = (entry.usage.input_tokens, entry.usage.output_tokens);
        assert_eq!(
            used,
            (told("input_tokens"), told("output_tokens")),
            "{id} ({status})"
        );
        let tokens = (used.0 + used.1) * 1_000_000_000;
        let request = if tokens > 0 { 10_000_000 } else { 0 };
        assert_eq!(entry.cost, Money(tokens + request), "{id} ({status})");
        sum = sum.plus(entry.cost);
    }
    sum
}

#[tokio::test]
async fn what_was_used_is_settled_once_however_often_the_process_is_killed() {
    let provider = FakeProvider::start(|_| {
        let answer = ChatAnswer::new(["a", "b", "c", "d", "e", "f"]).with_usage(9);
        Script::chat_stream(&answer).pause_between(Duration::from_millis(10))
    })
    .await;
    let mut site = Site::new(&provider, PRICES);
    let mut process = site.start().await;
    let catalog = catalog(site.path()).await;
    let mut random = Random::seeded();
    for round in 0..ROUNDS {
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let (delay, addr) = (random.millis(0, 300), process.addr);
            clients.spawn(async move {
                sleep(delay).await;
                ask(addr, format!("r{round}-c{n}")).await;
            });
        }
        sleep(random.millis(60, 420)).await;
        process.kill();
        timeout(PATIENCE, clients.join_all()).await.unwrap();
        process = site.start().await;
    }
    let sum = settled(&*catalog, &process).await;
    let stand = state(&*catalog, now()).await;
    assert_eq!(
        Money(stand.spent),
        sum,
        "something was counted twice, or not at all"
    );
    assert!(sum > Money::ZERO);
    // What dead processes had reserved for requests that they did not get to lapses.
    let later = now().plus(RESERVE_LEASE);
    assert_eq!(state(&*catalog, later).await.reserved, 0);
    // A process that ends properly leaves nothing to be done.
    ask(process.addr, "the last".to_owned()).await;
    process.terminate();
    assert!(process.ended().await.success());
    let process = site.start().await;
    let sum = settled(&*catalog, &process).await;
    assert_eq!(Money(state(&*catalog, now()).await.spent), sum);
    catalog.close().await;
}
