//! What is paid for beside plain answers: who lost a race, what passes through, and whose key it was.

use everstream_core::id::ProjectId;
use everstream_core::money::Money;
use everstream_store::sql::values::{Budget, Payer, Period, Scope, Scopes};
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::catalogued::{self, tester};
use crate::harness::{Gateway, KEY_ONE, Setup, within};
use crate::money::{PRICES, ask, budget, catalog, entry, knows_budget, money, stands};
use crate::realtime::Realtime;
use crate::socket::Socket;
use crate::talk::{CHAT, answer_to, chat, held, post};

/// Waits until so much is spent.
async fn spent(gateway: &Gateway, dollars: &str) {
    within(async { while stands(gateway).await.0 < money(dollars) {} }).await;
    assert_eq!(stands(gateway).await, (money(dollars), Money::ZERO));
}

#[tokio::test]
async fn who_lost_the_race_is_paid_for_too() {
    let never = Gate::new("never");
    let late = never.clone();
    let one = FakeProvider::start(move |_| held(2, &late)).await;
    let two = FakeProvider::start(answer_to).await;
    let route = "[[prices]]\nmodel = \"*\"\nupstream = \"two\"\noutput = \"1000000\"\n\
                 [[prices]]\nmodel = \"m\"\nupstream = \"one\"\nrequest = \"100\"\n\
                 [[routes]]\nmodel = \"m\"\nhedge_after = \"20ms\"\n\
                 [[routes.deployments]]\nupstream = \"one\"\n\
                 [[routes.deployments]]\nupstream = \"two\"\n";
    let setup = Setup::default()
        .upstream("one", &one.base_url(), "models = [\"m\"]")
        .upstream("two", &two.base_url(), "models = [\"m\"]");
    let gateway = setup.with_keys().config(route).start().await;
    budget(&gateway, "1000000", &[]).await;
    let reply = ask(&gateway, &chat("x")).await;
    let id = reply.stream();
    reply.body().await;
    let entry = entry(&gateway, &id).await.unwrap();
    assert_eq!((&*entry.upstream, entry.cost), ("two", money("105")));
    assert!(
        entry.usage.estimated && entry.usage.input_tokens > 7,
        "{:?}",
        entry.usage
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_passes_through_is_paid_for_when_it_was_served() {
    let provider = FakeProvider::start(|request| {
        if request.path == "/v1/moderations" {
            return Script::json(400, &json!({"error": {"message": "No."}}));
        }
        let usage = json!({"input_tokens": 3, "output_tokens": 4});
        Script::json(200, &json!({"data": [], "usage": usage}))
    })
    .await;
    let setup = Setup::new(&provider).with_keys().config(PRICES);
    let setup = setup.config("[budgets]\npassed_through = \"2\"");
    let gateway = setup.start().await;
    budget(&gateway, "8", &[]).await;
    let bearer = format!("Bearer {KEY_ONE}");
    let headers = [("authorization", bearer.as_str())];
    let body = json!({"model": "m", "prompt": "x"});
    let refused = post(&gateway, "/v1/moderations", &body, &headers).await;
    assert_eq!(refused.head.status, 400);
    refused.body().await;
    let image = post(&gateway, "/v1/images/generations", &body, &headers).await;
    assert_eq!(image.head.status, 200);
    image.body().await;
    spent(&gateway, "7.5").await;
    post(&gateway, "/v1/images/generations", &body, &headers)
        .await
        .body()
        .await;
    spent(&gateway, "15").await;
    let refused = post(&gateway, "/v1/images/generations", &body, &headers).await;
    assert_eq!(
        refused.json(429).await["error"]["code"],
        "insufficient_quota"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_realtime_session_is_paid_for_when_it_ends() {
    let upstream = Realtime::start().await;
    let setup = upstream.setup().with_keys().config(PRICES);
    let gateway = setup
        .config("[budgets]\npassed_through = \"2\"")
        .start()
        .await;
    budget(&gateway, "100", &[]).await;
    let bearer = format!("Bearer {KEY_ONE}");
    let headers = [("authorization", bearer.as_str())];
    let path = "/v1/realtime?model=gpt-realtime";
    let opening = Socket::open(&gateway, path, &headers);
    let (client, mut session) = within(async { tokio::join!(opening, upstream.accept()) }).await;
    let mut client = client.unwrap();
    assert_eq!(stands(&gateway).await, (Money::ZERO, money("2")));
    for _ in 0..2 {
        let usage = json!({"input_tokens": 5, "output_tokens": 1});
        let done = json!({"type": "response.done", "response": {"usage": usage}});
        session.say(Message::text(done.to_string())).await;
        client.message().await;
    }
    client.send(Message::Close(None)).await;
    spent(&gateway, "12.5").await;
    gateway.stop().await;
}

/// A key of the catalogue's: its organisation's budget counts, and the ledger has both.
#[tokio::test]
async fn the_organisation_of_a_key_pays() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).config(PRICES).start().await;
    let catalog = catalog(&gateway);
    let (id, text) = catalogued::key(&gateway, 7, Scopes::default()).await;
    let acme: ProjectId = "acme".parse().unwrap();
    let budget = Budget {
        id: "acme-month".parse().unwrap(),
        scope: Scope::Organisation(acme.clone()),
        period: Period::Month,
        limit: money("12"),
        alert_at: Vec::new(),
    };
    let by = tester(gateway.app.clock.now());
    catalog.put_budget(&by, &budget).await.unwrap();
    let payer = Payer {
        organisation: Some(acme),
        project: "web".parse().unwrap(),
        key: Some(id.clone()),
    };
    knows_budget(&gateway, &payer).await;
    let bearer = format!("Bearer {}", text.expose());
    let headers = [("authorization", bearer.as_str())];
    let reply = post(&gateway, CHAT, &chat("x"), &headers).await;
    let stream = reply.stream();
    reply.body().await;
    let entry = entry(&gateway, &stream).await.unwrap();
    assert_eq!(entry.payer, payer);
    let refused = post(&gateway, CHAT, &chat("y"), &headers).await;
    let error = refused.json(429).await;
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`acme-month`")
    );
    gateway.stop().await;
}
