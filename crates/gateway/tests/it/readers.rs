//! Many readers of one stream, and slow ones beside fast ones.

use std::time::Duration;

use everstream_testkit::client::{BodyEnd, RawClient};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Gateway, Setup, within};
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";
/// With 50 MiB on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
const READERS: usize = 1_000;
/// So many readers share a connection, or the test needs thousands of sockets.
const READERS_A_CONNECTION: usize = 250;

/// A connection of HTTP/2, which runs until the test ends.
async fn connection(gateway: &Gateway) -> h2::client::SendRequest<bytes::Bytes> {
    let socket = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    // With the window grows what the client takes for a flood of small frames.
    let handshake = h2::client::Builder::new()
        .initial_connection_window_size(1 << 28)
        .handshake(socket);
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// Asks for a stream as server-sent events; the head is there when this returns.
async fn read(
    client: &mut h2::client::SendRequest<bytes::Bytes>,
    id: &str,
) -> http::Response<h2::RecvStream> {
    let request = http::Request::get(format!("http://localhost/v1/streams/{id}"))
        .header("accept", "text/event-stream")
        .body(());
    let (response, _) = client.send_request(request.unwrap(), true).unwrap();
    within(response).await.unwrap()
}

/// A body's bytes without heartbeats, which are no part of a stream.
fn events(body: &[u8]) -> Vec<u8> {
    let mut frames = everstream_testkit::sse::sse_frames(body);
    frames.retain(|frame| frame.data.is_some());
    let raw: String = frames.into_iter().map(|frame| frame.raw).collect();
    raw.into_bytes()
}

async fn whole(mut body: h2::RecvStream) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_get_the_same_bytes_and_one_more_is_refused() {
    let answer = ChatAnswer::new((0..40).map(|n| format!(" token{n}")));
    let expected = answer.expected_data();
    let gate = Gate::new("all readers are here");
    let held = gate.clone();
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&answer).gate_before_event(5, &held))
            .await;
    let gateway = Setup::new(&provider).start().await;
    let mut client = gateway.client().await;
    let body = json!({"model": "m", "messages": [], "background": true});
    within(client.post_json(CHAT, &body, &[])).await.unwrap();
    let id = within(client.read_json()).await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    within(gate.reached_by(1)).await;

    let mut readers = Vec::new();
    for _ in 0..READERS / READERS_A_CONNECTION {
        let mut client = connection(&gateway).await;
        for _ in 0..READERS_A_CONNECTION {
            let response = read(&mut client, &id).await;
            assert_eq!(response.status(), 200);
            readers.push(tokio::spawn(whole(response.into_body())));
        }
    }
    let path = format!("/v1/streams/{id}");
    let sse = [("accept", "text/event-stream")];
    let head = within(client.get(&path, &sse)).await.unwrap();
    assert_eq!(head.status, 429);
    let problem = within(client.read_json()).await.unwrap();
    assert_eq!(problem["code"], "too_many_readers");
    assert!(
        problem["detail"].as_str().unwrap().contains("1000"),
        "{problem}"
    );

    gate.open();
    let mut bodies = Vec::new();
    for reader in readers {
        bodies.push(events(&within(reader).await.unwrap()));
    }
    assert_eq!(bodies.len(), READERS);
    let frames = everstream_testkit::sse::sse_frames(&bodies[0]);
    assert_eq!(crate::harness::data(&frames), expected);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // The places are free again, and the log says the same.
    let head = within(client.get(&path, &sse)).await.unwrap();
    assert_eq!(head.status, 200);
    let (replayed, _) = within(client.read_body()).await.unwrap();
    assert_eq!(events(&replayed), bodies[0]);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_makes_room() {
    let gate = Gate::new("never opened");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| {
        Script::chat_stream(&ChatAnswer::new(["a", "b"])).gate_before_event(3, &held)
    })
    .await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nreaders_per_stream = 2")
        .start()
        .await;
    let body = json!({"model": "m", "stream": true, "messages": []});
    let mut first = gateway.client().await;
    let head = within(first.post_json(CHAT, &body, &[])).await.unwrap();
    let path = format!(
        "/v1/streams/{}?stream=true",
        head.header("everstream-stream-id").unwrap()
    );
    let mut second = gateway.client().await;
    assert_eq!(within(second.get(&path, &[])).await.unwrap().status, 200);
    let mut third = gateway.client().await;
    assert_eq!(within(third.get(&path, &[])).await.unwrap().status, 429);
    within(third.read_body()).await.unwrap();
    second.cut().unwrap();
    within(async {
        while third.get(&path, &[]).await.unwrap().status == 429 {
            third.read_body().await.unwrap();
        }
    })
    .await;
}

/// What came of a body, without keeping it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Digest {
    bytes: usize,
    checksum: u32,
    end: Option<BodyEnd>,
}

async fn digest(mut client: RawClient) -> Digest {
    let mut checksum = crc32fast::Hasher::new();
    let mut bytes = 0;
    while let Some(frame) = client.read_sse_frame().await.unwrap() {
        // A heartbeat is no part of the stream.
        if frame != ": ping\n" {
            checksum.update(&frame);
            bytes += frame.len();
        }
    }
    Digest {
        bytes,
        checksum: checksum.finalize(),
        end: client.body_end(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_costs_neither_memory_nor_others() {
    const EVENT: usize = 32 << 10;
    const EVENTS: usize = 1600;
    let answer = ChatAnswer::new(vec!["x".repeat(EVENT); EVENTS]);
    let gate = Gate::new("both readers are here");
    let held = gate.clone();
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&answer).gate_before_event(3, &held))
            .await;
    let dir = TempDir::new().unwrap();
    let setup = Setup::new(&provider).config("[streams]\nwrite_stall = \"1h\"");
    let process = Process::start(&setup, dir.path());
    let mut stalled = process.client().await;
    let body = json!({"model": "m", "stream": true, "messages": []});
    let head = within(stalled.post_json(CHAT, &body, &[])).await.unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    let path = format!("/v1/streams/{id}?stream=true");
    let mut fast = process.client().await;
    within(fast.get(&path, &[])).await.unwrap();

    let before = process.peak_memory();
    gate.open();
    // The client that asked takes nothing; the other one gets all of it meanwhile.
    let fast = tokio::time::timeout(PATIENCE, digest(fast));
    let fast = fast.await.unwrap();
    assert!(fast.bytes > EVENT * EVENTS, "{fast:?}");
    assert_eq!(fast.end, Some(BodyEnd::Clean));
    let page = within(process.page(&id)).await;
    assert_eq!(
        (&page["status"], &page["last_seq"]),
        (&json!("completed"), &Value::from(EVENTS + 3))
    );
    let grown = process.peak_memory() - before;
    assert!(
        grown < 16 << 20,
        "{} MiB of 50 are held in memory",
        grown >> 20
    );

    // Then it goes on, from the log, and misses nothing.
    let slow = tokio::time::timeout(PATIENCE, digest(stalled));
    assert_eq!(slow.await.unwrap(), fast);
    let grown = process.peak_memory() - before;
    assert!(
        grown < 24 << 20,
        "{} MiB of 50 are held in memory",
        grown >> 20
    );
}
