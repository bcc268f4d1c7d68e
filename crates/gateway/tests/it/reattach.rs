//! An upstream whose connection is cut while its run goes on: another Everstream, or a response in the
//! background. The client gets every byte, and the provider is called once.

use everstream_core::id::StreamId;
use everstream_core::record::{Record, SeamKind};
use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{Cut, FakeProvider, Gate, Script};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Gateway, Setup};
use crate::process::Process;
use crate::proxy::{Manner, Proxy};
use crate::talk::{
    CHAT, EVENTS, Reply, answer, answer_to, chat, data, ended, held, page, post, running, send,
    soon, unary_chat,
};

/// A gateway in front of another one at this address.
fn before(url: &str, more: &str) -> Setup {
    let more = format!("models = [\"m\"]\n{more}");
    Setup::default().upstream("behind", &format!("{url}/v1"), &more)
}

const KEYED: &str = "provider = \"everstream\"";

/// A gateway that cuts connections, in front of a provider: this many, each after so many bytes.
async fn cutting(behind: &Gateway, connections: usize, bytes: usize) -> Proxy {
    Proxy::start(behind.addr, Manner::Cut { connections, bytes }).await
}

/// The seams of a stream, as its log has them, and how often somebody was asked.
async fn seams(gateway: &Gateway, stream: &str) -> (Vec<(SeamKind, u64)>, usize) {
    let id: StreamId = stream.parse().unwrap();
    let records = gateway.app.log.audit(id).await.unwrap();
    let seam = |record: &Record| match record {
        Record::Seam(seam) => Some((seam.kind, seam.seq.get())),
        _ => None,
    };
    let dialled = |record: &&Record| matches!(record, Record::Dialled(_));
    let dialled = records.iter().filter(dialled).count();
    (records.iter().filter_map(seam).collect(), dialled)
}

/// The data of all events of an answer that came by way of somebody else.
async fn whole(reply: Reply) {
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
}

#[tokio::test]
async fn wherever_the_connection_is_cut_the_client_gets_every_byte() {
    let provider = FakeProvider::start(answer_to).await;
    let behind = Setup::new(&provider).start().await;
    let mut calls = provider.calls().len();
    let mut reattached = 0;
    for bytes in [0, 1, 300, 600, 700, 800, 900, 1000, 1200, 1400] {
        for connections in [1, 3] {
            let proxy = cutting(&behind, connections, bytes).await;
            let gateway = before(&proxy.url, KEYED).start().await;
            let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
            let id = reply.stream();
            whole(reply).await;
            calls += 1;
            assert_eq!(provider.calls().len(), calls, "cut after {bytes}");
            let stream = page(&gateway, &id).await;
            assert_eq!(stream["status"], "completed");
            assert_eq!(stream["usage"]["input_tokens"], 7, "cut after {bytes}");
            let (seams, dialled) = seams(&gateway, &id).await;
            assert_eq!(dialled, 1);
            assert!(seams.iter().all(|seam| seam.0 == SeamKind::Reattached));
            reattached += seams.len();
        }
    }
    assert!(reattached >= 10, "{reattached}");
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_asked_for_again_under_its_key() {
    let provider = FakeProvider::start(answer_to).await;
    let behind = Setup::new(&provider).start().await;
    let before_it = provider.calls().len();
    let proxy = cutting(&behind, 1, 10).await;
    let gateway = before(&proxy.url, KEYED).start().await;
    let reply = post(&gateway, CHAT, &unary_chat("x"), &[]).await;
    assert_eq!(reply.json(200).await, answer().to_json());
    assert_eq!(provider.calls().len(), before_it + 1);
}

#[tokio::test]
async fn every_api_is_read_on() {
    for (path, body) in [
        (CHAT, chat("x")),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "stream": true, "input": "x"}),
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
        ),
    ] {
        let provider = FakeProvider::start(answer_to).await;
        let behind = Setup::new(&provider).start().await;
        let proxy = cutting(&behind, 2, 1000).await;
        let gateway = before(&proxy.url, KEYED).start().await;
        let before_it = provider.calls().len();
        let reply = post(&gateway, path, &body, &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        let text = data(&frames).concat();
        assert!(text.contains("Wind") && text.contains("風"), "{text}");
        assert!(!text.contains("\"error\":{"), "{path}: {text}");
        assert_eq!(page(&gateway, &id).await["status"], "completed", "{path}");
        assert_eq!(provider.calls().len(), before_it + 1, "{path}");
        assert!(!seams(&gateway, &id).await.0.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn who_says_so_itself_needs_no_row_to_be_found_again() {
    let gate = Gate::new("third");
    let script = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &script)).await;
    let behind = Setup::new(&provider).start().await;
    let proxy = cutting(&behind, 1, 1100).await;
    let gateway = before(&proxy.url, "").start().await;
    let (reply, id, _) = running(&gateway, 2).await;
    gate.open();
    let frames = reply.frames().await;
    assert_eq!(data(&frames).last().unwrap(), "[DONE]");
    assert_eq!(ended(&gateway, &id).await["status"], "completed");
    assert_eq!(seams(&gateway, &id).await.0.len(), 1);
}

#[tokio::test]
async fn a_cancellation_reaches_the_provider_behind_another_gateway() {
    let gate = Gate::new("never");
    let script = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &script)).await;
    let behind = Setup::new(&provider).start().await;
    let url = format!("http://{}", behind.addr);
    let gateway = before(&url, KEYED).start().await;
    let (_reply, id, _) = running(&gateway, 3).await;
    let other = behind.app.generator.registry.all()[0].id().to_string();
    let reply = send(&gateway, "DELETE", &format!("/v1/streams/{id}"), &[]).await;
    assert_eq!(reply.json(200).await["status"], "cancelled");
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&behind, &other).await["status"], "cancelled");
}

/// All events of a stream, to its proper end.
async fn read_on(process: &Process, id: &str) -> Vec<Frame> {
    let mut client = process.client().await;
    let path = format!("/v1/streams/{id}");
    let head = soon(client.get(&path, &[EVENTS])).await.unwrap();
    assert_eq!(head.status, 200);
    let (mut frames, end) = soon(client.collect_sse()).await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    frames.retain(|frame| frame.data.is_some());
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_reads_on_what_another_one_went_on_with() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("fourth"));
    let script = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &script)).await;
    let behind = Setup::new(&provider).start().await;
    let calls = provider.calls().len();
    let setup = before(&format!("http://{}", behind.addr), "");
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let head = soon(client.post_json(CHAT, &chat("x"), &[])).await.unwrap();
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(soon(client.read_event()).await.unwrap().unwrap());
    }
    process.kill();

    let process = Process::start(&setup, dir.path());
    gate.open();
    let frames = read_on(&process, &id).await;
    // The same bytes as before the kill, and then the rest.
    assert_eq!(frames[..3], seen);
    assert_eq!(data(&frames), answer().expected_data_without_usage());
    let page = soon(process.page(&id)).await;
    assert_eq!(page["status"], "completed");
    assert_eq!(page["usage"]["input_tokens"], 7);
    assert_eq!(provider.calls().len(), calls + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_killed_gateway_had_sent_is_run_once() {
    let (dir, gate) = (TempDir::new().unwrap(), Gate::new("head"));
    let script = gate.clone();
    let provider =
        FakeProvider::start(move |request| answer_to(request).gate_before_head(&script)).await;
    let behind = Setup::new(&provider).start().await;
    let calls = provider.calls().len();
    let setup = before(&format!("http://{}", behind.addr), KEYED);
    let process = Process::start(&setup, dir.path());
    let mut client = process.client().await;
    let mut body = chat("x");
    body["background"] = json!(true);
    body["stream"] = json!(false);
    soon(client.post_json(CHAT, &body, &[])).await.unwrap();
    let id = soon(client.read_json()).await.unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    soon(gate.reached_by(1)).await;
    process.kill();

    let process = Process::start(&setup, dir.path());
    gate.open();
    let frames = read_on(&process, id).await;
    assert_eq!(data(&frames), answer().expected_data_without_usage());
    assert_eq!(soon(process.page(id)).await["status"], "completed");
    assert_eq!(provider.calls().len(), calls + 1);
}

/// What a provider says of a response that it runs in the background, padded as it pleases.
fn response(padding: &str) -> Vec<String> {
    let response = |status: &str, more: &Value| {
        let mut response = json!({"id": "resp_abc", "object": "response", "created_at": 17, "status": status,
            "background": true, "model": "m", "output": []});
        let members = response.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        response
    };
    let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Wind auf", "annotations": []}]});
    let usage = json!({"input_tokens": 5, "output_tokens": 2, "total_tokens": 7});
    let delta = |text: &str| {
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
            "content_index": 0, "delta": text, "obfuscation": padding})
    };
    let events = [
        json!({"type": "response.created", "response": response("queued", &json!({}))}),
        json!({"type": "response.in_progress", "response": response("in_progress", &json!({}))}),
        json!({"type": "response.output_item.added", "output_index": 0,
            "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}}),
        delta("Wind"),
        delta(" auf"),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed",
            "response": response("completed", &json!({"output": [item], "usage": usage}))}),
    ];
    let numbered = events.into_iter().enumerate();
    let text = numbered.map(|(number, mut event)| {
        event["sequence_number"] = json!(number);
        event.to_string()
    });
    text.collect()
}

/// Who runs responses in the background: the first connection is cut after four events.
async fn in_the_background(again: impl Fn() -> Script + Send + Sync + 'static) -> FakeProvider {
    FakeProvider::start(move |request| match &*request.method {
        "GET" => again(),
        _ if request.path.ends_with("/cancel") => Script::json(200, &json!({"id": "resp_abc"})),
        _ => Script::sse(response("x")).cut_after_events(4, Cut::Reset),
    })
    .await
}

async fn before_openai(provider: &FakeProvider) -> Gateway {
    let more = "provider = \"openai\"\nmodels = [\"m\"]";
    let setup = Setup::default().upstream("openai", &provider.base_url(), more);
    setup.start().await
}

fn asked_in_background() -> Value {
    json!({"model": "m", "stream": true, "background": true, "input": "x"})
}

#[tokio::test]
async fn a_response_in_the_background_is_read_on_at_its_provider() {
    let provider = in_the_background(|| Script::sse(response("yyy"))).await;
    let gateway = before_openai(&provider).await;
    let reply = post(&gateway, "/v1/responses", &asked_in_background(), &[]).await;
    let id = reply.stream();
    let frames = reply.frames().await;
    let events: Vec<Value> = data(&frames)
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64());
    assert!(numbers.eq((0..7).map(Some)), "{events:?}");
    assert_eq!(events[6]["type"], "response.completed");
    assert_eq!(events[6]["response"]["upstream_id"], "resp_abc");
    assert_eq!(page(&gateway, &id).await["usage"]["output_tokens"], 2);
    let calls = provider.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].json()["background"], true);
    let again = (&*calls[1].method, &*calls[1].path, &*calls[1].query);
    assert_eq!(again, ("GET", "/v1/responses/resp_abc", "stream=true"));
}

#[tokio::test]
async fn a_response_that_its_provider_keeps_no_more_ends_as_it_was_cut() {
    for status in [400, 404] {
        let gone = move || Script::openai_error(status, "invalid_request_error", "gone", "Gone.");
        let provider = in_the_background(gone).await;
        let gateway = before_openai(&provider).await;
        let reply = post(&gateway, "/v1/responses", &asked_in_background(), &[]).await;
        let id = reply.stream();
        let last = data(&reply.frames().await).pop().unwrap();
        assert!(last.contains("response.failed"), "{last}");
        assert!(!last.contains("Gone."), "{last}");
        let page = ended(&gateway, &id).await;
        assert_eq!(
            (&page["status"], &page["reason"]),
            (&json!("failed"), &json!("upstream_cut"))
        );
        // Asked once, found once in vain, and told that nobody waits for it.
        soon(provider.wait_for_calls(3)).await;
        let paths: Vec<_> = provider.calls().into_iter().map(|call| call.path).collect();
        assert_eq!(
            paths[1..],
            ["/v1/responses/resp_abc", "/v1/responses/resp_abc/cancel"]
        );
    }
}

#[tokio::test]
async fn who_leaves_a_response_in_the_background_stops_it_if_that_is_wanted() {
    let gate = Gate::new("never");
    let script = gate.clone();
    let provider = FakeProvider::start(move |request| {
        if request.path.ends_with("/cancel") {
            return Script::json(200, &json!({"id": "resp_abc"}));
        }
        Script::sse(response("x")).gate_before_event(5, &script)
    })
    .await;
    let gateway = before_openai(&provider).await;
    let leaving = [("everstream-on-disconnect", "cancel")];
    let mut reply = post(&gateway, "/v1/responses", &asked_in_background(), &leaving).await;
    let id = reply.stream();
    reply.event().await;
    drop(reply);
    soon(provider.wait_for_calls(2)).await;
    let cancel = provider.calls().pop().unwrap();
    assert_eq!(
        (&*cancel.method, &*cancel.path),
        ("POST", "/v1/responses/resp_abc/cancel")
    );
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
}
