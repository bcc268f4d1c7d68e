//! Answers on Google's surface are streams like any other: resumed, repeated, cancelled, watched, and
//! resolved after a death.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::event::{Event, Mode, Surface};
use everstream_core::id::{Seq, StreamId, UnixMillis};
use everstream_core::record::{Accepted, Dialled, Record};
use everstream_store::config::SegmentConfig;
use everstream_store::disk::OsDisk;
use everstream_store::segment::SegmentLog;
use everstream_store::{Created, StreamLog};
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gemini::{CHUNKS, STREAM, ask, contents, setup, stream, target};
use crate::harness::{Gateway, StillTime, within};
use crate::process::Process;
use crate::socket::Socket;
use crate::talk::{data, ended, events, page, post, read, send};

/// A gateway whose provider holds its answer before the third chunk.
async fn held(config: &str) -> (FakeProvider, Gateway, Gate) {
    let gate = Gate::new("held");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| stream().gate_before_event(3, &held)).await;
    let gateway = setup(&provider).config(config).start().await;
    (provider, gateway, gate)
}

/// What the error event says that an answer ended with.
fn failure(data: Option<&str>) -> (String, String) {
    let event: Value = serde_json::from_str(data.unwrap()).unwrap();
    let text = |name: &str| event["error"][name].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

#[tokio::test]
async fn an_answer_is_resumed_and_repeated_as_any() {
    let (provider, gateway, gate) = held("").await;
    let key = [("idempotency-key", "k")];
    let mut reply = ask(&gateway, &key).await;
    let id = reply.stream();
    reply.event().await;
    drop(reply);
    let again = ask(&gateway, &key).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let cursor = format!("{id}.1");
    let resumed = ask(&gateway, &[("last-event-id", &cursor)]).await;
    gate.open();
    assert_eq!(data(&again.frames().await), CHUNKS);
    let rest: String = CHUNKS[1..]
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    assert_eq!(resumed.body().await, rest);
    let array = STREAM.strip_suffix("?alt=sse").unwrap();
    let resumed = post(&gateway, array, &contents(), &[("last-event-id", &cursor)]).await;
    assert_eq!(
        resumed.body().await,
        format!("[{}]\n", CHUNKS[1..].join(",\r\n"))
    );
    let whole = events(&read(&gateway, &id, None).await.frames().await);
    let rest = read(&gateway, &id, Some(&cursor)).await;
    assert_eq!(events(&rest.frames().await), whole[1..]);
    let at_end = format!("{id}.4");
    let nothing = ask(&gateway, &[("last-event-id", &at_end)]).await;
    assert_eq!(nothing.head.status, 204);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_cancelled_answer_ends_in_the_dialects_error() {
    let (_provider, gateway, _gate) = held("").await;
    let mut reply = ask(&gateway, &[]).await;
    let id = reply.stream();
    for _ in 0..2 {
        reply.event().await;
    }
    let cancelled = send(&gateway, "DELETE", &format!("/v1/streams/{id}"), &[]).await;
    assert_eq!(cancelled.json(200).await["status"], "cancelled");
    let (status, told) = failure(reply.event().await.data.as_deref());
    assert_eq!(status, "CANCELLED");
    assert!(told.contains(&id), "{told}");
}

#[tokio::test]
async fn nobody_reading_stops_the_provider_if_that_is_asked_for() {
    let (provider, gateway, _gate) = held("").await;
    let reply = ask(&gateway, &[("everstream-on-disconnect", "cancel")]).await;
    let id = reply.stream();
    drop(reply);
    within(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
}

#[tokio::test]
async fn silence_is_filled_with_bare_newlines() {
    let config = "[streams]\nheartbeat = \"1s\"\nhead_hold = \"0s\"";
    for (path, rest) in [
        (
            STREAM,
            format!("data: {}\n\ndata: {}\n\n", CHUNKS[2], CHUNKS[3]),
        ),
        (
            STREAM.strip_suffix("?alt=sse").unwrap(),
            format!(",\r\n{},\r\n{}]\n", CHUNKS[2], CHUNKS[3]),
        ),
    ] {
        let (_provider, gateway, gate) = held(config).await;
        let mut reply = post(&gateway, path, &contents(), &[]).await;
        let mut seen = String::new();
        while !seen.contains(CHUNKS[1]) {
            let bytes = within(reply.client.read_some()).await.unwrap().unwrap();
            seen.push_str(str::from_utf8(&bytes).unwrap());
        }
        let time = StillTime::begin();
        time.pass(Duration::from_secs(2)).await;
        let silence = within(reply.client.read_some()).await.unwrap().unwrap();
        assert!(silence.iter().all(|byte| *byte == b'\n'), "{silence:?}");
        drop(time);
        gate.open();
        let body = reply.body().await;
        let body = str::from_utf8(&body).unwrap().trim_start_matches('\n');
        assert_eq!(body, rest);
    }
}

#[tokio::test]
async fn a_socket_tells_the_data() {
    let (_provider, gateway, gate) = held("").await;
    let reply = ask(&gateway, &[]).await;
    let path = format!("/v1/streams/{}/ws", reply.stream());
    let mut socket = Socket::open(&gateway, &path, &[]).await.unwrap();
    gate.open();
    let heard = socket.hear_until("end").await;
    let heard = heard.iter().filter(|text| text["type"] == "event");
    let heard: Vec<_> = heard.map(|text| text["data"].as_str().unwrap()).collect();
    assert_eq!(heard, CHUNKS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_stream_ends_in_the_dialects_error() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| stream().gate_before_event(3, &held)).await;
    let setup = setup(&provider);
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let head = within(client.post_json(STREAM, &contents(), &[]))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    for _ in 0..2 {
        within(client.read_event()).await.unwrap().unwrap();
    }
    process.kill();

    let process = Process::start(&setup, dir.path());
    let page = within(process.page(&id)).await;
    assert_eq!(page["status"], "interrupted");
    assert_eq!(page["reason"], "gateway_restarted");
    let mut client = process.client().await;
    let accept = [("accept", "text/event-stream")];
    let path = format!("/v1/streams/{id}");
    within(client.get(&path, &accept)).await.unwrap();
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    let (status, told) = failure(frames.last().unwrap().data.as_deref());
    assert_eq!(status, "UNAVAILABLE");
    assert!(told.contains(&id), "{told}");
    assert_eq!(provider.calls().len(), 1);
}

/// A log that a process left behind which died when it had logged these chunks, if any.
async fn left_behind(id: StreamId, request: &Value, chunks: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    let now = || UnixMillis::default().plus(std::time::UNIX_EPOCH.elapsed().unwrap());
    let config = SegmentConfig::new(dir.path());
    let log = SegmentLog::open(config, Arc::new(OsDisk), Arc::new(now)).unwrap();
    let accepted = Accepted {
        project: "default".parse().unwrap(),
        account: everstream_core::record::Account::default(),
        surface: Surface::GenerateContent,
        mode: Mode::Stream,
        model: "m".to_owned(),
        created_at: now(),
        claim: None,
        include_usage: false,
        deadline: None,
        session: None,
        on_cut: None,
        headers: Vec::new(),
        request: Bytes::from(request.to_string()),
    };
    let created = log.create(id, Arc::new(accepted)).await.unwrap();
    let Created::New(lease) = created else {
        panic!("the id is taken");
    };
    if !chunks.is_empty() {
        let mut records = vec![Record::Dialled(Dialled {
            attempt: 1,
            upstream: "fake".to_owned(),
            model: "m".to_owned(),
        })];
        records.extend((1..).zip(chunks).map(|(seq, data)| {
            Record::Event(Event {
                seq: Seq::new(seq),
                time: now(),
                name: Bytes::new(),
                data: Bytes::copy_from_slice(data.as_bytes()),
            })
        }));
        log.append(id, lease, &records).await.unwrap();
    }
    log.close().await.unwrap();
    dir
}

#[tokio::test]
async fn an_accepted_request_is_run_by_the_next_start() {
    let id = StreamId::from_bits(77);
    let dir = left_behind(id, &contents(), &[]).await;
    let provider = FakeProvider::start(|_| stream()).await;
    let gateway = setup(&provider).data_dir(dir).start().await;
    let page = ended(&gateway, &id.to_string()).await;
    assert_eq!(page["status"], "completed");
    assert_eq!(page["last_seq"], CHUNKS.len());
    let call = provider.calls().pop().unwrap();
    assert_eq!((&*target(&call), call.json()), (STREAM, contents()));
}

#[tokio::test]
async fn a_logged_answer_is_whole_only_if_that_is_certain() {
    let mut two = contents();
    two["generationConfig"] = json!({"candidateCount": 2});
    let cases: [(&Value, &[&str], &str); 4] = [
        (&contents(), &CHUNKS, "completed"),
        (&contents(), &CHUNKS[..3], "interrupted"),
        // Models of old give the reason with every chunk.
        (&contents(), &CHUNKS[3..], "interrupted"),
        (&two, &CHUNKS, "interrupted"),
    ];
    let provider = FakeProvider::start(|_| Script::sse(["{}"])).await;
    for (request, chunks, status) in cases {
        let id = StreamId::from_bits(77);
        let dir = left_behind(id, request, chunks).await;
        let gateway = setup(&provider).data_dir(dir).start().await;
        let stream = page(&gateway, &id.to_string()).await;
        assert_eq!(stream["status"], status, "{stream}");
    }
    assert_eq!(provider.calls().len(), 0);
}
