//! Several keys of an upstream: who takes turns, who rests, who is closed.

use std::time::Duration;

use everstream_core::record::Record;
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};

use crate::harness::{Gateway, Setup, StillTime};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, post};

/// A gateway in front of `provider`, which is called `one` and has these keys; `more` is TOML.
fn setup(provider: &FakeProvider, keys: &[&str], more: &str) -> Setup {
    let base_url = provider.base_url();
    Setup::default().upstream_fields(&format!(
        "[[upstreams]]\nname = \"one\"\nbase_url = \"{base_url}\"\napi_keys = {keys:?}\n{more}"
    ))
}

/// Puts the model `m` of `one` on a route.
const ROUTE: &str = "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"";

fn key_of(request: &ReceivedRequest) -> String {
    let sent = request.header("authorization").unwrap_or_default();
    sent.trim_start_matches("Bearer ").to_owned()
}

fn keys_of(provider: &FakeProvider) -> Vec<String> {
    provider.calls().iter().map(key_of).collect()
}

/// A provider that refuses these keys, each with a status, and answers to all others.
async fn refusing(refused: &[(&str, u16)]) -> FakeProvider {
    let refused: Vec<(String, u16)> = refused.iter().map(|(k, s)| ((*k).to_owned(), *s)).collect();
    FakeProvider::start(move |request| {
        let key = key_of(request);
        match refused.iter().find(|(refused, _)| *refused == key) {
            None => answer_to(request),
            Some((_, status)) => {
                let message = format!("Not with {key}.");
                let script = Script::openai_error(*status, "some_error", "nothing", &message);
                script.header("retry-after", "5")
            }
        }
    })
    .await
}

async fn ask(gateway: &Gateway) -> Reply {
    post(gateway, CHAT, &chat("x"), &[]).await
}

/// By somebody who does not wait until a key is back.
async fn hurried(gateway: &Gateway) -> Reply {
    post(gateway, CHAT, &chat("x"), &[("everstream-timeout", "2s")]).await
}

async fn whole(reply: Reply) {
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
}

#[tokio::test]
async fn keys_take_turns_on_a_route_or_without() {
    for more in ["", ROUTE] {
        let provider = refusing(&[]).await;
        let gateway = setup(&provider, &["a", "b", "c"], more).start().await;
        for _ in 0..4 {
            whole(ask(&gateway).await).await;
        }
        assert_eq!(keys_of(&provider), ["a", "b", "c", "a"]);
    }
}

#[tokio::test]
async fn each_api_sends_its_keys_in_its_own_header() {
    for (auth, header) in [
        ("x-api-key", "x-api-key"),
        ("api-key", "api-key"),
        ("x-goog-api-key", "x-goog-api-key"),
        ("google", "authorization"),
    ] {
        let provider = FakeProvider::start(answer_to).await;
        let more = format!("auth = \"{auth}\"");
        let gateway = setup(&provider, &["a", "b"], &more).start().await;
        whole(ask(&gateway).await).await;
        whole(ask(&gateway).await).await;
        let calls = provider.calls();
        let sent = calls.iter().map(|call| {
            let sent = call.header(header).unwrap_or_default();
            sent.trim_start_matches("Bearer ").to_owned()
        });
        assert_eq!(sent.collect::<Vec<_>>(), ["a", "b"], "{auth}");
    }
}

#[tokio::test]
async fn a_key_at_its_limit_rests_alone_and_the_next_is_taken_at_once() {
    for (status, rest) in [(429, 5), (401, 5), (403, 5)] {
        for more in ["", ROUTE] {
            let provider = refusing(&[("a", status)]).await;
            let gateway = setup(&provider, &["a", "b"], more).start().await;
            let time = StillTime::begin();
            let reply = ask(&gateway).await;
            let id = reply.stream().parse().unwrap();
            whole(reply).await;
            let audit = gateway.app.log.audit(id).await.unwrap();
            let abandoned = |record: &Record| matches!(record, Record::Abandoned(_));
            assert!(audit.iter().any(abandoned), "it counts as an attempt");
            for _ in 0..2 {
                whole(ask(&gateway).await).await;
            }
            assert_eq!(keys_of(&provider), ["a", "b", "b", "b"], "{status} {more}");
            time.pass(Duration::from_secs(rest)).await;
            whole(ask(&gateway).await).await;
            assert_eq!(keys_of(&provider)[4..], ["a", "b"]);
        }
    }
}

#[tokio::test]
async fn when_all_keys_rest_nobody_is_asked_until_the_first_is_back() {
    let keys = ["canary-key-1", "canary-key-2"];
    let provider = refusing(&keys.map(|key| (key, 429))).await;
    let gateway = setup(&provider, &keys, ROUTE).start().await;
    let time = StillTime::begin();
    let reply = hurried(&gateway).await;
    assert_eq!(reply.header("retry-after"), "5");
    let told = reply.json(429).await.to_string();
    assert!(told.contains("Not with [redacted]."), "{told}");
    assert_eq!(keys_of(&provider), keys);
    let reply = hurried(&gateway).await;
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(reply.error(429).await, "upstream_rate_limited");
    assert_eq!(provider.calls().len(), 2);
    time.pass(Duration::from_secs(5)).await;
    let reply = hurried(&gateway).await;
    assert_eq!(reply.head.status, 429);
    assert_eq!(provider.calls().len(), 4);
}

#[tokio::test]
async fn off_a_route_the_provider_is_asked_anyway_and_once() {
    let provider = refusing(&[("a", 429), ("b", 401)]).await;
    let gateway = setup(&provider, &["a", "b"], "").start().await;
    assert_eq!(ask(&gateway).await.head.status, 429);
    assert_eq!(keys_of(&provider), ["a", "b"]);
    assert_eq!(ask(&gateway).await.head.status, 429);
    // The one that is back first.
    assert_eq!(keys_of(&provider)[2..], ["a"]);
}

#[tokio::test]
async fn a_refused_key_opens_no_breaker_while_others_work() {
    let provider = refusing(&[("a", 401), ("b", 401)]).await;
    let gateway = setup(&provider, &["a", "b", "c"], ROUTE).start().await;
    for _ in 0..8 {
        whole(ask(&gateway).await).await;
    }
    assert_eq!(keys_of(&provider)[..3], ["a", "b", "c"]);
    assert!(keys_of(&provider)[3..].iter().all(|key| key == "c"));
}
