//! Limits: who is refused and how, what a refused request uses up, and that everything comes back.

use std::time::Duration;

use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, StillTime, until};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, ended, held, post, send, unary_chat};

/// A rule.
fn per(subject: &str, bounds: &str) -> String {
    format!("[[rate_limits]]\nper = \"{subject}\"\nbounds = [{bounds}]\n")
}

async fn plain() -> FakeProvider {
    FakeProvider::start(answer_to).await
}

async fn gateway(provider: &FakeProvider, rules: &str) -> Gateway {
    Setup::new(provider).config(rules).with_keys().start().await
}

async fn ask(gateway: &Gateway, key: &str, body: &Value) -> Reply {
    let key = format!("Bearer {key}");
    post(gateway, CHAT, body, &[("authorization", &key)]).await
}

/// How many of ten requests in a row are let in.
async fn let_in(gateway: &Gateway, key: &str, model: &str) -> usize {
    let mut count = 0;
    for n in 0..10 {
        let mut body = unary_chat(&n.to_string());
        body["model"] = json!(model);
        let reply = ask(gateway, key, &body).await;
        if reply.head.status == 200 {
            count += 1;
            reply.body().await;
        } else {
            assert_eq!(reply.error(429).await, "rate_limit_exceeded");
        }
    }
    count
}

#[tokio::test]
async fn each_subject_is_counted_for_itself() {
    let provider = plain().await;
    let three = "\"requests=3/1h\"";
    for (subject, expected) in [
        // Two keys of two projects, each asking two models.
        ("key", [3, 0, 3, 0]),
        ("project", [3, 0, 3, 0]),
        ("model", [3, 3, 0, 0]),
        ("address", [3, 0, 0, 0]),
    ] {
        let gateway = gateway(&provider, &per(subject, three)).await;
        let mut counts = Vec::new();
        for key in [KEY_ONE, KEY_TWO] {
            for model in ["m", "n"] {
                counts.push(let_in(&gateway, key, model).await);
            }
        }
        assert_eq!(counts, expected, "{subject}");
        // Another name of the same model is the same.
        if subject == "model" {
            assert_eq!(let_in(&gateway, KEY_ONE, "fake/m").await, 0);
        }
    }
    // What was refused never reached the provider.
    assert_eq!(provider.calls().len(), 6 + 6 + 6 + 3);
}

#[tokio::test]
async fn a_rule_is_for_those_that_it_names() {
    let provider = plain().await;
    let rules = "[[rate_limits]]\nper = \"model\"\nonly = [\"gpt-*\", \"x\"]\nbounds = [\"requests=1/1h\"]\n\
                 [[rate_limits]]\nper = \"project\"\nonly = [\"one\"]\nbounds = [\"requests=12/1h\"]";
    let gateway = gateway(&provider, rules).await;
    assert_eq!(let_in(&gateway, KEY_ONE, "gpt-4").await, 1);
    assert_eq!(let_in(&gateway, KEY_ONE, "gpt-5").await, 1);
    assert_eq!(let_in(&gateway, KEY_ONE, "x").await, 1);
    assert_eq!(let_in(&gateway, KEY_ONE, "xy").await, 9);
    assert_eq!(let_in(&gateway, KEY_TWO, "xy").await, 10);
}

#[tokio::test]
async fn windows_and_subjects_hold_at_once_and_who_is_refused_uses_up_nothing() {
    let provider = plain().await;
    let rules =
        per("key", "\"requests=2/10s\", \"requests=5/1h\"") + &per("model", "\"requests=100/1h\"");
    let gateway = gateway(&provider, &rules).await;
    let time = StillTime::begin();
    let left = |reply: &Reply| reply.header("ratelimit").to_owned();
    let reply = ask(&gateway, KEY_ONE, &unary_chat("x")).await;
    assert_eq!(
        left(&reply),
        "\"key-requests-10s\";r=1;t=5, \"key-requests-3600s\";r=4;t=720, \"model-requests-3600s\";r=99;t=36"
    );
    assert_eq!(
        reply.header("ratelimit-policy"),
        "\"key-requests-10s\";q=2;w=10, \"key-requests-3600s\";q=5;w=3600, \"model-requests-3600s\";q=100;w=3600"
    );
    let of_openai = ["limit", "remaining", "reset"].map(|what| {
        let name = format!("x-ratelimit-{what}-requests");
        reply.header(&name).to_owned()
    });
    assert_eq!(of_openai, ["2", "1", "5s"]);
    ask(&gateway, KEY_ONE, &unary_chat("x")).await;
    for _ in 0..5 {
        let refused = ask(&gateway, KEY_ONE, &unary_chat("x")).await;
        assert_eq!(refused.header("retry-after"), "5");
        assert_eq!(refused.header("x-should-retry"), "");
        assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
        assert_eq!(
            left(&refused),
            "\"key-requests-10s\";r=0;t=10, \"key-requests-3600s\";r=3;t=1440, \"model-requests-3600s\";r=98;t=72"
        );
        let body = refused.json(429).await;
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(
            body["error"]["message"],
            "This key may use 2 requests in 10s, and has not enough left for this request. Try again in 5s."
        );
    }
    // Who comes when it was told to is let in.
    time.pass(Duration::from_secs(5)).await;
    assert_eq!(
        ask(&gateway, KEY_ONE, &unary_chat("x")).await.head.status,
        200
    );
    assert_eq!(
        ask(&gateway, KEY_ONE, &unary_chat("x")).await.head.status,
        429
    );
    time.pass(Duration::from_secs(10)).await;
    assert_eq!(let_in(&gateway, KEY_ONE, "m").await, 2);
    // By now it is the hour of which nothing is left.
    time.pass(Duration::from_secs(10)).await;
    let refused = ask(&gateway, KEY_ONE, &unary_chat("x")).await;
    assert_eq!(refused.head.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 600);
    assert_eq!(let_in(&gateway, KEY_TWO, "m").await, 2);
}

fn tokens_left(reply: &Reply) -> u64 {
    reply
        .header("x-ratelimit-remaining-tokens")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn tokens_are_reserved_and_corrected_at_the_end() {
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |request| match request.wants_stream() {
        true => held(3, &held_by),
        false => answer_to(request),
    })
    .await;
    let rules = per("key", "\"output-tokens=100/31d\"");
    let gateway = gateway(&provider, &rules).await;
    let mut body = chat("x");
    body["max_tokens"] = json!(60);
    let running = ask(&gateway, KEY_ONE, &body).await;
    assert_eq!(tokens_left(&running), 40);
    let refused = ask(&gateway, KEY_ONE, &body).await;
    assert_eq!((refused.head.status, tokens_left(&refused)), (429, 40));
    // What says nothing reserves what answers are taken to have, which is never too much for good.
    let refused = ask(&gateway, KEY_ONE, &unary_chat("x")).await;
    assert_eq!((refused.head.status, tokens_left(&refused)), (429, 40));
    gate.open();
    running.frames().await;
    // Five were used.
    let mut body = unary_chat("x");
    body["max_completion_tokens"] = json!(10);
    body["n"] = json!(2);
    let reply = ask(&gateway, KEY_ONE, &body).await;
    assert_eq!((reply.head.status, tokens_left(&reply)), (200, 75));
    reply.body().await;
    let reply = ask(&gateway, KEY_ONE, &unary_chat("x")).await;
    assert_eq!(reply.head.status, 429);
    let mut body = unary_chat("x");
    body["max_tokens"] = json!(101);
    let refused = ask(&gateway, KEY_ONE, &body).await;
    assert_eq!(refused.header("retry-after"), "");
    assert_eq!(refused.header("x-should-retry"), "false");
    let refused = refused.json(429).await;
    let message = "The request is too large: it asks for 101 output tokens, and this key may use 100 output \
                   tokens in 31d. Lower the most that it asks for.";
    assert_eq!(refused["error"]["message"], message);
}

#[tokio::test]
async fn tokens_of_prompts_are_estimated_and_corrected() {
    let provider = plain().await;
    let gateway = gateway(&provider, &per("project", "\"input-tokens=1000/31d\"")).await;
    let body = unary_chat(&"x".repeat(2_000));
    let reply = ask(&gateway, KEY_ONE, &body).await;
    let reserved = body.to_string().len().div_ceil(4) as u64;
    assert_eq!(tokens_left(&reply), 1_000 - reserved);
    reply.body().await;
    // The provider said that it were 7.
    let reply = ask(&gateway, KEY_ONE, &body).await;
    assert_eq!(tokens_left(&reply), 1_000 - 7 - reserved);
    reply.body().await;
    // An estimate that is more than there is at all is no reason to refuse for good.
    let long = unary_chat(&"x".repeat(8_000));
    let reply = ask(&gateway, KEY_ONE, &long).await;
    assert_eq!(reply.head.status, 429);
    assert!(!reply.header("retry-after").is_empty());
    let reply = ask(&gateway, KEY_TWO, &long).await;
    assert_eq!((reply.head.status, tokens_left(&reply)), (200, 0));
}

#[tokio::test]
async fn slots_come_back_however_a_generation_ends() {
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |request| {
        let text = request.json()["messages"][0]["content"].clone();
        match text.as_str().unwrap_or_default() {
            "cut" => Script::chat_stream(&answer()).cut_after_events(3, Cut::Reset),
            "refused" => Script::openai_error(500, "x", "x", "No."),
            "none" => Script::hang_up(Cut::Close),
            "whole" => answer_to(request),
            _ => held(3, &held_by),
        }
    })
    .await;
    let gateway = gateway(&provider, &per("key", "\"concurrency=2\"")).await;
    let key = format!("Bearer {KEY_ONE}");
    let key = ("authorization", &*key);
    for round in 0..40 {
        let leave = [key, ("everstream-on-disconnect", "cancel")];
        let first = post(&gateway, CHAT, &chat("a"), &leave).await;
        let second = post(&gateway, CHAT, &chat("b"), &[key]).await;
        assert_eq!(
            (first.head.status, second.head.status),
            (200, 200),
            "{round}"
        );
        let refused = post(&gateway, CHAT, &chat("c"), &[key]).await;
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.error(429).await, "rate_limit_exceeded");
        // Others have slots of their own.
        if round == 0 {
            let other = ask(&gateway, KEY_TWO, &unary_chat("whole")).await;
            assert_eq!(other.head.status, 200);
        }
        let path = format!("/v1/streams/{}", second.stream());
        send(&gateway, "DELETE", &path, &[key]).await;
        drop(first);
        until(|| gateway.app.generator.registry.is_empty()).await;
        for text in ["cut", "refused", "none", "whole"] {
            let reply = post(&gateway, CHAT, &unary_chat(text), &[key]).await;
            assert_ne!(reply.head.status, 429, "{round} {text}");
        }
        until(|| gateway.app.generator.registry.is_empty()).await;
    }
}

#[tokio::test]
async fn a_generation_without_its_client_keeps_its_slot_until_its_end() {
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &held_by)).await;
    let gateway = gateway(&provider, &per("address", "\"concurrency=1\"")).await;
    let key = format!("Bearer {KEY_ONE}");
    let headers = [
        ("authorization", &*key),
        ("everstream-on-disconnect", "continue"),
    ];
    let first = post(&gateway, CHAT, &chat("x"), &headers).await;
    let stream = first.stream();
    drop(first);
    let live = gateway.app.generator.registry.get(stream.parse().unwrap());
    until(|| live.as_ref().is_none_or(|live| live.readers() == 0)).await;
    assert_eq!(ask(&gateway, KEY_TWO, &chat("y")).await.head.status, 429);
    gate.open();
    until(|| gateway.app.generator.registry.is_empty()).await;
    assert_eq!(ask(&gateway, KEY_TWO, &chat("y")).await.head.status, 200);
}

#[tokio::test]
async fn who_reads_the_end_may_ask_the_next_at_once() {
    let provider = plain().await;
    let gateway = gateway(&provider, &per("key", "\"concurrency=1\"")).await;
    for stream in [true, false] {
        for _ in 0..50 {
            let mut body = chat("x");
            body["stream"] = json!(stream);
            let reply = ask(&gateway, KEY_ONE, &body).await;
            assert_eq!(reply.head.status, 200);
            reply.body().await;
        }
    }
}

#[tokio::test]
async fn a_repeat_is_free_and_what_the_queue_refuses_is_given_back() {
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &held_by)).await;
    let rules = per("address", "\"requests=2/1h\"") + "[limits]\nmax_concurrency = 1\nqueue = 0";
    let gateway = Setup::new(&provider).config(&rules).start().await;
    let key = [("idempotency-key", "k")];
    let first = post(&gateway, CHAT, &chat("x"), &key).await;
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    for _ in 0..3 {
        let again = post(&gateway, CHAT, &chat("x"), &key).await;
        assert_eq!((again.head.status, again.header("ratelimit")), (200, ""));
        let cursor = format!("{}.0", first.stream());
        let resumed = post(&gateway, CHAT, &chat("x"), &[("last-event-id", &cursor)]).await;
        assert_eq!(resumed.head.status, 200);
        let shed = post(&gateway, CHAT, &chat("y"), &[]).await;
        assert_eq!(shed.error(503).await, "overloaded");
    }
    gate.open();
    let stream = first.stream();
    first.frames().await;
    ended(&gateway, &stream).await;
    until(|| gateway.app.admission.sight().running == 0).await;
    let second = post(&gateway, CHAT, &chat("z"), &[]).await;
    assert_eq!(second.header("x-ratelimit-remaining-requests"), "0");
    second.frames().await;
    assert_eq!(post(&gateway, CHAT, &chat("z"), &[]).await.head.status, 429);
}

#[tokio::test]
async fn who_is_refused_is_told_so_in_its_own_api() {
    let provider = plain().await;
    let message = json!({"role": "user", "content": "x"});
    let google = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    for (path, body, place, told) in [
        (CHAT, chat("x"), "/error/code", "rate_limit_exceeded"),
        (
            "/v1/responses",
            json!({"model": "m", "input": "x"}),
            "/error/code",
            "rate_limit_exceeded",
        ),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "messages": [message]}),
            "/error/type",
            "rate_limit_error",
        ),
        (
            "/v1beta/models/m:generateContent",
            google,
            "/error/status",
            "RESOURCE_EXHAUSTED",
        ),
    ] {
        let gateway = Setup::new(&provider).config(&per("address", "\"requests=1/1h\""));
        let gateway = gateway.start().await;
        assert_eq!(
            post(&gateway, path, &body, &[]).await.head.status,
            200,
            "{path}"
        );
        let refused = post(&gateway, path, &body, &[]).await;
        assert_eq!(refused.header("retry-after"), "3600");
        let body = refused.json(429).await;
        assert_eq!(body.pointer(place), Some(&json!(told)), "{path}: {body}");
        let metrics = gateway.app.limits.metrics().clone();
        let mut registry = prometheus_client::registry::Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = "limited_total{subject=\"address\",metric=\"requests\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
