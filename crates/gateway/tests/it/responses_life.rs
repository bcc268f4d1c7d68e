//! Responses are streams like any other: run in the background, resumed, cancelled, watched, and
//! resolved after a death.

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
use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Gateway, Setup, StillTime, data, within};
use crate::process::Process;
use crate::responses::{
    RESPONSES, create, created, native_events, native_stream, numbered, path, request, retrieve,
    setup,
};
use crate::socket::Socket;
use crate::talk::{ended, events, get, post, read, send};

/// What an upstream of each kind says before it is held: in text, and in events of the client's.
const HELD: [(bool, &str, usize); 2] = [(true, "Wind 風", 5), (false, "Wind 風", 6)];

/// A provider that holds its answer after its second piece of text.
async fn holding(native: bool) -> (FakeProvider, Setup, Gate) {
    let gate = Gate::new("held");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| match native {
        true => native_stream().gate_before_event(6, &held),
        false => Script::chat_stream(&ChatAnswer::new(["Wind", " 風", " auf."]))
            .gate_before_event(4, &held),
    })
    .await;
    let setup = match native {
        true => setup(&provider),
        false => Setup::default().upstream("fake", &provider.base_url(), "models = [\"m\"]"),
    };
    (provider, setup, gate)
}

async fn held(native: bool, config: &str) -> (FakeProvider, Gateway, Gate) {
    let (provider, setup, gate) = holding(native).await;
    (provider, setup.config(config).start().await, gate)
}

fn in_background(stream: bool) -> Value {
    let mut body = request(stream);
    body["background"] = json!(true);
    body
}

#[tokio::test]
async fn a_response_in_the_background_is_polled_until_it_is_whole() {
    for (native, text, count) in HELD {
        let (provider, gateway, gate) = held(native, "").await;
        let reply = create(&gateway, &in_background(false)).await;
        let stream = reply.stream();
        let queued = reply.json(200).await;
        let id = queued["id"].as_str().unwrap();
        assert_eq!(
            (id, &queued["object"]),
            (format!("resp_{stream}").as_str(), &json!("response"))
        );
        assert_eq!(
            (&queued["status"], &queued["background"]),
            (&json!("queued"), &json!(true))
        );
        assert_eq!(
            (&queued["output"], &queued["model"]),
            (&json!([]), &json!("m"))
        );
        let mut live = get(&gateway, &format!("{}?stream=true", path(id)), &[]).await;
        for _ in 0..count {
            live.event().await;
        }
        let running = retrieve(&gateway, id).await;
        assert_eq!(
            (&running["status"], &running["background"]),
            (&json!("in_progress"), &json!(true))
        );
        let item = &running["output"][0];
        assert_eq!(
            (&item["content"][0]["text"], &item["status"]),
            (&json!(text), &json!("in_progress"))
        );
        gate.open();
        numbered(&live.frames().await, count as u64);
        let whole = retrieve(&gateway, id).await;
        assert_eq!(
            (&whole["id"], &whole["status"]),
            (&json!(id), &json!("completed"))
        );
        assert_eq!(
            (
                &whole["output"][0]["content"][0]["text"],
                &whole["background"]
            ),
            (&json!("Wind 風 auf."), &json!(true))
        );
        assert_eq!(provider.calls().len(), 1);
        assert!(provider.calls()[0].wants_stream());
        assert_eq!(provider.calls()[0].json().get("background"), None);
    }
}

#[tokio::test]
async fn a_streamed_response_in_the_background_outlives_its_client() {
    let (provider, gateway, gate) = held(true, "[streams]\non_disconnect = \"cancel\"").await;
    let mut reply = create(&gateway, &in_background(true)).await;
    let id = format!("resp_{}", reply.stream());
    let first: Value = serde_json::from_str(&reply.event().await.data.unwrap()).unwrap();
    assert_eq!(
        (&first["type"], &first["response"]["id"]),
        (&json!("response.created"), &json!(id))
    );
    drop(reply);
    gate.open();
    let path = format!("{}?stream=true&starting_after=0", path(&id));
    let rest = get(&gateway, &path, &[]).await.frames().await;
    let rest = numbered(&rest, 1);
    assert_eq!(rest.last().unwrap()["type"], "response.completed");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn an_answer_is_resumed_and_repeated_as_any() {
    for (native, _, count) in HELD {
        let (provider, gateway, gate) = held(native, "").await;
        let key = [("idempotency-key", "k")];
        let mut reply = post(&gateway, RESPONSES, &request(true), &key).await;
        let id = reply.stream();
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(reply.event().await.raw);
        }
        drop(reply);
        let again = post(&gateway, RESPONSES, &request(true), &key).await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        let cursor = format!("{id}.2");
        let cursor = [("last-event-id", cursor.as_str())];
        let resumed = post(&gateway, RESPONSES, &request(true), &cursor).await;
        let own = get(
            &gateway,
            &format!("{}?stream=true", path(&format!("resp_{id}"))),
            &cursor,
        )
        .await;
        gate.open();
        let whole = events(&again.frames().await);
        assert_eq!(whole[..count], seen);
        assert_eq!(events(&resumed.frames().await), whole[2..]);
        assert_eq!(events(&own.frames().await), whole[2..]);
        assert_eq!(
            events(&read(&gateway, &id, None).await.frames().await),
            whole
        );
        assert_eq!(provider.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_cancelled_response_says_so_to_all() {
    for (native, text, count) in HELD {
        let (provider, gateway, _gate) = held(native, "").await;
        let mut reply = create(&gateway, &in_background(true)).await;
        let id = format!("resp_{}", reply.stream());
        for _ in 0..count {
            reply.event().await;
        }
        let cancel = format!("{}/cancel", path(&id));
        let cancelled = send(&gateway, "POST", &cancel, &[]).await.json(200).await;
        assert_eq!(
            (&cancelled["id"], &cancelled["status"]),
            (&json!(id), &json!("cancelled"))
        );
        let item = &cancelled["output"][0];
        assert_eq!(
            (&item["content"][0]["text"], &item["status"]),
            (&json!(text), &json!("incomplete"))
        );
        let last = numbered(&reply.frames().await, count as u64);
        assert_eq!(last.len(), 1);
        let response = &last[0]["response"];
        assert_eq!(
            (&last[0]["type"], &response["status"]),
            (&json!("response.failed"), &json!("cancelled"))
        );
        assert_eq!(response["error"]["code"], "cancelled");
        if !native {
            assert_eq!(response["output"], cancelled["output"]);
        }
        within(provider.wait_for_hangups(1)).await;
        let again = send(&gateway, "POST", &cancel, &[]).await.json(200).await;
        assert_eq!(again, cancelled);
        assert_eq!(retrieve(&gateway, &id).await, cancelled);
    }
}

#[tokio::test]
async fn a_whole_response_stays_as_it_is_when_it_is_cancelled() {
    let (_provider, gateway, gate) = held(true, "").await;
    gate.open();
    let reply = create(&gateway, &request(true)).await;
    let id = format!("resp_{}", reply.stream());
    reply.frames().await;
    let cancel = format!("{}/cancel", path(&id));
    let kept = send(&gateway, "POST", &cancel, &[]).await.json(200).await;
    assert_eq!(kept["status"], "completed");
}

#[tokio::test]
async fn one_that_runs_is_stopped_before_it_is_deleted() {
    let (provider, gateway, _gate) = held(true, "").await;
    let mut reply = create(&gateway, &in_background(true)).await;
    let stream = reply.stream();
    reply.event().await;
    let path = path(&format!("resp_{stream}"));
    send(&gateway, "DELETE", &path, &[]).await.json(200).await;
    within(provider.wait_for_hangups(1)).await;
    assert_eq!(
        get(&gateway, &path, &[]).await.error(404).await,
        "response_not_found"
    );
    let gone = get(&gateway, &format!("/v1/streams/{stream}"), &[]).await;
    assert_eq!(gone.problem(410).await, "stream_gone");
    // Nor is it there for those who start from what lies on the disk.
    drop(reply);
    let dir = gateway.stop().await;
    let gateway = setup(&provider).data_dir(dir).start().await;
    assert_eq!(
        get(&gateway, &path, &[]).await.error(404).await,
        "response_not_found"
    );
}

#[tokio::test]
async fn nobody_reading_stops_the_provider_if_that_is_asked_for() {
    let (provider, gateway, _gate) = held(true, "").await;
    let headers = [("everstream-on-disconnect", "cancel")];
    let reply = post(&gateway, RESPONSES, &request(true), &headers).await;
    let id = reply.stream();
    drop(reply);
    within(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
    assert_eq!(
        retrieve(&gateway, &format!("resp_{id}")).await["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn silence_is_filled_with_comments_that_have_no_number() {
    let config = "[streams]\nheartbeat = \"1s\"\nhead_hold = \"0s\"";
    let (_provider, gateway, gate) = held(true, config).await;
    let mut reply = create(&gateway, &request(true)).await;
    for _ in 0..5 {
        reply.event().await;
    }
    let time = StillTime::begin();
    time.pass(Duration::from_secs(2)).await;
    assert_eq!(reply.raw_frame().await, ": ping\n");
    drop(time);
    gate.open();
    let rest = reply.frames().await;
    assert_eq!(data(&rest).len(), native_events().len() - 5);
    numbered(&rest, 5);
}

#[tokio::test]
async fn a_socket_tells_names_and_data() {
    let (_provider, gateway, gate) = held(false, "").await;
    let reply = create(&gateway, &request(true)).await;
    let path = format!("/v1/streams/{}/ws", reply.stream());
    let mut socket = Socket::open(&gateway, &path, &[]).await.unwrap();
    gate.open();
    let heard = socket.hear_until("end").await;
    let heard: Vec<_> = heard
        .iter()
        .filter(|text| text["type"] == "event")
        .collect();
    let last = heard.last().unwrap();
    assert_eq!(last["event"], "response.completed");
    let data: Value = serde_json::from_str(last["data"].as_str().unwrap()).unwrap();
    assert_eq!(data["sequence_number"], heard.len() - 1);
}

/// A GET at a process, as JSON.
async fn ask(process: &Process, path: &str, status: u16) -> Value {
    let mut client = process.client().await;
    let head = within(client.get(path, &[])).await.unwrap();
    let (body, _) = within(client.read_body()).await.unwrap();
    assert_eq!(head.status, status);
    serde_json::from_slice(&body).unwrap()
}

/// A streamed request to a process, and its stream.
async fn open(process: &Process, body: &Value) -> (RawClient, String) {
    let mut client = process.client().await;
    let head = within(client.post_json(RESPONSES, body, &[]))
        .await
        .unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    (client, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_mid_stream_ends_in_response_failed_with_what_was_said() {
    for (native, text, count) in HELD {
        let dir = TempDir::new().unwrap();
        let (provider, setup, _gate) = holding(native).await;
        let process = Process::start(&setup, dir.path());
        let (mut client, stream) = open(&process, &request(true)).await;
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(within(client.read_event()).await.unwrap().unwrap());
        }
        process.kill();

        let process = Process::start(&setup, dir.path());
        let page = within(process.page(&stream)).await;
        assert_eq!(page["status"], "interrupted");
        let path = path(&format!("resp_{stream}"));
        let kept = ask(&process, &path, 200).await;
        assert_eq!(
            (&kept["status"], &kept["error"]["code"]),
            (&json!("failed"), &json!("gateway_restarted"))
        );
        let item = &kept["output"][0];
        assert_eq!(
            (&item["content"][0]["text"], &item["status"]),
            (&json!(text), &json!("incomplete"))
        );
        let items = ask(&process, &format!("{path}/input_items"), 200).await;
        assert_eq!(items["data"][0]["content"][0]["text"], "x");
        let mut client = process.client().await;
        within(client.get(&format!("{path}?stream=true"), &[]))
            .await
            .unwrap();
        let (frames, _) = within(client.collect_sse()).await.unwrap();
        assert_eq!(frames[..count], seen);
        let events = numbered(&frames, 0);
        let last = events.last().unwrap();
        assert_eq!(
            (events.len(), &last["type"]),
            (count + 1, &json!("response.failed"))
        );
        assert_eq!(last["response"]["output"], kept["output"]);
        assert!(
            last["response"]["error"]["message"]
                .as_str()
                .unwrap()
                .contains(&stream)
        );
        assert_eq!(provider.calls().len(), 1);

        let mut client = process.client().await;
        within(client.request("DELETE", &path, &[], b""))
            .await
            .unwrap();
        within(client.read_body()).await.unwrap();
        process.kill();
        let process = Process::start(&setup, dir.path());
        let gone = ask(&process, &path, 404).await;
        assert_eq!(gone["error"]["code"], "response_not_found");
    }
}

#[tokio::test]
async fn an_accepted_request_is_run_by_the_next_start_with_its_conversation() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["Yes."]))).await;
    let native = FakeProvider::start(|_| native_stream()).await;
    let item = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text, "id": "msg_1"});
    let logged = json!({"model": "m", "previous_response_id": "resp_0000000000000", "background": true,
        "input": [item("user", "a"), item("assistant", "b"), item("user", "c")]});
    let upstreams = [
        (
            Setup::default().upstream("fake", &provider.base_url(), "models = [\"m\"]"),
            &provider,
            "messages",
        ),
        (setup(&native), &native, "input"),
    ];
    for (setup, provider, member) in upstreams {
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
            surface: Surface::Responses,
            mode: Mode::Stream,
            model: "m".to_owned(),
            created_at: now(),
            claim: None,
            include_usage: false,
            deadline: None,
            session: None,
            on_cut: None,
            headers: Vec::new(),
            request: Bytes::from(logged.to_string()),
        };
        log.create(id, Arc::new(accepted)).await.unwrap();
        log.close().await.unwrap();
        drop(log);

        let gateway = setup.data_dir(dir).start().await;
        let page = ended(&gateway, &id.to_string()).await;
        assert_eq!(page["status"], "completed");
        let whole = retrieve(&gateway, &format!("resp_{id}")).await;
        assert_eq!(
            (&whole["status"], &whole["background"]),
            (&json!("completed"), &json!(true))
        );
        assert_eq!(whole["previous_response_id"], "resp_0000000000000");
        let sent = provider.calls().pop().unwrap().json();
        assert_eq!(sent[member].as_array().unwrap().len(), 3);
        assert_eq!(sent.get("previous_response_id"), None);
    }
}

#[tokio::test]
async fn another_process_on_the_same_log_knows_the_response() {
    let dir = TempDir::new().unwrap();
    let (_provider, setup, gate) = holding(true).await;
    gate.open();
    let one = Process::start(&setup, dir.path());
    let two = Process::start(&setup, dir.path());
    let (mut client, stream) = open(&one, &request(true)).await;
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    let path = path(&format!("resp_{stream}"));
    let kept = ask(&two, &path, 200).await;
    assert_eq!(kept["status"], "completed");
    let mut client = two.client().await;
    within(client.get(&format!("{path}?stream=true&starting_after=2"), &[]))
        .await
        .unwrap();
    let (rest, _) = within(client.collect_sse()).await.unwrap();
    assert_eq!(rest, frames[3..]);
    let next =
        json!({"model": "m", "input": "y", "previous_response_id": kept["id"], "stream": true});
    let (mut client, _) = open(&two, &next).await;
    let (frames, _) = within(client.collect_sse()).await.unwrap();
    assert_eq!(
        numbered(&frames, 0)[0]["response"]["previous_response_id"],
        kept["id"]
    );
    let mut client = two.client().await;
    within(client.request("DELETE", &path, &[], b""))
        .await
        .unwrap();
    // A process looks at what the others do a moment later, at most.
    let gone = async {
        loop {
            let mut client = one.client().await;
            let head = within(client.get(&path, &[])).await.unwrap();
            if head.status == 404 {
                break;
            }
        }
    };
    within(gone).await;
}

#[tokio::test]
async fn a_repeat_with_another_conversation_is_another_request() {
    let (_provider, gateway, gate) = held(true, "").await;
    gate.open();
    let reply = create(&gateway, &request(true)).await;
    let before = format!("resp_{}", reply.stream());
    reply.frames().await;
    let key = [("idempotency-key", "k")];
    let mut body = request(true);
    body["previous_response_id"] = json!(before);
    let first = post(&gateway, RESPONSES, &body, &key).await;
    let stream = first.stream();
    first.frames().await;
    let again = post(&gateway, RESPONSES, &body, &key).await;
    assert_eq!(
        (again.header("idempotent-replayed"), again.stream()),
        ("true", stream)
    );
    body.as_object_mut().unwrap().remove("previous_response_id");
    let refused = post(&gateway, RESPONSES, &body, &key).await;
    assert_eq!(refused.error(422).await, "idempotency_mismatch");
    let unary = created(
        &gateway,
        &json!({"model": "m", "input": "x", "background": true}),
    )
    .await;
    assert_eq!(unary["object"], "response");
}
