//! Too much at once: who waits, who is refused and how, and that every place comes back.

use std::time::Duration;

use everstream_core::dialect::Affinity;
use everstream_core::error::ErrorCode;
use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, StillTime, until};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, held, post, send, soon, unary_chat};

/// A provider that holds each answer back, after its first token, until the gate is open.
async fn holding(gate: &Gate) -> FakeProvider {
    let gate = gate.clone();
    FakeProvider::start(move |_| held(3, &gate)).await
}

fn limits(toml: &str) -> String {
    format!("[limits]\n{toml}")
}

/// A request that waits: its connection, on which the answer comes.
async fn asks(gateway: &Gateway, path: &str, body: &Value, headers: &[(&str, &str)]) -> RawClient {
    let mut client = gateway.client().await;
    let body = body.to_string();
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n",
        gateway.addr
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    client.send(text.as_bytes()).await.unwrap();
    client
}

/// The reply to [`asks`].
async fn reply(mut client: RawClient) -> Reply {
    let head = soon(client.read_head()).await.unwrap();
    Reply { head, client }
}

async fn waiting(gateway: &Gateway, count: usize) {
    until(|| gateway.app.admission.sight().waiting == count).await;
}

async fn running(gateway: &Gateway, count: u32) {
    until(|| gateway.app.admission.sight().running == count).await;
}

/// So many generations that run, and whose answers are held.
async fn fill(gateway: &Gateway, count: usize) -> Vec<Reply> {
    let mut replies = Vec::new();
    for _ in 0..count {
        let reply = post(gateway, CHAT, &chat("x"), &[]).await;
        assert_eq!(reply.head.status, 200);
        replies.push(reply);
    }
    replies
}

async fn cancel(gateway: &Gateway, reply: &Reply) {
    let path = format!("/v1/streams/{}", reply.stream());
    send(gateway, "DELETE", &path, &[]).await;
}

#[tokio::test]
async fn a_third_waits_until_one_of_two_is_over() {
    let gate = Gate::new("held");
    let provider = holding(&gate).await;
    let gateway = Setup::new(&provider).config(&limits("max_concurrency = 2"));
    let gateway = gateway.start().await;
    let first = fill(&gateway, 2).await;
    let third = asks(&gateway, CHAT, &chat("y"), &[]).await;
    waiting(&gateway, 1).await;
    // Nothing of it is anywhere yet.
    assert_eq!(provider.calls().len(), 2);
    assert_eq!(gateway.app.generator.registry.len(), 2);
    // Who reads what there is needs no place.
    let path = format!("/v1/streams/{}", first[0].stream());
    assert_eq!(send(&gateway, "GET", &path, &[]).await.head.status, 200);
    cancel(&gateway, &first[0]).await;
    let third = reply(third).await;
    assert_eq!(third.head.status, 200);
    assert_eq!(provider.calls().len(), 3);
    gate.open();
    third.frames().await;
    running(&gateway, 0).await;
}

#[tokio::test]
async fn a_repeated_request_needs_no_place_of_its_own() {
    let gate = Gate::new("held");
    let provider = holding(&gate).await;
    let limits = limits("max_concurrency = 1\nqueue = 0");
    let gateway = Setup::new(&provider).config(&limits).start().await;
    let key = [("idempotency-key", "k")];
    let first = post(&gateway, CHAT, &chat("x"), &key).await;
    let again = post(&gateway, CHAT, &chat("x"), &key).await;
    assert_eq!(first.stream(), again.stream());
    let other = post(&gateway, CHAT, &chat("y"), &[]).await;
    assert_eq!(other.error(503).await, "overloaded");
    gate.open();
    assert_eq!(first.frames().await.len(), again.frames().await.len());
}

/// Each API, with a streamed request and where its errors say what they are.
fn apis() -> [(&'static str, Value, [&'static str; 2]); 4] {
    let message = json!({"role": "user", "content": "x"});
    let google = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    [
        (CHAT, chat("x"), ["/error/code", "/error/code"]),
        (
            "/v1/responses",
            json!({"model": "m", "stream": true, "input": "x"}),
            ["/error/code", "/error/code"],
        ),
        (
            "/v1/messages",
            json!({"model": "m", "stream": true, "max_tokens": 9, "messages": [message]}),
            ["/error/type", "/error/type"],
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            google,
            ["/error/status", "/error/status"],
        ),
    ]
}

#[tokio::test]
async fn who_is_refused_is_told_so_in_its_own_api() {
    let told = [
        ("too_many_waiting", "overloaded"),
        ("too_many_waiting", "overloaded"),
        ("rate_limit_error", "overloaded_error"),
        ("RESOURCE_EXHAUSTED", "UNAVAILABLE"),
    ];
    for ((path, body, places), (share, full)) in apis().into_iter().zip(told) {
        let gate = Gate::new("held");
        let provider = holding(&gate).await;
        let limits = limits("max_concurrency = 1\nqueue = 1\nqueue_timeout = \"7s\"");
        let gateway = Setup::new(&provider).config(&limits).with_keys();
        let gateway = gateway.start().await;
        let [one, two] = [KEY_ONE, KEY_TWO].map(|key| format!("Bearer {key}"));
        let (one, two) = ([("authorization", &*one)], [("authorization", &*two)]);
        let first = post(&gateway, CHAT, &chat("x"), &one).await;
        let waits = asks(&gateway, CHAT, &chat("y"), &one).await;
        waiting(&gateway, 1).await;
        for (key, status, place, name) in
            [(&one, 429, places[0], share), (&two, 503, places[1], full)]
        {
            let refused = post(&gateway, path, &body, key).await;
            assert_eq!(refused.header("retry-after"), "7");
            // An SDK may repeat it by itself: nothing ran.
            assert_eq!(refused.header("x-should-retry"), "");
            let body = refused.json(status).await;
            assert_eq!(body.pointer(place), Some(&json!(name)), "{path}: {body}");
        }
        let shed = gateway.app.admission.sight().shed;
        assert_eq!((shed.share, shed.full, shed.late), (1, 1, 0));
        gate.open();
        first.frames().await;
        reply(waits).await.frames().await;
        assert_eq!(provider.calls().len(), 2);
    }
}

#[tokio::test]
async fn who_waits_for_too_long_is_told_to_come_again() {
    let gate = Gate::new("held");
    let provider = holding(&gate).await;
    let gateway = Setup::new(&provider).config(&limits("max_concurrency = 1"));
    let gateway = gateway.start().await;
    let _first = fill(&gateway, 1).await;
    let time = StillTime::begin();
    let patient = asks(&gateway, CHAT, &chat("x"), &[]).await;
    let hurried = [("everstream-timeout", "3s")];
    let hurried = asks(&gateway, CHAT, &chat("x"), &hurried).await;
    waiting(&gateway, 2).await;
    time.pass(Duration::from_millis(2_900)).await;
    assert_eq!(gateway.app.admission.sight().waiting, 2);
    time.pass(Duration::from_millis(200)).await;
    let late = reply(hurried).await;
    assert_eq!(late.header("retry-after"), "10");
    assert_eq!(late.error(503).await, "overloaded");
    time.pass(Duration::from_millis(6_800)).await;
    assert_eq!(gateway.app.admission.sight().waiting, 1);
    time.pass(Duration::from_millis(200)).await;
    assert_eq!(reply(patient).await.error(503).await, "overloaded");
    assert_eq!(gateway.app.admission.sight().shed.late, 2);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_makes_room_in_the_queue() {
    let gate = Gate::new("held");
    let provider = holding(&gate).await;
    let limits = limits("max_concurrency = 1\nqueue = 1");
    let gateway = Setup::new(&provider).config(&limits).start().await;
    let first = fill(&gateway, 1).await;
    let leaves = asks(&gateway, CHAT, &chat("x"), &[]).await;
    waiting(&gateway, 1).await;
    drop(leaves);
    waiting(&gateway, 0).await;
    let stays = asks(&gateway, CHAT, &chat("x"), &[]).await;
    waiting(&gateway, 1).await;
    cancel(&gateway, &first[0]).await;
    assert_eq!(reply(stays).await.head.status, 200);
    assert_eq!(provider.calls().len(), 2);
    gate.open();
    running(&gateway, 0).await;
}

#[tokio::test]
async fn projects_take_turns() {
    let provider = FakeProvider::start(answer_to).await;
    let limits = limits("max_concurrency = 1");
    let gateway = Setup::new(&provider).config(&limits).with_keys();
    let gateway = gateway.start().await;
    // The place that is to be given back by hand.
    let slot = gateway.app.admission.enter_anyway();
    let mut replies = Vec::new();
    for (nth, (key, text)) in [
        (KEY_ONE, "one 1"),
        (KEY_ONE, "one 2"),
        (KEY_ONE, "one 3"),
        (KEY_TWO, "two 1"),
        (KEY_TWO, "two 2"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("Bearer {key}");
        let key = [("authorization", &*key)];
        replies.push(asks(&gateway, CHAT, &unary_chat(text), &key).await);
        waiting(&gateway, nth + 1).await;
    }
    drop(slot);
    for client in replies {
        reply(client).await.json(200).await;
    }
    let asked = provider.calls();
    let asked: Vec<_> = asked
        .iter()
        .map(|call| call.json()["messages"][0]["content"].clone())
        .collect();
    assert_eq!(asked, ["one 1", "two 1", "one 2", "two 2", "one 3"]);
}

#[tokio::test]
async fn places_come_back_however_a_generation_ends() {
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
    let limits = limits("max_concurrency = 8");
    let gateway = Setup::new(&provider)
        .config(&limits)
        .upstream_fields("max_concurrency = 8")
        .start()
        .await;
    for round in 0..125 {
        let leave = [("everstream-on-disconnect", "cancel")];
        let mut ends = Vec::new();
        for text in ["a", "b", "c", "d"] {
            let reply = post(&gateway, CHAT, &chat(text), &leave).await;
            assert_eq!(reply.head.status, 200, "{round}");
            ends.push(reply);
        }
        for text in ["cut", "refused", "none", "whole"] {
            let mut reply = post(&gateway, CHAT, &chat(text), &[]).await;
            soon(reply.client.read_body()).await.unwrap();
        }
        cancel(&gateway, &ends[0]).await;
        cancel(&gateway, &ends[1]).await;
        // The others leave.
        drop(ends);
    }
    running(&gateway, 0).await;
    let first = fill(&gateway, 8).await;
    let ninth = asks(&gateway, CHAT, &chat("x"), &[]).await;
    waiting(&gateway, 1).await;
    gate.open();
    reply(ninth).await.frames().await;
    drop(first);
    running(&gateway, 0).await;
    let sight = gateway.app.admission.sight();
    assert_eq!((sight.most, sight.waiting), (Some(8), 0));
}

/// A route for the model `m` by way of these upstreams.
fn route(names: &[&str]) -> String {
    let deployments = names
        .iter()
        .map(|name| format!("[[routes.deployments]]\nupstream = \"{name}\"\n"));
    format!(
        "[[routes]]\nmodel = \"m\"\n{}",
        deployments.collect::<String>()
    )
}

#[tokio::test]
async fn where_all_deployments_are_full_the_first_with_room_is_asked() {
    let (gate_one, gate_two) = (Gate::new("one"), Gate::new("two"));
    let (one, two) = (holding(&gate_one).await, holding(&gate_two).await);
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "max_concurrency = 1")
        .upstream("two", &two.base_url(), "max_concurrency = 1")
        .upstream_fields(&route(&["one", "two"]))
        .start()
        .await;
    let first = fill(&gateway, 2).await;
    let names = first
        .iter()
        .map(|reply| reply.header("everstream-upstream"));
    assert!(names.eq(["one", "two"]));
    let third = asks(&gateway, CHAT, &chat("y"), &[]).await;
    let fourth = asks(&gateway, CHAT, &chat("z"), &[]).await;
    waiting(&gateway, 2).await;
    // A model that has room is not kept from running by those who wait for another one.
    let mut other = chat("x");
    other["model"] = json!("one/else");
    assert_eq!(post(&gateway, CHAT, &other, &[]).await.head.status, 200);
    cancel(&gateway, &first[1]).await;
    let third = reply(third).await;
    assert_eq!(third.header("everstream-upstream"), "two");
    cancel(&gateway, &first[0]).await;
    let fourth = reply(fourth).await;
    assert_eq!(fourth.header("everstream-upstream"), "one");
    assert_eq!((one.calls().len(), two.calls().len()), (3, 2));
    gate_one.open();
    gate_two.open();
    third.frames().await;
    fourth.frames().await;
}

#[tokio::test]
async fn who_ends_the_process_lets_nobody_wait() {
    let gate = Gate::new("held");
    let provider = holding(&gate).await;
    let gateway = Setup::new(&provider).config(&limits("max_concurrency = 1"));
    let gateway = gateway.start().await;
    let first = fill(&gateway, 1).await;
    let waits = asks(&gateway, CHAT, &chat("y"), &[]).await;
    waiting(&gateway, 1).await;
    gateway.app.drain();
    let code = ErrorCode::Draining.as_str();
    assert_eq!(reply(waits).await.error(503).await, code);
    gate.open();
    drop(first);
    gateway.stop().await;
}

#[tokio::test]
async fn an_adaptive_limit_falls_while_it_is_refused_and_rises_again() {
    let busy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_busy = std::sync::Arc::clone(&busy);
    let provider = FakeProvider::start(move |request| {
        if is_busy.load(std::sync::atomic::Ordering::SeqCst) {
            Script::openai_error(429, "requests", "rate_limit_exceeded", "Slow down.")
        } else {
            answer_to(request)
        }
    })
    .await;
    let gateway = Setup::new(&provider)
        .upstream_fields("min_concurrency = 2\nmax_concurrency = 20")
        .start()
        .await;
    let limit = || {
        let routed = gateway.app.models.deployments(
            "m",
            everstream_core::dialect::ProviderDialect::OpenAiChat,
            Affinity::default,
        );
        routed.unwrap().first.health.sight().limit
    };
    assert_eq!(limit(), Some(11));
    let time = StillTime::begin();
    for _ in 0..40 {
        let refused = post(&gateway, CHAT, &unary_chat("x"), &[]).await;
        assert_eq!(refused.head.status, 429);
        time.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(limit(), Some(2));
    busy.store(false, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..8 {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(asks(&gateway, CHAT, &unary_chat("x"), &[]).await);
        }
        for client in clients {
            reply(client).await.json(200).await;
        }
    }
    assert!(limit() > Some(3), "{:?}", limit());
}
