//! A disk that is full, fails or hangs: who wants something new is refused before anything is paid
//! for, who waits is told, and all goes on by itself when the disk does.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use everstream_testkit::client::RawClient;
use everstream_testkit::disk::{Fault, FaultyDisk, Held};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Gateway, Setup, within};

/// Larger than what is left in a file's last page on a full disk.
const TOKEN_BYTES: usize = 16 << 10;
const CHAT: &str = "/v1/chat/completions";

fn answer() -> ChatAnswer {
    ChatAnswer::new((0..6).map(|n| format!("{n}").repeat(TOKEN_BYTES)))
}

fn request(stream: bool) -> Value {
    let content = "a question ".repeat(1000);
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": content}]})
}

/// A provider that waits at the gate before the fourth event of each answer.
async fn provider(gate: &Gate) -> FakeProvider {
    let gate = gate.clone();
    FakeProvider::start(move |request| {
        if request.wants_stream() {
            Script::chat_stream(&answer()).gate_before_event(4, &gate)
        } else {
            Script::chat_json(&answer())
        }
    })
    .await
}

/// A stream of which something came, and whose provider waits.
struct Running {
    client: RawClient,
    id: String,
    seen: u64,
}

impl Running {
    async fn start(gateway: &Gateway) -> Self {
        let mut client = gateway.client().await;
        let head = client.post_json(CHAT, &request(true), &[]).await.unwrap();
        assert_eq!(head.status, 200);
        let id = head.header("everstream-stream-id").unwrap().to_owned();
        let mut running = Self {
            client,
            id,
            seen: 0,
        };
        while running.seen < 3 {
            let event = within(running.client.read_event()).await.unwrap().unwrap();
            running.seen = event.seq().unwrap();
        }
        running
    }

    /// All that still comes: some of the answer, then one typed error, and no proper end.
    async fn ends_with(self, code: &str) -> (String, u64, Frame) {
        let (id, seen, last) = self.ends().await;
        assert_eq!(error_of(&last)["code"], code, "{last:?}");
        (id, seen, last)
    }

    /// All that still comes, and the last of it.
    async fn ends(mut self) -> (String, u64, Frame) {
        let mut frames = Vec::new();
        // One by one: what is not logged has no id, and what is has one.
        while let Some(frame) = within(self.client.read_event()).await.unwrap() {
            frames.push(frame);
        }
        let last = frames.pop().expect("it ended in silence");
        for frame in frames {
            self.seen += 1;
            assert_eq!(frame.seq(), Some(self.seen));
            assert_ne!(frame.data.as_deref(), Some("[DONE]"));
        }
        (self.id, self.seen, last)
    }
}

fn error_of(frame: &Frame) -> Value {
    let data: Value = serde_json::from_str(frame.data.as_deref().unwrap()).unwrap();
    data["error"].clone()
}

/// A new request, streamed or not, is refused, soon, and may be tried again.
async fn refuses(gateway: &Gateway, provider: &FakeProvider, code: &str) {
    let calls = provider.call_count(CHAT);
    for stream in [true, false] {
        let mut client = gateway.client().await;
        let head = within(client.post_json(CHAT, &request(stream), &[])).await;
        let head = head.unwrap();
        assert_eq!(head.status, 503);
        assert!(head.header("retry-after").is_some(), "{head:?}");
        assert_eq!(head.header("x-should-retry"), None, "nothing ran");
        let body = within(client.read_json()).await.unwrap();
        assert_eq!(body["error"]["code"], code);
    }
    assert_eq!(provider.call_count(CHAT), calls, "the provider was called");
}

async fn works(gateway: &Gateway) {
    for stream in [true, false] {
        let mut client = gateway.client().await;
        let head = within(client.post_json(CHAT, &request(stream), &[])).await;
        assert_eq!(head.unwrap().status, 200);
        let (body, _) = within(client.read_body()).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert_eq!(text.contains("[DONE]"), stream);
    }
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    let mut client = gateway.client().await;
    within(client.get(path, &[])).await.unwrap().status
}

/// The stream has one end, and what its first reader saw stands before it.
async fn is_over(gateway: &Gateway, id: &str, seen: u64, code: &str) {
    within(gateway.app.recover()).await;
    let mut client = gateway.client().await;
    let path = format!("/v1/streams/{id}?stream=true");
    within(client.get(&path, &[])).await.unwrap();
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    let last = frames.last().unwrap();
    assert!(last.seq() > Some(seen), "{:?} after {seen}", last.seq());
    assert_eq!(error_of(last)["code"], code);
    let mut client = gateway.client().await;
    let path = format!("/v1/streams/{id}?stream=false");
    within(client.get(&path, &[])).await.unwrap();
    let page = within(client.read_json()).await.unwrap();
    assert_eq!(page["status"], "failed", "{page}");
}

/// A file system of its own for a data directory, or `None` where nobody may mount one.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(kilobytes: u32) -> Option<(Self, TempDir)> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(dir.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: this user may not mount a tmpfs, so no disk was really full");
            return None;
        }
        let data = tempfile::tempdir_in(dir.path()).unwrap();
        Some((Self(dir), data))
    }

    /// Takes all that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [64 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_ends_what_runs_until_there_is_room() {
    for sync in ["none", "interval", "always"] {
        let Some((tmpfs, data)) = Tmpfs::mount(2048) else {
            return;
        };
        let gate = Gate::new("before the fourth event");
        let provider = provider(&gate).await;
        let config = format!("[log]\nsync = \"{sync}\"");
        let gateway = Setup::new(&provider).config(&config).data_dir(data);
        let gateway = gateway.start().await;
        let running = Running::start(&gateway).await;
        let filler = tmpfs.fill();
        refuses(&gateway, &provider, "store_full").await;
        gate.open();
        let (id, seen, _) = running.ends_with("store_full").await;
        std::fs::remove_file(filler).unwrap();
        works(&gateway).await;
        is_over(&gateway, &id, seen, "store_full").await;
        drop(gateway.stop().await);
    }
}

#[tokio::test]
async fn a_full_log_refuses_what_is_new_and_ends_what_runs_until_there_is_room() {
    let gate = Gate::new("before the fourth event");
    let provider = provider(&gate).await;
    let config = "[log]\nmax_bytes = \"1MiB\"\nsegment_bytes = \"64KiB\"";
    let gateway = Setup::new(&provider).config(config).start().await;
    // Each takes some 50 KiB before the gate, and none has ended, so none can be dropped.
    let mut running = Vec::new();
    loop {
        let mut client = gateway.client().await;
        let head = within(client.post_json(CHAT, &request(true), &[])).await;
        let head = head.unwrap();
        if head.status == 503 {
            break;
        }
        let id = head.header("everstream-stream-id").unwrap().to_owned();
        running.push(Running {
            client,
            id,
            seen: 0,
        });
        provider.wait_for_calls(running.len() as u64).await;
        gate.reached_by(running.len()).await;
        assert!(running.len() < 100, "the log never fills");
    }
    refuses(&gateway, &provider, "store_full").await;
    gate.open();
    let mut refused = 0;
    for running in running {
        // The first to end make room for others.
        let (_, _, last) = running.ends().await;
        if last.data.as_deref() != Some("[DONE]") {
            let code = &error_of(&last)["code"];
            assert!(code == "store_full" || code == "stream_gone", "{last:?}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    works(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_is_an_error_everywhere_and_forgotten_when_it_works() {
    for sync in ["none", "interval", "always"] {
        let gate = Gate::new("before the fourth event");
        let provider = provider(&gate).await;
        let disk = FaultyDisk::default();
        let config = format!("[log]\nsync = \"{sync}\"");
        let gateway = Setup::new(&provider).config(&config).disk(&disk);
        let gateway = gateway.start().await;
        let running = Running::start(&gateway).await;
        disk.set_fault(Fault::FailAt(1, u64::MAX - 1, ErrorKind::Other));
        refuses(&gateway, &provider, "store_unavailable").await;
        assert_eq!(status(&gateway, "/healthz").await, 200);
        gate.open();
        let (id, seen, last) = running.ends_with("store_unavailable").await;
        assert_eq!(last.id, None, "it is not in the log");
        // Who comes back is not left waiting either.
        let mut client = gateway.client().await;
        let path = format!("/v1/streams/{id}?stream=true&after={seen}");
        within(client.get(&path, &[])).await.unwrap();
        let (frames, _) = within(client.collect_sse()).await.unwrap();
        assert_eq!(
            error_of(frames.last().unwrap())["code"],
            "store_unavailable"
        );
        disk.set_fault(Fault::None);
        works(&gateway).await;
        is_over(&gateway, &id, seen, "store_unavailable").await;
        gateway.stop().await;
    }
}

/// Lets the disk go on even if the test fails: threads that hang keep the runtime.
struct Release(FaultyDisk);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_stops_nothing_but_what_needs_it() {
    for (sync, held) in [
        ("none", Held::Changes),
        ("interval", Held::Changes),
        ("always", Held::Syncs),
        ("always", Held::All),
    ] {
        let gate = Gate::new("before the fourth event");
        let provider = provider(&gate).await;
        let disk = Release(FaultyDisk::default());
        let config = format!("[log]\nsync = \"{sync}\"\nstall_timeout = \"1s\"");
        let gateway = Setup::new(&provider).config(&config).disk(&disk.0);
        let gateway = gateway.start().await;
        let mut running = Vec::new();
        for _ in 0..8 {
            running.push(Running::start(&gateway).await);
        }
        disk.0.hold(held);
        gate.open();
        let mut ended = Vec::new();
        for running in running {
            ended.push(running.ends_with("store_unavailable").await);
        }
        refuses(&gateway, &provider, "store_unavailable").await;
        assert_eq!(status(&gateway, "/healthz").await, 200);
        assert_eq!(status(&gateway, "/readyz").await, 503);
        assert_eq!(status(&gateway, "/v1/models").await, 200);
        disk.0.release();
        within(async {
            while status(&gateway, "/readyz").await != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        works(&gateway).await;
        within(gateway.app.recover()).await;
        for (id, seen, _) in ended {
            is_whole_or_failed(&gateway, &id, seen).await;
        }
        gateway.stop().await;
    }
}

/// A stream whose append hung is over, one way or the other: the append that kept its worker may
/// have succeeded in the end, and its stream gone on.
async fn is_whole_or_failed(gateway: &Gateway, id: &str, seen: u64) {
    let mut client = gateway.client().await;
    let path = format!("/v1/streams/{id}?stream=true");
    within(client.get(&path, &[])).await.unwrap();
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    let seqs: Vec<_> = frames.iter().filter_map(Frame::seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() as u64 > seen);
    let last = frames.last().unwrap();
    if last.data.as_deref() != Some("[DONE]") {
        assert_eq!(error_of(last)["code"], "store_unavailable");
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_while_it_is_logged_leaves_no_stream_that_nobody_writes() {
    let gate = Gate::new("never reached");
    let provider = provider(&gate).await;
    let disk = Release(FaultyDisk::default());
    let config = "[log]\nsync = \"always\"\nstall_timeout = \"1m\"";
    let gateway = Setup::new(&provider).config(config).disk(&disk.0);
    let gateway = gateway.start().await;
    disk.0.hold(Held::Syncs);
    let mut client = gateway.client().await;
    let body = request(true).to_string();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nidempotency-key: k\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes()).await.unwrap();
    client.send(body.as_bytes()).await.unwrap();
    // It is being logged once the disk has it.
    let is_written = || {
        disk.0
            .files()
            .iter()
            .any(|(_, bytes)| bytes.len() > 8 << 10)
    };
    until(is_written).await;
    client.cut().unwrap();
    until(|| gateway.app.generator.registry.len() == 1).await;
    disk.0.release();
    within(async {
        while !gateway.app.generator.registry.is_empty() {
            gateway.app.recover().await;
        }
    })
    .await;
    let mut client = gateway.client().await;
    within(client.get("/v1/streams", &[])).await.unwrap();
    let list = within(client.read_json()).await.unwrap().to_string();
    assert!(
        list.contains("\"failed\"") && !list.contains("\"running\""),
        "{list}"
    );
    assert_eq!(provider.call_count(CHAT), 0);
    gateway.stop().await;
}

async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
