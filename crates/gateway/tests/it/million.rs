//! A stream of a million events: what it costs does not grow with it, and who takes nothing of it
//! costs nobody anything.

use std::time::Duration;

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use serde_json::{Value, json};

use crate::harness::Setup;
use crate::process::Process;

const EVENTS: u64 = 1_000_000;
/// For one step: a debug build on a busy machine takes its time over so many events.
const PATIENCE: Duration = Duration::from_mins(3);
/// What the gateway may grow by after the first tenth: the allocator's noise. The stream has 200 MB.
const GROWTH: u64 = 16 << 20;

/// A reader that checks that each event is the next.
struct Reading {
    client: RawClient,
    seen: u64,
    rest: Vec<u8>,
}

impl Reading {
    async fn resume(process: &Process, id: &str, after: u64) -> Self {
        let mut client = process.client().await;
        let cursor = format!("{id}.{after}");
        let path = format!("/v1/streams/{id}");
        let head = client.get(&path, &[("last-event-id", &cursor)]).await;
        assert_eq!(head.unwrap().status, 200);
        Self::new(client, after)
    }

    fn new(client: RawClient, seen: u64) -> Self {
        let rest = Vec::new();
        Self { client, seen, rest }
    }

    /// Reads until it has seen `upto` events; false at the end of the stream.
    async fn upto(&mut self, upto: u64) -> bool {
        while self.seen < upto {
            let Some(bytes) = within(self.client.read_some()).await.unwrap() else {
                return false;
            };
            self.rest.extend_from_slice(&bytes);
            let end = self.rest.iter().rposition(|byte| *byte == b'\n');
            let whole = end.map_or(0, |at| at + 1);
            for line in self.rest[..whole].split(|byte| *byte == b'\n') {
                if let Some(id) = line.strip_prefix(b"id: ") {
                    self.seen += 1;
                    let id = std::str::from_utf8(id).unwrap();
                    assert_eq!(id.split_once('.').unwrap().1, self.seen.to_string());
                }
            }
            self.rest.drain(..whole);
        }
        true
    }
}

/// The future's output, or a failed test instead of one that hangs.
async fn within<F: Future>(future: F) -> F::Output {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.expect("nothing happened for three minutes")
}

#[tokio::test]
async fn a_stream_of_a_million_events_is_read_and_resumed_without_loading_it() {
    let provider = FakeProvider::start(|_| {
        let mut chunks = ChatAnswer::new(["a token"]).expected_data();
        let (role, token) = (chunks.remove(0), chunks.remove(0));
        // Role, tokens, finish, the end.
        let tokens = std::iter::repeat_n(token, usize::try_from(EVENTS - 3).unwrap());
        Script::sse(std::iter::once(role).chain(tokens).chain(chunks)).events_per_write(64)
    })
    .await;
    let config = "[limits]\nstream_events = 2000000\nstream_bytes = \"1GiB\"\n\
                  [streams]\nwrite_stall = \"1h\"";
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&Setup::new(&provider).config(config), dir.path());
    let mut client = process.client().await;
    let body = json!({"model": "m", "stream": true, "messages": []});
    let head = client
        .post_json("/v1/chat/completions", &body, &[])
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    // Takes its head, and then nothing while another reads a million events.
    let mut stalled = Reading::resume(&process, &id, 0).await;
    let mut first = Reading::new(client, 0);
    let (mut before, mut most) = (0, 0);
    for tenth in 1..=10 {
        assert!(
            first.upto(EVENTS / 10 * tenth).await,
            "it ended after {}",
            first.seen
        );
        if tenth == 1 {
            // Every buffer has been used by then.
            before = process.memory();
        }
        most = most.max(process.memory());
    }
    assert!(!first.upto(u64::MAX).await);
    assert_eq!(first.seen, EVENTS);
    for after in [0, 1, EVENTS / 2, EVENTS - 5_000] {
        assert!(
            Reading::resume(&process, &id, after)
                .await
                .upto(after + 4_000)
                .await
        );
        most = most.max(process.memory());
    }
    assert!(stalled.upto(50_000).await, "it goes on where it stopped");
    let mut client = process.client().await;
    let path = format!("/v1/streams/{id}?after={}&limit=3", EVENTS - 3);
    client.get(&path, &[]).await.unwrap();
    let page = client.read_json().await.unwrap();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(3), "{page}");
    assert_eq!(page["status"], Value::from("completed"));
    most = most.max(process.memory());
    let grown = most.saturating_sub(before);
    assert!(grown < GROWTH, "from {before} bytes by {grown}");
    // Who reads is waited for.
    drop((first, stalled, client));
    process.terminate();
    let ended = tokio::time::timeout(Duration::from_secs(30), process.ended()).await;
    assert!(ended.unwrap().success());
}
