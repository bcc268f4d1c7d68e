//! One process takes over from the next, under load, three times in a row; and what comes of a
//! successor that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_testkit::client::{BodyEnd, RawClient};
use everstream_testkit::provider::{FakeProvider, Gate, ReceivedRequest, Script};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::client::{self, Client, Kind, Outcome, answer, marker_of};
use crate::harness::{PATIENCE, Process, Random, Site};

const LONG: usize = 100;
const SHORT: usize = 4;

/// Long answers last some seconds, the others some milliseconds.
fn script(request: &ReceivedRequest) -> Script {
    if marker_of(request).starts_with("long") {
        client::script(request, LONG, Duration::from_millis(30))
    } else {
        client::script(request, SHORT, Duration::from_millis(3))
    }
}

/// A provider whose answers stop in the middle until the gate opens.
async fn held_provider() -> (FakeProvider, Gate) {
    let gate = Gate::new("in the middle");
    let held = gate.clone();
    let script = move |request: &ReceivedRequest| {
        Script::chat_stream(&answer(&marker_of(request), LONG)).gate_before_event(LONG / 2, &held)
    };
    (FakeProvider::start(script).await, gate)
}

/// Clients that never stop asking, on connections that they keep and on fresh ones.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    fn start(gateway: &Process) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for n in 0..6 {
            let (addr, stop) = (gateway.addr, Arc::clone(&stop));
            clients.spawn(async move {
                let mut connection = None;
                let mut asked = 0;
                while !stop.load(Ordering::Relaxed) {
                    let marker = format!("load{n}-{asked}");
                    let mut client = match connection.take() {
                        Some(client) => client,
                        None => RawClient::connect(addr).await.unwrap(),
                    };
                    let stays = ask(&mut client, &marker, asked % 2 == 0).await;
                    connection = (stays && n % 2 == 0).then_some(client);
                    asked += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                asked
            });
        }
        Self { stop, clients }
    }

    /// How many requests there were; each was answered as it must be.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let asked = timeout(PATIENCE, self.clients.join_all()).await.unwrap();
        asked.iter().sum()
    }
}

/// One request, whole and right; whether the connection stays open.
async fn ask(client: &mut RawClient, marker: &str, stream: bool) -> bool {
    let messages = json!([{"role": "user", "content": marker}]);
    let body = json!({"model": "m", "stream": stream, "messages": messages});
    let head = client.post_json("/v1/chat/completions", &body, &[]).await;
    let head = head.unwrap_or_else(|error| panic!("{marker}: {error}"));
    assert_eq!(head.status, 200, "{marker}");
    let answer = answer(marker, SHORT);
    if stream {
        let frames = client.collect_sse().await.unwrap().0;
        let data: Vec<String> = frames.into_iter().filter_map(|f| f.data).collect();
        assert_eq!(data, answer.expected_data(), "{marker}");
    } else {
        assert_eq!(client.read_json().await.unwrap(), answer.to_json());
    }
    head.header("connection") != Some("close")
}

type Reading = JoinHandle<(Client, Outcome)>;

/// A client that reads to the end, and may not be cut.
fn read_on(mut client: Client) -> Reading {
    tokio::spawn(async move {
        let never = watch::Sender::new(0);
        let outcome = client.run(never.subscribe()).await;
        (client, outcome)
    })
}

/// Long streams that run by the time this returns, and their readers.
async fn long_streams(gateway: &Process, round: usize) -> Vec<(Client, Reading)> {
    let mut found = Vec::new();
    for n in 0..4 {
        let marker = format!("long{round}-{n}");
        let mut connection = gateway.client().await;
        let messages = json!([{"role": "user", "content": marker}]);
        let body = json!({"model": "m", "stream": true, "messages": messages});
        let path = "/v1/chat/completions";
        let head = connection.post_json(path, &body, &[]).await.unwrap();
        let mut client = Client::new(gateway.addr, marker.clone(), Kind::Stream, LONG);
        let id = head.header("everstream-stream-id").unwrap().to_owned();
        client.id = Some(id.clone());
        let mut later = Client::new(gateway.addr, marker, Kind::Stream, LONG);
        later.id = Some(id);
        let reading = tokio::spawn(async move {
            let outcome = client.follow(&mut connection).await.unwrap();
            (client, outcome)
        });
        found.push((later, reading));
    }
    found
}

async fn all_whole(readings: Vec<Reading>) {
    for reading in readings {
        let (client, outcome) = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::Whole, "{}", client.marker);
    }
}

async fn ready_status(connection: &mut RawClient) -> u16 {
    let status = connection.get("/readyz", &[]).await.unwrap().status;
    connection.read_body().await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_takeovers_refuse_cut_and_repeat_nothing() {
    let provider = FakeProvider::start(script).await;
    let mut site = Site::new(&provider, "");
    let mut random = Random::seeded();
    let mut gateway = site.start().await;
    let load = Load::start(&gateway);
    let (mut readings, mut old) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let long = long_streams(&gateway, round).await;
        sleep(random.millis(100, 300)).await;
        let next = site.take_over().await;
        old.push(std::mem::replace(&mut gateway, next));
        for (mut later, reading) in long {
            // Somebody comes back, to the new process, and follows what the old one writes.
            later.data = client::answer(&later.marker, LONG).expected_data();
            later
                .data
                .truncate(usize::try_from(random.below(4)).unwrap());
            readings.extend([reading, read_on(later)]);
        }
        sleep(random.millis(100, 300)).await;
    }
    all_whole(readings).await;
    for mut process in old {
        assert!(process.ended().await.success(), "{}", process.said());
    }
    let asked = load.end().await;
    assert!(asked > 30, "only {asked} requests");
    let calls = client::calls(&provider);
    assert_eq!(calls.len(), asked + 12);
    let twice: Vec<_> = calls.iter().filter(|(_, calls)| **calls != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let statuses = client::statuses(gateway.addr).await;
    assert_eq!(statuses.len(), calls.len());
    assert!(statuses.values().all(|status| status == "completed"));
    assert!(gateway.is_alive());
}

#[tokio::test]
async fn a_connection_that_is_kept_alive_is_answered_once_more_and_sent_elsewhere() {
    let provider = FakeProvider::start(script).await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let mut kept = old.client().await;
    assert!(ask(&mut kept, "before", false).await);
    let mut asking = old.client().await;
    assert_eq!(ready_status(&mut asking).await, 200);
    let _new = site.take_over().await;
    timeout(PATIENCE, old.says("draining")).await.unwrap();
    assert_eq!(ready_status(&mut asking).await, 503);
    assert!(!ask(&mut kept, "after", true).await, "it is kept for ever");
    // Nobody is connected any more, and nothing runs.
    assert!(old.ended().await.success());
}

#[tokio::test]
async fn what_would_never_end_is_told_to_come_again() {
    let provider = FakeProvider::start(script).await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let mut feed = old.client().await;
    let head = feed.get("/v1/streams?stream=true", &[]).await.unwrap();
    assert_eq!(head.status, 200);
    let mut idle = old.client().await;
    assert!(ask(&mut idle, "idle", false).await);
    let mut socket = TcpStream::connect(old.addr).await.unwrap();
    let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let _new = site.take_over().await;
    let (_, end) = timeout(PATIENCE, feed.read_body()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    drop(feed);
    let mut rest = Vec::new();
    let closing = timeout(PATIENCE, socket.read_to_end(&mut rest));
    // It may be reset: what a client answers to the goodbye nobody reads.
    let _ = closing.await.unwrap();
    let goodbye = rest
        .windows(4)
        .any(|frame| frame[0] == 0x88 && frame[2..] == 1012_u16.to_be_bytes());
    assert!(goodbye, "{:?}", String::from_utf8_lossy(&rest));
    // An idle connection is closed in the end, properly.
    assert!(old.ended().await.success());
    let error = idle.read_head().await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_successor_that_fails_leaves_the_old_one_serving() {
    let provider = FakeProvider::start(script).await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let config = std::fs::read_to_string(site.path().join("everstream.toml")).unwrap();
    let write = |name: &str, text: String| {
        let path = site.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // Certificates are read for upstreams with TLS.
    let tls = config.replace("http://", "https://");
    let unknown = write("unknown.toml", format!("no_such_field = 1\n{config}"));
    let missing = write("missing.toml", format!("{tls}ca_file = \"/none\"\n"));
    for bad in [unknown, missing] {
        let said = site.try_start(&bad, &["--takeover"]).await.err().unwrap();
        assert!(!said.is_empty());
    }
    // This one gets the socket and waits for its certificates, which never come.
    let pipe = site.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let stuck = write("stuck.toml", format!("{tls}ca_file = {pipe:?}\n"));
    let stuck = Process::spawn(&mut site.command(&stuck, &["--takeover"]));
    timeout(PATIENCE, old.says("a successor asks"))
        .await
        .unwrap();
    stuck.kill();
    timeout(PATIENCE, old.says("this process goes on"))
        .await
        .unwrap();
    assert!(old.is_alive());
    assert_eq!(ready_status(&mut old.client().await).await, 200);
    assert!(ask(&mut old.client().await, "goes-on", true).await);
    let _new = site.take_over().await;
    assert!(old.ended().await.success());
}

#[tokio::test]
async fn a_successor_that_is_killed_later_frees_the_address_though_the_old_one_lives() {
    let (provider, gate) = held_provider().await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let (later, reading) = long_streams(&old, 0).await.remove(0);
    site.take_over().await.kill();
    assert!(old.is_alive());
    let _third = site.start().await;
    gate.open();
    all_whole(vec![reading, read_on(later)]).await;
    assert!(old.ended().await.success());
}

#[tokio::test]
async fn the_new_process_cancels_what_the_old_one_writes() {
    let (provider, _gate) = held_provider().await;
    let mut site = Site::new(&provider, "");
    let mut old = site.start().await;
    let long = long_streams(&old, 0).await;
    let new = site.take_over().await;
    for (n, (later, reading)) in (1..).zip(long) {
        let path = format!("/v1/streams/{}", later.id.unwrap());
        let mut connection = new.client().await;
        let head = connection.request("DELETE", &path, &[], b"").await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(connection.read_json().await.unwrap()["status"], "cancelled");
        timeout(PATIENCE, provider.wait_for_hangups(n))
            .await
            .unwrap();
        // Its own reader is told so.
        reading.abort();
    }
    assert!(old.ended().await.success());
}

#[tokio::test]
async fn the_listener_for_operators_goes_over_too() {
    let provider = FakeProvider::start(script).await;
    let address = std::net::SocketAddr::from(([127, 0, 78, 1], 4101));
    let config = format!("[admin]\nlisten = \"{address}\"\nkey = \"an-admin-key\"");
    let mut site = Site::new(&provider, &config);
    let mut old = site.start().await;
    let seen = async || {
        let mut operator = RawClient::connect(address).await.unwrap();
        let key = [("authorization", "Bearer an-admin-key")];
        let head = operator.get("/admin/upstreams", &key).await.unwrap();
        assert_eq!(head.status, 200);
        operator.read_json().await.unwrap()["upstreams"][0]["name"].clone()
    };
    assert_eq!(seen().await, "fake");
    for _ in 0..2 {
        let new = site.take_over().await;
        assert_eq!(seen().await, "fake");
        assert!(old.ended().await.success());
        assert_eq!(seen().await, "fake");
        old = new;
    }
    old.kill();
    let _again = site.start().await;
    assert_eq!(seen().await, "fake");
}
