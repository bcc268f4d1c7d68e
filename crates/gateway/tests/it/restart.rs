//! The built program, killed and ended: what clients saw is in the log, nothing is asked for twice.

use std::time::Duration;

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Setup, data, within};
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";

fn streamed() -> Value {
    json!({"model": "m", "stream": true, "messages": []})
}

fn answer() -> ChatAnswer {
    ChatAnswer::new(["Wind", " auf", " 風", " 🌬️", "."])
}

/// A provider whose first answer waits before its fourth event, or before its head.
async fn held(gate: &Gate, at_head: bool) -> FakeProvider {
    let gate = gate.clone();
    FakeProvider::start(move |request| {
        let script = Script::chat_stream(&answer());
        match (request.number, at_head) {
            (1, true) => script.gate_before_head(&gate),
            (1, false) => script.gate_before_event(4, &gate),
            _ => script,
        }
    })
    .await
}

/// A provider whose requests are numbered from the first generating one on.
fn setup(provider: &FakeProvider) -> Setup {
    Setup::default().upstream("fake", &provider.base_url(), "models = [\"m\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_stream_loses_nothing_that_was_seen_and_calls_nobody_again() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
    let provider = held(&gate, false).await;
    let setup = setup(&provider);
    let key = [("idempotency-key", "once")];

    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let head = within(client.post_json(CHAT, &streamed(), &key))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    let mut seen: Vec<Frame> = Vec::new();
    for _ in 0..3 {
        seen.push(within(client.read_event()).await.unwrap().unwrap());
    }
    process.kill();
    assert!(within(client.read_event()).await.unwrap().is_none());
    // Without its last chunk, a client knows that it was cut.
    assert_eq!(client.body_end(), Some(BodyEnd::Cut));

    let process = Process::start(&setup, dir.path());
    let page = within(process.page(&id)).await;
    assert_eq!(
        (page["status"].as_str(), page["reason"].as_str()),
        (Some("interrupted"), Some("gateway_restarted"))
    );
    assert_eq!(page["last_seq"], 4);
    let mut client = process.client().await;
    let path = format!("/v1/streams/{id}");
    let sse = [("accept", "text/event-stream")];
    within(client.get(&path, &sse)).await.unwrap();
    let (frames, end) = within(client.collect_sse()).await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    // The same bytes as before the kill, and then the honest end.
    assert_eq!(frames[..3], seen);
    let [last] = &frames[3..] else {
        panic!("{frames:?}")
    };
    let error: Value = serde_json::from_str(last.data.as_ref().unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "stream_interrupted");
    assert_eq!(error["error"]["code"], "gateway_restarted");
    assert!(
        error["error"]["message"].as_str().unwrap().contains(&id),
        "{error}"
    );

    // The client comes back where it was, by either way, and is told.
    let cursor = [("last-event-id", seen[2].id.as_deref().unwrap())];
    within(client.get(&path, &cursor)).await.unwrap();
    assert_eq!(within(client.collect_sse()).await.unwrap().0, frames[3..]);
    within(client.post_json(CHAT, &streamed(), &cursor))
        .await
        .unwrap();
    assert_eq!(within(client.collect_sse()).await.unwrap().0, frames[3..]);
    let cursor = [("last-event-id", last.id.as_deref().unwrap())];
    assert_eq!(
        within(client.get(&path, &cursor)).await.unwrap().status,
        204
    );
    // The key still means this generation.
    let head = within(client.post_json(CHAT, &streamed(), &key))
        .await
        .unwrap();
    assert_eq!(head.header("everstream-stream-id"), Some(id.as_str()));
    assert_eq!(within(client.collect_sse()).await.unwrap().0, frames);
    assert_eq!(provider.calls().len(), 1);

    within(client.post_json(CHAT, &streamed(), &[]))
        .await
        .unwrap();
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    assert_eq!(data(&frames), answer().expected_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_an_answer_came_says_that_nobody_knows() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
    let provider = held(&gate, true).await;
    let setup = setup(&provider);
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let body = json!({"model": "m", "messages": [], "background": true});
    within(client.post_json(CHAT, &body, &[])).await.unwrap();
    let id = within(client.read_json()).await.unwrap()["id"].clone();
    within(gate.reached_by(1)).await;
    process.kill();
    let process = Process::start(&setup, dir.path());
    let page = within(process.page(id.as_str().unwrap())).await;
    assert_eq!(
        (page["status"].as_str(), page["reason"].as_str()),
        (Some("interrupted"), Some("outcome_unknown"))
    );
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_moment_of_a_kill_what_clients_saw_is_a_prefix_of_the_log() {
    const CLIENTS: usize = 8;
    let dir = TempDir::new().unwrap();
    let tokens: Vec<String> = (0..300).map(|n| format!(" token{n}")).collect();
    let answer = ChatAnswer::new(tokens);
    let expected = answer.expected_data();
    // Nobody is to be through before all others have got their part.
    let gate = Gate::new("never opened");
    let provider = FakeProvider::start(move |_| {
        Script::chat_stream(&answer)
            .pause_between(Duration::from_millis(1))
            .gate_before_event(250, &gate)
    })
    .await;
    let setup = setup(&provider);
    for events in [1, 20, 150] {
        let process = Process::start(&setup, dir.path());
        let mut readers = Vec::new();
        let (reached, mut at) = tokio::sync::mpsc::channel(CLIENTS);
        for _ in 0..CLIENTS {
            let (mut client, reached) = (process.client().await, reached.clone());
            readers.push(tokio::spawn(async move {
                let head = client.post_json(CHAT, &streamed(), &[]).await.unwrap();
                let id = head.header("everstream-stream-id").unwrap().to_owned();
                let mut seen = Vec::new();
                while let Ok(Some(event)) = client.read_event().await {
                    seen.push(event.data.unwrap());
                    if seen.len() == events {
                        let _ = reached.send(()).await;
                    }
                }
                (id, seen)
            }));
        }
        for _ in 0..CLIENTS {
            within(at.recv()).await.unwrap();
        }
        process.kill();
        let process = Process::start(&setup, dir.path());
        for reader in readers {
            let (id, seen) = within(reader).await.unwrap();
            let page = within(process.page(&id)).await;
            let logged: Vec<_> = page["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["data"].as_str().unwrap())
                .collect();
            assert!(seen.len() >= events && seen.len() <= logged.len());
            assert_eq!(logged[..seen.len()], seen);
            assert_eq!(page["status"], "interrupted");
            let (error, kept) = logged.split_last().unwrap();
            assert_eq!(kept, &expected[..kept.len()]);
            assert!(error.contains("gateway_restarted"), "{error}");
        }
    }
    assert_eq!(provider.calls().len(), 3 * CLIENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_answer_end() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("after the signal"));
    let provider = held(&gate, false).await;
    let setup = setup(&provider);
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let head = within(client.post_json(CHAT, &streamed(), &[]))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    within(gate.reached_by(1)).await;
    process.terminate();
    process.line("draining");
    // No new answer is begun, and whoever balances the load is told so.
    let mut other = process.client().await;
    let refused = within(other.post_json(CHAT, &streamed(), &[]))
        .await
        .unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    let mut probe = process.client().await;
    assert_eq!(within(probe.get("/readyz", &[])).await.unwrap().status, 503);
    gate.open();
    let (frames, end) = within(client.collect_sse()).await.unwrap();
    assert_eq!(
        (data(&frames), end),
        (answer().expected_data(), BodyEnd::Clean)
    );
    assert_eq!(process.ended().await.code(), Some(0));

    let process = Process::start(&setup, dir.path());
    let page = within(process.page(&id)).await;
    assert_eq!(page["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
    let provider = held(&gate, false).await;
    let setup = setup(&provider);
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let head = within(client.post_json(CHAT, &streamed(), &[]))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    process.terminate();
    process.line("draining");
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
    let process = Process::start(&setup, dir.path());
    assert_eq!(
        within(process.page(&id)).await["reason"],
        "gateway_restarted"
    );
    assert_eq!(provider.calls().len(), 1);
}
