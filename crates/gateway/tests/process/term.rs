//! SIGTERM: what runs may end, nothing new begins.

use std::process::{Command, Stdio};

use everstream_testkit::client::{BodyEnd, RawClient};
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::answer;
use crate::harness::{PATIENCE, Process, Site};

const PATH: &str = "/v1/chat/completions";

/// A provider that waits for the gate in the middle of its answer.
async fn provider(gate: &Gate) -> FakeProvider {
    let gate = gate.clone();
    FakeProvider::start(move |_| Script::chat_stream(&answer("x", 4)).gate_before_event(4, &gate))
        .await
}

fn body(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": []})
}

/// A stream that is being answered, and its id.
async fn begin(gateway: &Process) -> (RawClient, String) {
    let mut client = gateway.client().await;
    let head = client.post_json(PATH, &body(true), &[]).await.unwrap();
    assert_eq!(head.status, 200);
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    (client, id)
}

async fn data(client: &mut RawClient) -> Vec<String> {
    let (frames, end) = timeout(PATIENCE, client.collect_sse())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(end, BodyEnd::Clean);
    frames.into_iter().filter_map(|frame| frame.data).collect()
}

/// Waits until it has heard of a signal.
async fn drains(gateway: &mut Process) {
    timeout(PATIENCE, gateway.says("draining")).await.unwrap();
}

async fn is_interrupted(gateway: &Process, id: &str, reason: &str) {
    let mut client = gateway.client().await;
    client.get(&format!("/v1/streams/{id}"), &[]).await.unwrap();
    let stream = client.read_json().await.unwrap();
    assert_eq!(stream["status"], "interrupted");
    assert_eq!(stream["reason"], reason);
    let events = stream["events"].as_array().unwrap();
    let last = events.last().unwrap()["data"].as_str().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["type"], "stream_interrupted");
    assert_eq!(error["error"]["code"], reason);
}

#[tokio::test]
async fn what_runs_ends_reads_go_on_and_nothing_new_begins() {
    let gate = Gate::new("after the signal");
    let provider = provider(&gate).await;
    let mut site = Site::new(&provider, "");
    let mut gateway = site.start().await;
    let (mut stream, id) = begin(&gateway).await;
    gateway.terminate();
    drains(&mut gateway).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/readyz", &[]).await.unwrap().status, 503);
    for streamed in [false, true] {
        let mut client = gateway.client().await;
        let head = client.post_json(PATH, &body(streamed), &[]).await.unwrap();
        assert_eq!(head.status, 503);
        assert!(head.header("retry-after").is_some());
        assert_eq!(head.header("connection"), Some("close"));
        let error = client.read_json().await.unwrap();
        assert_eq!(error["error"]["code"], "draining");
    }
    let accept = [("accept", "text/event-stream")];
    let mut second = gateway.client().await;
    let path = format!("/v1/streams/{id}");
    assert_eq!(second.get(&path, &accept).await.unwrap().status, 200);
    // The way back for clients that know no other than the one they came.
    let mut third = gateway.client().await;
    let cursor = format!("{id}.0");
    let cursor = [("last-event-id", cursor.as_str())];
    let head = third.post_json(PATH, &body(true), &cursor).await.unwrap();
    assert_eq!(head.status, 200);
    gate.open();
    for client in [&mut stream, &mut second, &mut third] {
        assert_eq!(data(client).await, answer("x", 4).expected_data());
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn what_outlives_the_drain_time_is_interrupted() {
    let gate = Gate::new("never");
    let provider = provider(&gate).await;
    let mut site = Site::new(&provider, "[streams]\ndrain_timeout = \"200ms\"");
    let mut gateway = site.start().await;
    let (mut stream, id) = begin(&gateway).await;
    // All that comes before the gate, as the drain time is short.
    for expected in &answer("x", 4).expected_data()[..3] {
        let event = timeout(PATIENCE, stream.read_event()).await.unwrap();
        assert_eq!(event.unwrap().unwrap().data.as_ref(), Some(expected));
    }
    gateway.terminate();
    let data = data(&mut stream).await;
    let [last] = &data[..] else {
        panic!("{data:?}");
    };
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["type"], "stream_interrupted");
    assert_eq!(error["error"]["code"], "drain_timeout");
    assert_eq!(gateway.ended().await.code(), Some(0));
    timeout(PATIENCE, provider.wait_for_hangups(1))
        .await
        .unwrap();
    is_interrupted(&site.start().await, &id, "drain_timeout").await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_the_next_start_resolves() {
    let gate = Gate::new("never");
    let provider = provider(&gate).await;
    let mut site = Site::new(&provider, "");
    let mut gateway = site.start().await;
    let (_stream, id) = begin(&gateway).await;
    gateway.terminate();
    drains(&mut gateway).await;
    gateway.terminate();
    assert_eq!(gateway.ended().await.code(), Some(0));
    is_interrupted(&site.start().await, &id, "gateway_restarted").await;
}

#[tokio::test]
async fn the_signal_that_follows_a_takeover_ends_nothing() {
    let gate = Gate::new("after the signal");
    let provider = provider(&gate).await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let (mut stream, _) = begin(&old).await;
    let _new = site.take_over().await;
    drains(&mut old).await;
    old.terminate();
    timeout(PATIENCE, old.says("is draining already"))
        .await
        .unwrap();
    gate.open();
    assert_eq!(data(&mut stream).await, answer("x", 4).expected_data());
    drop(stream);
    assert_eq!(old.ended().await.code(), Some(0));
}

/// As systemd starts a service that has a socket unit.
fn with_socket(site: &Site, socket: &std::net::TcpListener) -> Process {
    let config = site.path().join("everstream.toml");
    let plain = site.command(&config, &[]);
    let mut command = Command::new("/bin/sh");
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(plain.get_program());
    command.args(plain.get_args()).env_clear();
    let socket: std::os::fd::OwnedFd = socket.try_clone().unwrap().into();
    command.stdin(Stdio::from(socket));
    Process::spawn(&mut command)
}

#[tokio::test]
async fn a_service_managers_socket_is_shared_and_left_to_the_next() {
    let gate = Gate::new("after the second start");
    let provider = provider(&gate).await;
    let site = Site::new(&provider, "");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut old = with_socket(&site, &socket).ready().await.unwrap();
    assert_eq!(old.addr, socket.local_addr().unwrap());
    let (mut stream, id) = begin(&old).await;
    old.terminate();
    drains(&mut old).await;
    // Nobody accepts just now: this waits in the socket's queue.
    let mut waiting = old.client().await;
    let accept = [("accept", "text/event-stream")];
    let path = format!("/v1/streams/{id}");
    let new = with_socket(&site, &socket).ready().await.unwrap();
    let head = timeout(PATIENCE, waiting.get(&path, &accept))
        .await
        .unwrap();
    assert_eq!(head.unwrap().status, 200);
    let (mut another, _) = begin(&new).await;
    gate.open();
    for client in [&mut stream, &mut waiting, &mut another] {
        assert_eq!(data(client).await, answer("x", 4).expected_data());
    }
    drop(stream);
    assert_eq!(old.ended().await.code(), Some(0));
}
