//! Which ways requests take beside the usual one: canaries, shadows, and the division of a client's
//! patience.

use std::time::Duration;

use everstream::upstream::health::Health;
use everstream_core::dialect::{Affinity, ProviderDialect};
use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::json;

use crate::harness::{Gateway, Setup, StillTime, until};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, event, held, post, soon};

/// A gateway whose route for `m` leads to `one`, and to `two` with `more` TOML for that place.
fn route(one: &FakeProvider, two: &FakeProvider, fields: &str, more: &str) -> Setup {
    Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream("two", &two.base_url(), fields)
        .upstream_fields(&format!(
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"two\"\n{more}"
        ))
}

async fn answering() -> FakeProvider {
    FakeProvider::start(answer_to).await
}

async fn whole(reply: Reply) -> String {
    let upstream = reply.header("everstream-upstream").to_owned();
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
    upstream
}

async fn ask(gateway: &Gateway) -> Reply {
    post(gateway, CHAT, &chat("x"), &[]).await
}

#[tokio::test]
async fn a_session_stays_with_a_canary_or_away_from_it() {
    let (one, two) = (answering().await, answering().await);
    let more = "canary = 40\npriority = 7";
    let gateway = route(&one, &two, "", more).start().await;
    let mut with_canary = 0;
    for session in 0..20 {
        let name = session.to_string();
        let mut seen = Vec::new();
        for text in ["a", "b"] {
            let headers = [("everstream-session", name.as_str())];
            seen.push(whole(post(&gateway, CHAT, &chat(text), &headers).await).await);
        }
        let mut body = chat("c");
        body["user"] = json!("somebody");
        whole(post(&gateway, CHAT, &body, &[]).await).await;
        assert_eq!(seen[0], seen[1], "session {session}");
        with_canary += u32::from(seen[0] == "two");
    }
    assert!((1..20).contains(&with_canary), "{with_canary}");
}

#[tokio::test]
async fn a_canary_is_asked_before_others_or_after_all_of_them() {
    for (percent, first) in [(100, "two"), (0, "one")] {
        let (one, two) = (answering().await, answering().await);
        let more = format!("canary = {percent}");
        let gateway = route(&one, &two, "", &more).start().await;
        for _ in 0..3 {
            assert_eq!(whole(ask(&gateway).await).await, first);
        }
    }
    let refuse = |_: &_| Script::openai_error(503, "x", "x", "No room.");
    let (one, two) = (FakeProvider::start(refuse).await, answering().await);
    let gateway = route(&one, &two, "", "canary = 0").start().await;
    assert_eq!(whole(ask(&gateway).await).await, "two");
    let (one, two) = (answering().await, FakeProvider::start(refuse).await);
    let gateway = route(&one, &two, "", "canary = 100").start().await;
    assert_eq!(whole(ask(&gateway).await).await, "one");
    assert_eq!(two.calls().len(), 1);
}

/// What is known of the shadow `two` of a gateway.
fn shadow(gateway: &Gateway) -> std::sync::Arc<Health> {
    let routed = gateway
        .app
        .models
        .deployments("m", ProviderDialect::OpenAiChat, Affinity::default)
        .expect("the route");
    assert!(routed.others.is_empty(), "a shadow is no part of the order");
    std::sync::Arc::clone(&routed.shadows[0].deployment.health)
}

#[tokio::test]
async fn a_shadow_gets_a_copy_and_is_judged() {
    let (one, two) = (answering().await, answering().await);
    let gateway = route(&one, &two, "", "model = \"other\"\nshadow = 100")
        .start()
        .await;
    assert_eq!(whole(ask(&gateway).await).await, "one");
    let health = shadow(&gateway);
    until(|| health.sight().outcomes.succeeded == 1).await;
    assert!(health.sight().latency_micros > 0);
    assert_eq!(health.sight().in_flight, 0);
    let (sent, copy) = (one.calls()[0].json(), two.calls()[0].json());
    assert_eq!(
        (&sent["model"], &copy["model"]),
        (&json!("m"), &json!("other"))
    );
    assert_eq!(sent["messages"], copy["messages"]);
    assert_eq!((one.calls().len(), two.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_shadow_of_another_dialect_is_asked_in_its_own() {
    let one = answering().await;
    let two = FakeProvider::start(|_| {
        Script::sse_steps([event(
            r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}"#,
        )])
    })
    .await;
    let setup = route(&one, &two, "dialect = \"gemini\"", "shadow = 100");
    let gateway = setup.start().await;
    assert_eq!(whole(ask(&gateway).await).await, "one");
    let health = shadow(&gateway);
    until(|| health.sight().outcomes.succeeded == 1).await;
    assert!(two.calls()[0].json()["contents"].is_array());
}

#[tokio::test]
async fn what_a_shadow_does_no_client_notices() {
    let gate = Gate::new("never");
    let hanging = gate.clone();
    let faults: Vec<Script> = vec![
        Script::openai_error(429, "x", "x", "Slow down."),
        Script::openai_error(400, "x", "x", "Bad."),
        Script::hang_up(Cut::Reset),
        Script::chat_stream(&answer()).cut_after_events(2, Cut::Reset),
        Script::html_200(),
        Script::chat_stream(&answer()).gate_before_head(&hanging),
        held(3, &hanging),
    ];
    for fault in faults {
        let one = answering().await;
        let scripts = std::sync::Mutex::new(Some(fault));
        let two = FakeProvider::start(move |request| {
            let first = scripts.lock().unwrap().take();
            first.unwrap_or_else(|| answer_to(request))
        })
        .await;
        let gateway = route(&one, &two, "max_concurrency = 1", "shadow = 100")
            .start()
            .await;
        assert_eq!(whole(ask(&gateway).await).await, "one");
        until(|| two.calls().len() == 1).await;
        assert_eq!(whole(ask(&gateway).await).await, "one");
        // It is not asked again for the first request, nor held against the end of the process.
        assert_eq!(one.calls().len(), 2);
        assert!(two.calls().len() <= 2);
        soon(gateway.stop()).await;
    }
}

#[tokio::test]
async fn beyond_its_bound_a_shadow_gets_nothing() {
    let gate = Gate::new("held");
    let hanging = gate.clone();
    let one = answering().await;
    let two = FakeProvider::start(move |_| held(3, &hanging)).await;
    let gateway = route(&one, &two, "max_concurrency = 2", "shadow = 100")
        .start()
        .await;
    for _ in 0..5 {
        whole(ask(&gateway).await).await;
    }
    soon(gate.reached_by(2)).await;
    assert_eq!((one.calls().len(), two.calls().len()), (5, 2));
    gate.open();
    let health = shadow(&gateway);
    until(|| health.sight().outcomes.succeeded == 2).await;
    whole(ask(&gateway).await).await;
    until(|| two.calls().len() == 3).await;
}

#[tokio::test]
async fn the_clients_time_is_enough_for_the_second() {
    let gate = Gate::new("never");
    let silent = gate.clone();
    let one =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_head(&silent))
            .await;
    let two = answering().await;
    let gateway = route(&one, &two, "", "")
        .config("[streams]\nhead_hold = \"30s\"")
        .start()
        .await;
    let time = StillTime::begin();
    let mut client = gateway.client().await;
    let asking = tokio::spawn(async move {
        let headers = [("everstream-timeout", "10s")];
        let head = client.post_json(CHAT, &chat("x"), &headers).await.unwrap();
        Reply { head, client }
    });
    soon(gate.reached_by(1)).await;
    time.pass(Duration::from_secs(6)).await;
    assert_eq!(whole(soon(asking).await.unwrap()).await, "two");
    soon(one.wait_for_hangups(1)).await;
}
