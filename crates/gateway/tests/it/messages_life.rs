//! Answers in Anthropic's dialect are streams like any other: resumed, repeated, cancelled, watched,
//! and resolved after a death.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::event::{Mode, Surface};
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::record::Accepted;
use everstream_store::StreamLog;
use everstream_store::config::SegmentConfig;
use everstream_store::disk::OsDisk;
use everstream_store::segment::SegmentLog;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Gateway, Setup, StillTime, data, within};
use crate::messages::{EVENTS, MESSAGES, ask, message, setup, stream};
use crate::process::Process;
use crate::socket::Socket;
use crate::talk::{ended, events, post, read, send};

/// A gateway whose provider holds its answer before the fifth event.
async fn held(config: &str) -> (FakeProvider, Gateway, Gate) {
    let gate = Gate::new("held");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| stream().gate_before_event(5, &held)).await;
    let gateway = setup(&provider).config(config).start().await;
    (provider, gateway, gate)
}

/// The error event that an answer ended with.
fn failure(name: Option<&str>, data: Option<&str>) -> String {
    assert_eq!(name, Some("error"));
    let event: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(event["type"], "error");
    assert_eq!(event["error"]["type"], "api_error");
    event["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_is_resumed_cancelled_and_repeated_as_any() {
    let (provider, gateway, gate) = held("").await;
    let key = [("idempotency-key", "k")];
    let mut reply = ask(&gateway, &key).await;
    let id = reply.stream();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(reply.event().await.raw);
    }
    drop(reply);
    let again = ask(&gateway, &key).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let cursor = format!("{id}.2");
    let resumed = ask(&gateway, &[("last-event-id", &cursor)]).await;
    gate.open();
    let whole = events(&again.frames().await);
    assert_eq!(whole[..4], seen);
    assert_eq!(whole.len(), EVENTS.len());
    assert_eq!(events(&resumed.frames().await), whole[2..]);
    assert_eq!(
        events(&read(&gateway, &id, None).await.frames().await),
        whole
    );
    assert_eq!(provider.call_count(MESSAGES), 1);
}

#[tokio::test]
async fn a_cancelled_answer_ends_in_the_dialects_error() {
    let (_provider, gateway, _gate) = held("").await;
    let mut reply = ask(&gateway, &[]).await;
    let id = reply.stream();
    for _ in 0..4 {
        reply.event().await;
    }
    let cancelled = send(&gateway, "DELETE", &format!("/v1/streams/{id}"), &[]).await;
    assert_eq!(cancelled.json(200).await["status"], "cancelled");
    let last = reply.event().await;
    let told = failure(last.event.as_deref(), last.data.as_deref());
    assert!(told.contains("cancelled") && told.contains(&id), "{told}");
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
async fn silence_is_filled_with_comments_and_no_made_up_pings() {
    let config = "[streams]\nheartbeat = \"1s\"\nhead_hold = \"0s\"";
    let (_provider, gateway, gate) = held(config).await;
    let mut reply = ask(&gateway, &[]).await;
    for _ in 0..4 {
        reply.event().await;
    }
    let time = StillTime::begin();
    time.pass(Duration::from_secs(2)).await;
    assert_eq!(reply.raw_frame().await, ": ping\n");
    drop(time);
    gate.open();
    let rest = data(&reply.frames().await);
    assert_eq!(rest, EVENTS[4..]);
}

#[tokio::test]
async fn a_socket_tells_names_and_data() {
    let (_provider, gateway, gate) = held("").await;
    let reply = ask(&gateway, &[]).await;
    let path = format!("/v1/streams/{}/ws", reply.stream());
    let mut socket = Socket::open(&gateway, &path, &[]).await.unwrap();
    gate.open();
    let heard = socket.hear_until("end").await;
    let heard: Vec<_> = heard
        .iter()
        .filter(|text| text["type"] == "event")
        .map(|text| {
            (
                text["event"].as_str().unwrap(),
                text["data"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(heard.len(), EVENTS.len());
    assert_eq!(heard[7], ("message_stop", EVENTS[7]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_stream_ends_in_the_dialects_error_whoever_answered() {
    for openai in [false, true] {
        let (dir, gate) = (TempDir::new().unwrap(), Gate::new("never opened"));
        let held = gate.clone();
        let provider = FakeProvider::start(move |_| match openai {
            true => Script::chat_stream(&ChatAnswer::new(["Wind", " auf", "."]))
                .gate_before_event(4, &held),
            false => stream().gate_before_event(5, &held),
        })
        .await;
        let setup = match openai {
            true => Setup::default().upstream("fake", &provider.base_url(), "models = [\"m\"]"),
            false => setup(&provider),
        };
        let process = Process::start(&setup, dir.path());
        let mut client = process.client().await;
        let head = within(client.post_json(MESSAGES, &message(true), &[])).await;
        let id = head
            .unwrap()
            .header("everstream-stream-id")
            .unwrap()
            .to_owned();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(within(client.read_event()).await.unwrap().unwrap());
        }
        process.kill();

        let process = Process::start(&setup, dir.path());
        let page = within(process.page(&id)).await;
        assert_eq!(page["status"], "interrupted");
        assert_eq!(page["reason"], "gateway_restarted");
        let mut client = process.client().await;
        let accept = [("accept", "text/event-stream")];
        within(client.get(&format!("/v1/streams/{id}"), &accept))
            .await
            .unwrap();
        let (frames, _) = within(client.collect_sse()).await.unwrap();
        assert_eq!(frames[..4], seen);
        let last = frames.last().unwrap();
        let told = failure(last.event.as_deref(), last.data.as_deref());
        assert!(told.contains(&id), "{told}");
        assert_eq!(provider.calls().len(), 1);
    }
}

#[tokio::test]
async fn an_accepted_request_is_run_by_the_next_start_with_what_its_provider_has_to_see() {
    let dir = TempDir::new().unwrap();
    let now = || UnixMillis::default().plus(std::time::UNIX_EPOCH.elapsed().unwrap());
    let id = StreamId::from_bits(77);
    let log = SegmentLog::open(
        SegmentConfig::new(dir.path()),
        Arc::new(OsDisk),
        Arc::new(now),
    );
    let log = log.unwrap();
    let accepted = Accepted {
        project: "default".parse().unwrap(),
        account: everstream_core::record::Account::default(),
        surface: Surface::Messages,
        mode: Mode::Stream,
        model: "m".to_owned(),
        created_at: now(),
        claim: None,
        include_usage: true,
        deadline: None,
        session: None,
        on_cut: None,
        headers: vec![("anthropic-beta".to_owned(), "b-2026".to_owned())],
        request: Bytes::from(message(true).to_string()),
    };
    log.create(id, Arc::new(accepted)).await.unwrap();
    log.close().await.unwrap();
    drop(log);

    let provider = FakeProvider::start(|_| stream()).await;
    let gateway = setup(&provider).data_dir(dir).start().await;
    let page = ended(&gateway, &id.to_string()).await;
    assert_eq!(page["status"], "completed");
    assert_eq!(page["last_seq"], EVENTS.len());
    let call = provider.calls().pop().unwrap();
    assert_eq!(call.json(), message(true));
    assert_eq!(call.header("anthropic-beta"), Some("b-2026"));
}

#[tokio::test]
async fn a_repeat_with_another_body_is_refused_in_the_dialect() {
    let (_provider, gateway, _gate) = held("").await;
    let key = [("idempotency-key", "k")];
    let _reply = ask(&gateway, &key).await;
    let mut other = message(true);
    other["max_tokens"] = json!(1);
    let refused = post(&gateway, MESSAGES, &other, &key).await;
    assert_eq!(refused.header("x-should-retry"), "false");
    let refused = refused.json(422).await;
    assert_eq!(refused["error"]["type"], "invalid_request_error");
}
