//! What generations cost, and what budgets make of it.

use std::sync::Arc;

use everstream::billing::Order;
use everstream_core::event::{Surface, Usage};
use everstream_core::id::StreamId;
use everstream_core::money::Money;
use everstream_store::sql::Catalog;
use everstream_store::sql::values::{
    Actor, Budget, BudgetState, LedgerEntry, Payer, Period, Scope,
};
use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, within};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, held, post, send, unary_chat};

/// A dollar for each token, and half a dollar for a request.
pub const PRICES: &str = "[[prices]]\nmodel = \"*\"\ninput = \"1000000\"\noutput = \"1000000\"\n\
                          request = \"0.5\"";
/// What [`answer`] costs by them: 7 tokens and 5.
pub const COST: &str = "12.5";

pub fn money(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

pub fn catalog(gateway: &Gateway) -> Arc<dyn Catalog> {
    Arc::clone(gateway.app.access.directory().unwrap().catalog())
}

/// A budget of a day for project `one`, which the gateway knows of when this returns.
pub async fn budget(gateway: &Gateway, dollars: &str, alert_at: &[u8]) {
    let budget = Budget {
        id: "b".parse().unwrap(),
        scope: Scope::Project("one".parse().unwrap()),
        period: Period::Day,
        limit: money(dollars),
        alert_at: alert_at.to_vec(),
    };
    let by = Actor {
        who: "test".to_owned(),
        at: gateway.app.clock.now(),
    };
    catalog(gateway).put_budget(&by, &budget).await.unwrap();
    knows_budget(gateway, &payer("one")).await;
}

/// Waits until a gateway knows whom budgets cover, and that one covers the payer.
pub async fn knows_budget(gateway: &Gateway, covered: &Payer) {
    let billing = &gateway.app.generator.billing;
    let nobody = payer("nobody");
    crate::harness::until(|| billing.is_free(&nobody) && !billing.is_free(covered)).await;
}

pub fn payer(project: &str) -> Payer {
    Payer {
        organisation: None,
        project: project.parse().unwrap(),
        key: None,
    }
}

pub async fn state(gateway: &Gateway) -> BudgetState {
    let now = gateway.app.clock.now();
    let states = catalog(gateway).budgets(None, None, 10, now).await.unwrap();
    states.into_iter().next().unwrap()
}

/// What is spent and reserved, once all that ended is settled.
pub async fn stands(gateway: &Gateway) -> (Money, Money) {
    within(gateway.app.generator.billing.settled()).await;
    let state = state(gateway).await;
    (Money(state.spent), Money(state.reserved))
}

pub async fn entry(gateway: &Gateway, stream: &str) -> Option<LedgerEntry> {
    within(gateway.app.generator.billing.settled()).await;
    let stream: StreamId = stream.parse().unwrap();
    catalog(gateway).ledger_entry(stream).await.unwrap()
}

/// Asks as project `one`.
pub async fn ask(gateway: &Gateway, body: &Value) -> Reply {
    let bearer = format!("Bearer {KEY_ONE}");
    post(gateway, CHAT, body, &[("authorization", &bearer)]).await
}

pub async fn start(provider: &FakeProvider) -> Gateway {
    Setup::new(provider)
        .with_keys()
        .config(PRICES)
        .start()
        .await
}

#[tokio::test]
async fn an_answer_costs_its_usage_times_the_price_streamed_or_not() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = start(&provider).await;
    budget(&gateway, "1000", &[]).await;
    for body in [chat("x"), unary_chat("x")] {
        let reply = ask(&gateway, &body).await;
        let id = reply.stream();
        reply.body().await;
        let entry = entry(&gateway, &id).await.unwrap();
        assert_eq!(entry.payer, payer("one"));
        assert_eq!((&*entry.model, &*entry.upstream), ("m", "fake"));
        assert_eq!(
            (entry.usage.input_tokens, entry.usage.output_tokens),
            (7, 5)
        );
        assert!(!entry.usage.estimated);
        assert_eq!(entry.cost, money(COST));
    }
    assert_eq!(stands(&gateway).await, (money("25"), Money::ZERO));
    let metrics = gateway.app.generator.billing.queue().unwrap();
    assert_eq!(
        (metrics.entries, metrics.settled, metrics.refused),
        (0, 2, 0)
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses_in_each_dialects_words() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = start(&provider).await;
    budget(&gateway, "12", &[]).await;
    ask(&gateway, &chat("x")).await.body().await;
    assert_eq!(stands(&gateway).await.0, money(COST));
    let calls = provider.calls().len();
    let refused = ask(&gateway, &chat("y")).await;
    assert_eq!(refused.head.header("x-should-retry"), Some("false"));
    assert_eq!(refused.head.header("retry-after"), None);
    let error = refused.json(429).await;
    assert_eq!(error["error"]["code"], "insufficient_quota");
    assert_eq!(error["error"]["type"], "insufficient_quota");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("`b`") && message.contains("12.5 of 12 dollars"),
        "{message}"
    );
    let claude =
        json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
    let refused = post(&gateway, "/v1/messages", &claude, &[("x-api-key", KEY_ONE)]).await;
    assert_eq!(refused.json(429).await["error"]["type"], "billing_error");
    let google = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    let path = "/v1beta/models/m:generateContent";
    let refused = post(&gateway, path, &google, &[("x-goog-api-key", KEY_ONE)]).await;
    let error = refused.json(429).await;
    assert_eq!(error["error"]["status"], "RESOURCE_EXHAUSTED", "{error}");
    assert_eq!(provider.calls().len(), calls, "something was sent");
    let bearer = format!("Bearer {KEY_TWO}");
    let other = post(&gateway, CHAT, &chat("z"), &[("authorization", &bearer)]).await;
    assert_eq!(other.head.status, 200);
    other.body().await;
    gateway.stop().await;
}

/// However many ask at once, what is spent in the end is at most the limit and one reserve.
#[tokio::test]
async fn parallel_requests_overrun_a_budget_by_one_reserve_at_most() {
    let gate = Gate::new("all have asked");
    let held_back = gate.clone();
    let provider = FakeProvider::start(move |_| held(2, &held_back)).await;
    let gateway = start(&provider).await;
    let mut body = chat("x");
    body["max_tokens"] = json!(5);
    let request = bytes::Bytes::from(body.to_string());
    let reserve = request.len() as u64 + 5;
    // Room for three and a half.
    let limit = (reserve * 7 / 2).to_string();
    budget(&gateway, &limit, &[]).await;
    let asking = (0..24).map(|_| ask(&gateway, &body));
    // Nobody settles before all have their answer: what is settled makes room.
    let replies = within(futures_util::future::join_all(asking)).await;
    gate.open();
    let admitted = replies
        .iter()
        .filter(|reply| reply.head.status == 200)
        .count();
    let refused = replies
        .iter()
        .filter(|reply| reply.head.status == 429)
        .count();
    assert_eq!((admitted, refused), (4, 20));
    for reply in replies {
        reply.body().await;
    }
    let (spent, reserved) = stands(&gateway).await;
    assert_eq!((spent, reserved), (money("50"), Money::ZERO));
    assert!(spent.0 <= money(&limit).0 + reserve * 1_000_000_000);
    gateway.stop().await;
}

#[tokio::test]
async fn who_leaves_or_is_cut_pays_for_what_came() {
    let gate = Gate::new("never");
    let held_back = gate.clone();
    let provider =
        FakeProvider::start(move |request| {
            match request.json()["messages"][0]["content"].as_str() {
                Some("cut") => Script::chat_stream(&answer()).cut_after_events(3, Cut::Reset),
                Some("refused") => Script::openai_error(400, "x", "x", "No."),
                _ => held(4, &held_back),
            }
        })
        .await;
    let gateway = start(&provider).await;
    budget(&gateway, "1000", &[]).await;
    let cut = ask(&gateway, &chat("cut")).await;
    let id = cut.stream();
    cut.body().await;
    let cut = entry(&gateway, &id).await.unwrap();
    assert_eq!(cut.usage.output_tokens, 2);
    assert!(cut.usage.estimated && cut.cost > money("2.5"));
    let refused = ask(&gateway, &chat("refused")).await;
    let id = refused.stream();
    assert_eq!(refused.head.status, 400);
    let refused = entry(&gateway, &id).await.unwrap();
    assert_eq!(
        (refused.usage, refused.cost),
        (Usage::default(), Money::ZERO)
    );
    let left = ask(&gateway, &chat("leave")).await;
    let id = left.stream();
    within(gate.reached_by(1)).await;
    let bearer = format!("Bearer {KEY_ONE}");
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/v1/streams/{id}");
    let cancelled = send(&gateway, "DELETE", &path, &headers).await;
    assert!(cancelled.head.status < 300, "{}", cancelled.head.status);
    left.body().await;
    let left = entry(&gateway, &id).await.unwrap();
    assert!(left.usage.estimated && left.usage.output_tokens == 2);
    assert_eq!(
        stands(&gateway).await,
        (cut.cost.plus(left.cost), Money::ZERO)
    );
    gateway.stop().await;
}

/// A reserve is for the dearest who may answer, and for those who run beside each other.
#[tokio::test]
async fn the_reserve_is_for_the_worst_case() {
    let gate = Gate::new("later");
    let held_back = gate.clone();
    let provider = FakeProvider::start(move |_| held(2, &held_back)).await;
    let prices = "[[prices]]\nmodel = \"cheap\"\ninput = \"1\"\noutput = \"1\"\n\
                  [[prices]]\nmodel = \"dear\"\ninput = \"10\"\noutput = \"100\"\nrequest = \"1\"\n\
                  [[routes]]\nmodel = \"r\"\nhedge_after = \"10s\"\n\
                  [[routes.deployments]]\nupstream = \"fake\"\nmodel = \"cheap\"\n\
                  [[routes.deployments]]\nupstream = \"fake\"\nmodel = \"dear\"\n";
    let setup = Setup::new(&provider).with_keys().config(prices);
    let gateway = setup.start().await;
    budget(&gateway, "1000000", &[]).await;
    let mut body = chat("x");
    body["model"] = json!("r");
    body["max_tokens"] = json!(1000);
    body["n"] = json!(3);
    let bytes = body.to_string().len() as u64;
    let reply = ask(&gateway, &body).await;
    let expected = 2 * (1_000_000_000 + bytes * 10_000 + 3_000 * 100_000);
    assert_eq!(state(&gateway).await.reserved, expected);
    gate.open();
    reply.body().await;
    assert_eq!(stands(&gateway).await.1, Money::ZERO);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_that_never_begins_gives_its_reserve_back() {
    let gate = Gate::new("later");
    let held_back = gate.clone();
    let provider = FakeProvider::start(move |_| held(2, &held_back)).await;
    let setup = Setup::new(&provider).with_keys().config(PRICES);
    let setup = setup.config("[limits]\nmax_concurrency = 1\nqueue_timeout = \"50ms\"");
    let gateway = setup.start().await;
    budget(&gateway, "100000", &[]).await;
    let first = ask(&gateway, &chat("x")).await;
    let one = state(&gateway).await.reserved;
    let late = ask(&gateway, &chat("x")).await;
    assert_eq!(late.head.status, 503);
    gate.open();
    first.body().await;
    let mut reserved = one;
    while reserved > 0 {
        reserved = stands(&gateway).await.1.0;
    }
    assert_eq!(stands(&gateway).await.0, money(COST));
    gateway.stop().await;
}

#[tokio::test]
async fn models_without_a_price_are_refused_where_the_operator_says_so() {
    let provider = FakeProvider::start(answer_to).await;
    let config = "[[prices]]\nmodel = \"known\"\ninput = \"1\"\n[budgets]\nunpriced = \"refuse\"";
    let gateway = Setup::new(&provider)
        .with_keys()
        .config(config)
        .start()
        .await;
    let refused = ask(&gateway, &chat("x")).await;
    assert_eq!(refused.json(403).await["error"]["code"], "model_unpriced");
    assert!(
        provider
            .calls()
            .iter()
            .all(|call| call.path.ends_with("/models"))
    );
    let mut body = chat("x");
    body["model"] = json!("known");
    let served = ask(&gateway, &body).await;
    assert_eq!(served.head.status, 200);
    served.body().await;
    gateway.stop().await;
}

#[tokio::test]
async fn each_threshold_is_told_once() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = start(&provider).await;
    let mut alerts = gateway.app.generator.billing.alerts().unwrap();
    // 12.5 is 25 percent.
    budget(&gateway, "50", &[20, 50, 100]).await;
    let mut told = Vec::new();
    for n in 0..5 {
        let reply = ask(&gateway, &chat(&n.to_string())).await;
        assert_eq!(reply.head.status, if n < 4 { 200 } else { 429 });
        reply.body().await;
        stands(&gateway).await;
        while let Ok(alert) = alerts.try_recv() {
            told.push((n, alert.percent, alert.spent));
        }
    }
    let spent = |dollars: &str| money(dollars).0;
    let expected = [
        (0, 20, spent("12.5")),
        (1, 50, spent("25")),
        (3, 100, spent("50")),
    ];
    assert_eq!(told, expected);
    gateway.stop().await;
}

/// What an order is reckoned from, where no budget is asked: see `Order::worst_case`.
#[tokio::test]
async fn nothing_is_asked_for_callers_that_no_budget_covers() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = start(&provider).await;
    budget(&gateway, "0", &[]).await;
    let billing = &gateway.app.generator.billing;
    assert!(billing.is_free(&payer("two")) && !billing.is_free(&payer("one")));
    let body = bytes::Bytes::from_static(b"{}");
    let order = Order {
        surface: Surface::ChatCompletions,
        body: &body,
        choices: 1,
        targets: Vec::new(),
        at_once: 1,
    };
    let draw = || panic!("an id is drawn for a reserve alone");
    assert!(
        billing
            .reserve(payer("two"), &order, draw)
            .await
            .unwrap()
            .is_none()
    );
    gateway.stop().await;
}
