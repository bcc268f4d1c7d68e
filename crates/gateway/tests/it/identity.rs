//! `Idempotency-Key`: one key is one generation, however often and by whomever of its project it is
//! asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::talk::{
    CHAT, Reply, answer, answer_to, chat, data, event, events, held, post, read, send, soon,
    unary_chat,
};

const KEY: (&str, &str) = ("idempotency-key", "order-66");

/// Asks with the key.
pub(crate) async fn keyed(gateway: &Gateway, body: &Value) -> Reply {
    post(gateway, CHAT, body, &[KEY]).await
}

/// Asks again with the same key: it is the same stream, and says so.
pub(crate) async fn again(gateway: &Gateway, body: &Value, stream: &str) -> Reply {
    let reply = keyed(gateway, body).await;
    assert_eq!(reply.header("idempotent-replayed"), "true");
    assert_eq!(reply.stream(), stream);
    reply
}

#[tokio::test]
async fn the_same_key_and_body_attach_to_a_running_and_to_an_ended_stream() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let mut first = keyed(&gateway, &chat("x")).await;
    assert_eq!(first.head.header("idempotent-replayed"), None);
    let id = first.stream();
    let seen: Vec<_> = [
        first.event().await,
        first.event().await,
        first.event().await,
    ]
    .into();
    let running = again(&gateway, &chat("x"), &id).await;
    gate.open();
    let rest = first.frames().await;
    let all = [events(&seen), events(&rest)].concat();
    assert_eq!(events(&running.frames().await), all);
    let ended = again(&gateway, &chat("x"), &id).await;
    assert_eq!(events(&ended.frames().await), all);
    // The cursor decides where it goes on.
    let cursor = format!("{id}.5");
    let resumed = post(
        &gateway,
        CHAT,
        &chat("x"),
        &[KEY, ("last-event-id", &cursor)],
    )
    .await;
    assert_eq!(events(&resumed.frames().await), all[5..]);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn the_key_means_this_generation_also_when_it_failed() {
    let provider = FakeProvider::start(|request| {
        match request.json()["messages"][0]["content"].as_str().unwrap() {
            "500" => Script::openai_error(500, "server_error", "oops", "It broke."),
            _ => Script::chat_stream(&answer()).cut_after_events(3, Cut::Reset),
        }
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let refused = keyed(&gateway, &chat("500")).await;
    let id = refused.stream();
    let head = refused.head.clone();
    let body = refused.body().await;
    for (stream, status) in [(true, 500), (false, 500)] {
        let mut request = chat("500");
        request["stream"] = json!(stream);
        let replayed = again(&gateway, &request, &id).await;
        assert_eq!(
            replayed.header("x-should-retry"),
            head.header("x-should-retry").unwrap()
        );
        assert_eq!(replayed.head.status, status);
        assert_eq!(replayed.body().await, body);
    }
    let other = [("idempotency-key", "another")];
    let cut = post(&gateway, CHAT, &chat("cut"), &other).await;
    let frames = cut.frames().await;
    assert_eq!(frames.len(), 4);
    let replayed = post(&gateway, CHAT, &chat("cut"), &other).await;
    assert_eq!(replayed.frames().await, frames);
    // As one body it is an error too: half an answer must not pass for a whole one.
    let folded = post(&gateway, CHAT, &unary_chat("cut"), &other).await;
    assert_eq!(folded.header("x-should-retry"), "false");
    assert_eq!(folded.error(502).await, "upstream_cut");
    assert_eq!(provider.calls().len(), 2);
}

#[tokio::test]
async fn a_cancelled_stream_is_never_attached_to_as_complete() {
    let gate = Gate::new("never");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let mut first = keyed(&gateway, &chat("x")).await;
    let id = first.stream();
    first.event().await;
    let path = format!("/v1/streams/{id}");
    send(&gateway, "DELETE", &path, &[]).await.json(200).await;
    let frames = again(&gateway, &chat("x"), &id).await.frames().await;
    assert_eq!(frames.len(), 4);
    assert!(data(&frames)[3].contains("\"cancelled\""), "{frames:?}");
    let folded = again(&gateway, &unary_chat("x"), &id).await;
    assert_eq!(folded.error(499).await, "cancelled");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn another_body_is_a_422_that_no_sdk_repeats_and_another_form_of_the_same_is_not() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let first = keyed(&gateway, &chat("x")).await;
    let id = first.stream();
    first.frames().await;
    for other in [
        chat("y"),
        unary_chat("y"),
        json!({"model": "n", "messages": []}),
    ] {
        let refused = keyed(&gateway, &other).await;
        assert_eq!(refused.header("x-should-retry"), "false");
        assert_eq!(refused.header("idempotent-replayed"), "");
        assert_eq!(refused.error(422).await, "idempotency_mismatch");
    }
    // Order, space and the way of delivery do not make another request.
    let same = r#"{ "stream_options": {"include_usage": false}, "messages": [{"content": "x",
        "role": "user"}], "stream": true, "background": null, "model": "m" }"#;
    let mut client = gateway.client().await;
    let head = soon(client.request("POST", CHAT, &[KEY], same.as_bytes()))
        .await
        .unwrap();
    assert_eq!(head.header("everstream-stream-id"), Some(&*id));
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_at_once_one_generates_and_all_get_the_same() {
    let gate = Gate::new("head");
    let held_at = gate.clone();
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_head(&held_at))
            .await;
    let gateway = Arc::new(Setup::new(&provider).start().await);
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let reply = keyed(&gateway, &chat("x")).await;
                let (id, head) = (reply.stream(), reply.head.clone());
                (
                    id,
                    head.header("idempotent-replayed").is_some(),
                    events(&reply.frames().await),
                )
            })
        })
        .collect();
    soon(provider.wait_for_calls(1)).await;
    gate.open();
    let mut outcomes = Vec::new();
    for racer in racers {
        outcomes.push(soon(racer).await.unwrap());
    }
    let streams: BTreeSet<_> = outcomes.iter().map(|(id, ..)| id).collect();
    assert_eq!(streams.len(), 1);
    assert_eq!(
        outcomes.iter().filter(|(_, replayed, _)| !replayed).count(),
        1
    );
    assert!(
        outcomes
            .iter()
            .all(|(.., events)| *events == outcomes[0].2 && events.len() == 8)
    );
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_key_counts_for_its_project_and_path_only() {
    let provider = FakeProvider::start(|request| match request.path.as_str() {
        "/v1/completions" => Script::sse_steps([
            event(r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}"#),
            event("[DONE]"),
        ]),
        _ => answer_to(request),
    })
    .await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let one = ("authorization", &*format!("Bearer {KEY_ONE}"));
    let two = ("authorization", &*format!("Bearer {KEY_TWO}"));
    let mut streams = BTreeSet::new();
    for (path, project) in [(CHAT, one), (CHAT, two), ("/v1/completions", one)] {
        let mut body = chat("x");
        body["prompt"] = json!("x");
        for replayed in ["", "true"] {
            let reply = post(&gateway, path, &body, &[KEY, project]).await;
            assert_eq!(reply.header("idempotent-replayed"), replayed);
            streams.insert(reply.stream());
            reply.frames().await;
        }
    }
    assert_eq!(streams.len(), 3);
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test]
async fn a_streamed_answer_is_fetched_again_as_one_body_with_its_usage() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    for (key, include_usage) in [("asked", true), ("not-asked", false)] {
        let mut body = chat("x");
        body["stream_options"] = json!({"include_usage": include_usage});
        let key = [("idempotency-key", key)];
        let first = post(&gateway, CHAT, &body, &key).await;
        let id = first.stream();
        first.frames().await;
        let whole = post(&gateway, CHAT, &unary_chat("x"), &key).await;
        assert_eq!(whole.stream(), id);
        assert_eq!(whole.header("idempotent-replayed"), "true");
        assert_eq!(whole.header("content-type"), "application/json");
        let whole = whole.json(200).await;
        let expected = answer().to_json();
        for name in ["id", "object", "created", "model", "usage"] {
            assert_eq!(whole[name], expected[name]);
        }
        let (choice, expected) = (&whole["choices"][0], &expected["choices"][0]);
        for name in ["index", "message", "finish_reason"] {
            assert_eq!(choice[name], expected[name]);
        }
    }
    assert_eq!(provider.calls().len(), 2);
}

#[tokio::test]
async fn one_body_is_fetched_again_as_one_body_and_is_refused_as_a_stream() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let first = keyed(&gateway, &unary_chat("x")).await;
    let id = first.stream();
    let body = first.body().await;
    assert_eq!(
        again(&gateway, &unary_chat("x"), &id).await.body().await,
        body
    );
    let refused = keyed(&gateway, &chat("x")).await;
    assert_eq!(refused.header("x-should-retry"), "false");
    let refused = refused.json(422).await;
    assert_eq!(refused["error"]["param"], "stream");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_ascii_characters() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let long = "k".repeat(256);
    for key in ["", &long, "two words", "tab\there", "caf\u{e9}"] {
        let refused = post(&gateway, CHAT, &chat("x"), &[("idempotency-key", key)]).await;
        let error = refused.json(400).await;
        assert_eq!(error["error"]["param"], "Idempotency-Key", "{key:?}");
    }
    assert!(provider.calls().is_empty());
    for key in ["!", &long[1..], "~:/?#[]@\"'<>"] {
        let reply = post(&gateway, CHAT, &chat("x"), &[("idempotency-key", key)]).await;
        assert_eq!(reply.frames().await.len(), 8);
    }
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test]
async fn a_process_that_ends_takes_no_new_request_but_serves_who_comes_back() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let mut first = keyed(&gateway, &chat("x")).await;
    let id = first.stream();
    first.event().await;
    gateway.app.drain();
    for headers in [vec![], vec![("idempotency-key", "another")]] {
        let refused = post(&gateway, CHAT, &chat("x"), &headers).await;
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("x-should-retry"), "");
        assert_eq!(refused.error(503).await, "draining");
    }
    let attached = again(&gateway, &chat("x"), &id).await;
    let cursor = format!("{id}.1");
    let resumed = post(&gateway, CHAT, &chat("x"), &[("last-event-id", &cursor)]).await;
    let read = read(&gateway, &id, Some(&cursor)).await;
    gate.open();
    let rest = events(&first.frames().await);
    assert_eq!(events(&attached.frames().await)[1..], rest);
    assert_eq!(events(&resumed.frames().await), rest);
    assert_eq!(events(&read.frames().await), rest);
    assert_eq!(provider.calls().len(), 1);
}
