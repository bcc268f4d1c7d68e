//! Money with budgets in `PostgreSQL`, which several gateways share, over a line that is cut.

use std::sync::Arc;

use everstream_core::money::Money;
use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Gateway, Setup, until, within};
use crate::money::{COST, PRICES, ask, budget, entry, knows_budget, money, payer, stands};
use crate::talk::{answer_to, chat, held};

/// A line to the server, which is cut while `is_cut`.
struct Line {
    port: u16,
    is_cut: watch::Sender<bool>,
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_cut, state) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (mut state, server) = (state.clone(), server.clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Self { port, is_cut }
    }
}

async fn start(provider: &FakeProvider, address: &str) -> Gateway {
    let database = format!("[database]\nurl = \"{address}\"\ntimeout = \"2s\"");
    let setup = Setup::new(provider).with_keys().config(PRICES);
    setup.config(&database).start().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn gateways_that_share_postgres_share_budgets_and_outlive_it() {
    let address = std::env::var("EVERSTREAM_TEST_POSTGRES").expect("run by scripts/postgres.sh");
    let (before, rest) = address.rsplit_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let line = Line::to(server.to_owned()).await;
    let address = format!(
        "{before}@127.0.0.1:{}/{database}?sslmode=disable",
        line.port
    );
    let gate = Gate::new("all have asked");
    let held_back = gate.clone();
    let provider =
        FakeProvider::start(move |request| {
            match request.json()["messages"][0]["content"].as_str() {
                Some("held") => held(2, &held_back),
                _ => answer_to(request),
            }
        })
        .await;
    let one = start(&provider, &address).await;
    let two = start(&provider, &address).await;
    let mut body = chat("held");
    body["max_tokens"] = json!(5);
    let reserve = body.to_string().len() as u64 + 5;
    // Room for three and a half.
    let limit = (reserve * 7 / 2).to_string();
    budget(&one, &limit, &[]).await;
    knows_budget(&two, &payer("one")).await;
    let asking = (0..20).map(|n| ask(if n % 2 == 0 { &one } else { &two }, &body));
    // Nobody settles before all have their answer: what is settled makes room.
    let replies = within(futures_util::future::join_all(asking)).await;
    gate.open();
    let statuses: Vec<_> = replies.iter().map(|reply| reply.head.status).collect();
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(admitted, 4, "{statuses:?}");
    for reply in replies {
        reply.body().await;
    }
    within(one.app.generator.billing.settled()).await;
    assert_eq!(stands(&two).await, (money("50"), Money::ZERO));

    line.is_cut.send_replace(true);
    let reply = ask(&one, &chat("cut")).await;
    assert_eq!(reply.head.status, 200);
    let id = reply.stream();
    reply.body().await;
    let billing = Arc::clone(&one.app.generator.billing);
    until(|| billing.queue().unwrap().trouble.is_some()).await;
    line.is_cut.send_replace(false);
    assert_eq!(entry(&one, &id).await.unwrap().cost, money(COST));
    assert_eq!(stands(&two).await, (money("62.5"), Money::ZERO));
    one.stop().await;
    two.stop().await;
}
