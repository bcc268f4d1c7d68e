use std::time::Duration;

use serde_json::json;

use super::*;
use crate::client::{BodyEnd, RawClient, ResponseHead};

const CHAT: &str = "/v1/chat/completions";

/// Starts a provider with this one script, and asks it.
async fn asked<F>(script: F) -> (FakeProvider, RawClient, ResponseHead)
where
    F: Fn() -> Script + Send + Sync + 'static,
{
    let provider = FakeProvider::start(move |_| script()).await;
    let (client, head) = ask(&provider).await;
    (provider, client, head)
}

async fn ask(provider: &FakeProvider) -> (RawClient, ResponseHead) {
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    let body = json!({"model": "m", "stream": true});
    let head = client
        .post_json(CHAT, &body, &[("x-test", "1")])
        .await
        .unwrap();
    (client, head)
}

fn answer() -> ChatAnswer {
    ChatAnswer::new(["Hello", " 東京", " \"🦀\"\n"]).with_usage(3)
}

/// The answer's event stream, with `before` in front of each block.
fn blocks(before: &str) -> String {
    let block = |data: String| {
        [
            before, "data: ", &data, "

",
        ]
        .concat()
    };
    answer().expected_data().into_iter().map(block).collect()
}

#[tokio::test]
async fn a_chat_stream_has_the_expected_data() {
    let (provider, mut client, head) = asked(|| Script::chat_stream(&answer())).await;
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let (frames, end) = client.collect_sse().await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let data: Vec<_> = frames.into_iter().filter_map(|frame| frame.data).collect();
    assert_eq!(data, answer().expected_data());

    let [role, .., last, usage, done] = &data[..] else {
        panic!("{data:?}")
    };
    assert!(
        role.contains(r#""delta":{"role":"assistant","content":""}"#),
        "{role}"
    );
    assert!(
        last.contains(r#""finish_reason":"stop"}],"usage":null}"#),
        "{last}"
    );
    let usage: serde_json::Value = serde_json::from_str(usage).unwrap();
    assert_eq!(usage["usage"]["total_tokens"], 6);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(done, "[DONE]");
    let text: String = data[1..4]
        .iter()
        .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap())
        .map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(text, answer().text());
    assert_eq!(provider.written().events, 7);
    assert_eq!(provider.hangups(), 0);
}

#[test]
fn every_chunk_is_json_with_or_without_usage() {
    let plain = ChatAnswer::new(["a", "\u{7}\"\\"]);
    for answer in [plain.clone(), plain.with_usage(1)] {
        let mut data = answer.expected_data();
        assert_eq!(data.pop().as_deref(), Some("[DONE]"));
        for chunk in data {
            let chunk: serde_json::Value = serde_json::from_str(&chunk).unwrap();
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk.get("usage").is_some(), answer.usage.is_some());
        }
    }
}

#[test]
fn the_usage_chunk_alone_is_left_out() {
    let mut hidden = answer().expected_data();
    hidden.remove(5);
    assert_eq!(answer().expected_data_without_usage(), hidden);
    let plain = ChatAnswer::new(["a"]);
    assert_eq!(plain.expected_data_without_usage(), plain.expected_data());
    assert!(!plain.expected_data().concat().contains("usage"));
}

#[tokio::test]
async fn requests_are_kept_but_those_for_models() {
    let (provider, mut client, _) = asked(|| Script::chat_json(&answer())).await;
    assert_eq!(client.read_json().await.unwrap(), answer().to_json());
    provider.set_models(["one", "two"]);
    client.get("/v1/models?limit=2", &[]).await.unwrap();
    let models = client.read_json().await.unwrap();
    assert_eq!(models["data"][1]["id"], "two");

    provider.wait_for_calls(1).await;
    let calls = provider.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str()),
        ("POST", CHAT)
    );
    assert_eq!(calls[0].header("x-test"), Some("1"));
    assert_eq!(calls[0].json(), json!({"model": "m", "stream": true}));
    assert!(calls[0].wants_stream() && !calls[0].wants_usage());
    assert_eq!(
        (provider.call_count(CHAT), provider.call_count("/v1/models")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_chunked_request_is_read_whole() {
    let provider = FakeProvider::start(|_| Script::json(200, &json!({}))).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    let head =
        "POST /v1/x?a=b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    client.send(head.as_bytes()).await.unwrap();
    client
        .send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.read_head().await.unwrap().status, 200);
    let call = &provider.calls()[0];
    assert_eq!(
        (&call.body[..], call.query.as_str()),
        (&b"abcde"[..], "a=b")
    );
}

#[tokio::test]
async fn cuts_come_after_the_given_events() {
    for (how, n) in [
        (Cut::Close, 0),
        (Cut::Reset, 0),
        (Cut::Close, 3),
        (Cut::Reset, 3),
    ] {
        let script = move || Script::chat_stream(&answer()).cut_after_events(n, how);
        let (provider, mut client, _) = asked(script).await;
        let (frames, end) = client.collect_sse().await.unwrap();
        assert_eq!((frames.len(), end), (n, BodyEnd::Cut), "{how:?}");
        assert_eq!(provider.written().events, n as u64);
        assert_eq!(provider.hangups(), 0, "the provider cut, not the client");
    }
}

#[tokio::test]
async fn a_hang_up_sends_nothing() {
    let provider = FakeProvider::start(|_| Script::hang_up(Cut::Close)).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    let error = client.get("/", &[]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);

    let provider = FakeProvider::start(|_| Script::hang_up(Cut::Reset)).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    let error = client.get("/", &[]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_gate_holds_the_event_until_it_opens() {
    let gate = Gate::new("third event");
    let held = gate.clone();
    let script = move || Script::chat_stream(&answer()).gate_before_event(3, &held);
    let (provider, mut client, _) = asked(script).await;
    gate.reached_by(1).await;
    assert_eq!(provider.written().events, 2);
    for _ in 0..2 {
        assert!(client.read_event().await.unwrap().is_some());
    }
    gate.open();
    let (frames, end) = client.collect_sse().await.unwrap();
    assert_eq!((frames.len(), end), (5, BodyEnd::Clean));
}

#[tokio::test]
async fn a_gate_holds_the_head() {
    let gate = Gate::new("head");
    let held = gate.clone();
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_head(&held)).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    client.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    gate.reached_by(1).await;
    assert_eq!(provider.written(), Written::default());
    gate.open();
    assert_eq!(client.read_head().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let gate = Gate::new("never");
    let script = move || Script::chat_stream(&answer()).gate_before_event(2, &gate);
    let (provider, client, _) = asked(script).await;
    client.cut().unwrap();
    provider.wait_for_hangups(1).await;

    let (client, _) = ask(&provider).await;
    drop(client);
    provider.wait_for_hangups(2).await;
    assert_eq!(provider.hangups(), 2);
}

#[tokio::test]
async fn an_endless_line_ends_with_the_client() {
    let (provider, mut client, _) = asked(Script::endless_line).await;
    let mut read = 0;
    while read < 100_000 {
        read += client.read_some().await.unwrap().unwrap().len();
    }
    client.cut().unwrap();
    provider.wait_for_hangups(1).await;
}

#[tokio::test(start_paused = true)]
async fn pauses_are_in_tokios_time() {
    let started = tokio::time::Instant::now();
    let script = || {
        let hour = Duration::from_hours(1);
        Script::chat_stream(&answer())
            .pause_between(hour)
            .pause_before_head(hour)
    };
    let (_provider, mut client, _) = asked(script).await;
    client.read_body().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 7 * 3600);
}

#[tokio::test(start_paused = true)]
async fn events_share_a_write() {
    let started = tokio::time::Instant::now();
    let script = || {
        Script::chat_stream(&answer())
            .pause_between(Duration::from_secs(1))
            .events_per_write(3)
    };
    let (_provider, mut client, _) = asked(script).await;
    let (body, _) = client.read_body().await.unwrap();
    assert_eq!(body, blocks(""));
    assert_eq!(started.elapsed().as_secs(), 2, "7 events in writes of 3");
}

type Change = fn(Script) -> Script;

#[tokio::test]
async fn the_style_changes_the_bytes_and_nothing_else() {
    let plain = blocks("");
    let cases: [(Change, String); 7] = [
        (
            |s| s.with_line_end(LineEnd::CrLf),
            plain.replace('\n', "\r\n"),
        ),
        (|s| s.with_line_end(LineEnd::Cr), plain.replace('\n', "\r")),
        (Script::with_bom, format!("\u{feff}{plain}")),
        (Script::with_comments, blocks(": PROCESSING\n\n: glued\n")),
        (|s| s.split_every(1), plain.clone()),
        (Script::until_close, plain.clone()),
        (Script::without_done, plain.replace("data: [DONE]\n\n", "")),
    ];
    for (n, (change, expected)) in cases.into_iter().enumerate() {
        let (_provider, mut client, _) =
            asked(move || change(Script::chat_stream(&answer()))).await;
        let (body, end) = client.read_body().await.unwrap();
        assert_eq!(
            (&body[..], end),
            (expected.as_bytes(), BodyEnd::Clean),
            "case {n}"
        );
    }
}

#[tokio::test]
async fn an_error_event_takes_the_place_of_the_rest() {
    let (_provider, mut client, _) =
        asked(|| Script::chat_stream(&answer()).error_event_after(2)).await;
    let (frames, end) = client.collect_sse().await.unwrap();
    assert_eq!((frames.len(), end), (3, BodyEnd::Clean));
    assert!(
        frames[2]
            .data
            .as_ref()
            .unwrap()
            .starts_with(r#"{"error":{"#)
    );
}

#[tokio::test]
async fn a_content_length_may_lie_both_ways() {
    let json = || Script::json(200, &json!({"a": 1}));
    let (_provider, mut client, _) = asked(move || json().lying_content_length(100)).await;
    let (body, end) = client.read_body().await.unwrap();
    assert_eq!((&body[..], end), (&br#"{"a":1}"#[..], BodyEnd::Cut));

    let (_provider, mut client, _) = asked(move || json().lying_content_length(3)).await;
    let (body, end) = client.read_body().await.unwrap();
    assert_eq!((&body[..], end), (&br#"{"a"#[..], BodyEnd::Clean));
}

#[tokio::test]
async fn answers_that_are_none() {
    let (_provider, mut client, head) = asked(Script::html_200).await;
    assert_eq!(head.header("content-type"), Some("text/html"));
    assert!(
        client
            .read_body()
            .await
            .unwrap()
            .0
            .starts_with(b"<!DOCTYPE")
    );

    let (_provider, mut client, _) = asked(Script::binary).await;
    assert_eq!(client.read_body().await.unwrap().0.len(), 4096);

    let (_provider, mut client, _) = asked(Script::half_json).await;
    let (half, end) = client.read_body().await.unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&half).is_err());
    assert_eq!(end, BodyEnd::Clean);

    let (_provider, _, head) = asked(Script::gzip_garbage).await;
    assert_eq!(head.header("content-encoding"), Some("gzip"));

    let provider = FakeProvider::start(|_| Script::raw("SSH-2.0-OpenSSH_9.7\r\n")).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    let error = client.get("/", &[]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let (provider, mut client, _) = asked(|| Script::chat_stream(&answer())).await;
    for _ in 0..3 {
        assert_eq!(client.read_body().await.unwrap().1, BodyEnd::Clean);
        client.get("/v1/x", &[]).await.unwrap();
    }
    assert_eq!(client.read_body().await.unwrap().1, BodyEnd::Clean);
    client
        .get("/v1/x", &[("connection", "close")])
        .await
        .unwrap();
    client.read_body().await.unwrap();
    assert!(client.get("/v1/x", &[]).await.is_err());
    assert_eq!(provider.calls().last().unwrap().number, 5);
}

#[tokio::test]
async fn a_dropped_provider_cuts_its_connections() {
    let gate = Gate::new("never");
    let script = move || Script::chat_stream(&answer()).gate_before_event(1, &gate);
    let (provider, mut client, _) = asked(script).await;
    drop(provider);
    assert_eq!(client.read_body().await.unwrap().1, BodyEnd::Cut);
}

#[tokio::test]
async fn nobody_refuses() {
    let nobody = Nobody::new().unwrap();
    let refused = RawClient::connect(nobody.addr()).await.err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn what_is_no_http_gets_a_400() {
    let provider = FakeProvider::start(|_| Script::html_200()).await;
    let mut client = RawClient::connect(provider.addr()).await.unwrap();
    client
        .send(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.read_head().await.unwrap().status, 400);
}
