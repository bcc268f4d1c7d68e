//! What is on the wire of a streamed reply: its head, when it comes, heartbeats, and how it ends.

use std::time::Duration;

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use everstream_testkit::sse::sse_frames;

use crate::harness::{Gateway, Setup, StillTime};
use crate::talk::{
    CHAT, EVENTS, answer, answer_to, chat, data, events, get, held, page, post, read, readers,
    send, soon,
};

const HEARTBEAT: &[u8] = b": ping\n";

/// A gateway whose provider waits at `gate` before its head, and which does not wait long itself.
async fn impatient(gate: &Gate, config: &str) -> (FakeProvider, Gateway) {
    let held = gate.clone();
    let provider =
        FakeProvider::start(move |request| {
            match request.json()["messages"][0]["content"].as_str() {
                Some("refused") => {
                    Script::openai_error(429, "rate_limit_error", "slow_down", "Slow down.")
                        .gate_before_head(&held)
                }
                _ => Script::chat_stream(&answer()).gate_before_head(&held),
            }
        })
        .await;
    let gateway = Setup::new(&provider)
        .config(&format!("[streams]\n{config}"))
        .start()
        .await;
    (provider, gateway)
}

#[tokio::test]
async fn the_head_says_what_a_client_and_its_proxies_need_and_nothing_else() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let headers = [
        ("accept-encoding", "gzip, br, zstd, deflate"),
        ("x-request-id", "mine-1"),
    ];
    let reply = post(&gateway, CHAT, &chat("x"), &headers).await;
    let id = reply.stream();
    let again = get(
        &gateway,
        &format!("/v1/streams/{id}"),
        &[EVENTS, headers[0], headers[1]],
    )
    .await;
    for reply in [reply, again] {
        assert_eq!(reply.stream(), id);
        assert_eq!(reply.head.status, 200);
        assert_eq!(reply.header("content-type"), "text/event-stream");
        assert_eq!(reply.header("cache-control"), "no-cache, no-transform");
        assert_eq!(reply.header("x-accel-buffering"), "no");
        assert_eq!(reply.header("transfer-encoding"), "chunked");
        assert_eq!(reply.header("everstream-upstream"), "fake");
        assert_eq!(reply.header("x-request-id"), "mine-1");
        for absent in [
            "content-length",
            "content-encoding",
            "idempotent-replayed",
            "connection",
        ] {
            assert_eq!(reply.head.header(absent), None);
        }
        let frames = reply.frames().await;
        assert_eq!(data(&frames), answer().expected_data_without_usage());
    }
}

#[tokio::test]
async fn a_frame_is_an_event_with_its_id_last_and_retry_in_the_first_one() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    let body = reply.body().await;
    let retry = sse_frames(&body)[0].retry;
    let retry = retry.expect("the first event says how soon to come back");
    assert!((500..=1500).contains(&retry), "{retry}");
    let expected = answer().expected_data_without_usage();
    let expected = expected.iter().enumerate().map(|(at, data)| match at {
        0 => format!("retry: {retry}\ndata: {data}\nid: {id}.1\n\n"),
        at => format!("data: {data}\nid: {id}.{}\n\n", at + 1),
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(String::from_utf8_lossy(&body), expected.concat());
}

#[tokio::test]
async fn a_slow_answer_has_its_head_and_a_comment_after_the_hold() {
    let gate = Gate::new("head");
    let (_provider, gateway) = impatient(&gate, "head_hold = \"50ms\"").await;
    let mut reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    reply.stream();
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.raw_frame().await, HEARTBEAT);
    gate.open();
    assert_eq!(
        data(&reply.frames().await),
        answer().expected_data_without_usage()
    );
}

#[tokio::test]
async fn a_refusal_within_the_hold_has_its_status_and_after_it_is_an_event() {
    let gate = Gate::new("head");
    let (provider, gateway) = impatient(&gate, "head_hold = \"30s\"").await;
    let waiting = tokio::spawn({
        let mut client = gateway.client().await;
        async move { client.post_json(CHAT, &chat("refused"), &[]).await }
    });
    provider.wait_for_calls(1).await;
    gate.open();
    let head = soon(waiting).await.unwrap().unwrap();
    assert_eq!(head.status, 429);

    let gate = Gate::new("head");
    let (_provider, gateway) = impatient(&gate, "head_hold = \"0s\"").await;
    let mut reply = post(&gateway, CHAT, &chat("refused"), &[]).await;
    let id = reply.stream();
    assert_eq!(reply.raw_frame().await, HEARTBEAT);
    gate.open();
    let frames = reply.frames().await;
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].id, Some(format!("{id}.1")));
    assert!(data(&frames)[0].contains("slow_down"), "{frames:?}");
    assert_eq!(page(&gateway, &id).await["status"], "failed");
}

#[tokio::test]
async fn silence_is_filled_with_heartbeats_between_events_only() {
    let (head, middle) = (Gate::new("head"), Gate::new("middle"));
    let gates = (head.clone(), middle.clone());
    let provider = FakeProvider::start(move |_| held(3, &gates.1).gate_before_head(&gates.0)).await;
    let config = "[streams]\nheartbeat = \"1s\"\nhead_hold = \"0s\"";
    let gateway = Setup::new(&provider).config(config).start().await;
    let mut reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    let mut reader = read(&gateway, &id, None).await;
    assert_eq!(reader.head.status, 200);
    // The one that came with the head, and two that silence brought.
    for _ in 0..3 {
        assert_eq!(reply.raw_frame().await, HEARTBEAT);
    }
    assert_eq!(reader.raw_frame().await, HEARTBEAT);
    head.open();
    let mut got = Vec::new();
    for each in [&mut reply, &mut reader] {
        got.push(vec![each.event().await, each.event().await]);
        assert_eq!(each.raw_frame().await, HEARTBEAT);
    }
    middle.open();
    // `frames` refuses a comment inside an event, and a blank line that closes none.
    for (each, got) in [reply, reader].into_iter().zip(&mut got) {
        got.extend(each.frames().await);
        assert_eq!(data(got), answer().expected_data_without_usage());
    }
    assert_eq!(events(&got[0]), events(&got[1]));
    let logged = page(&gateway, &id).await;
    let logged = logged["events"].as_array().unwrap();
    assert_eq!(logged.len(), got[0].len(), "a heartbeat was logged");
}

#[tokio::test]
async fn the_last_chunk_ends_a_reply_and_the_connection_is_used_again() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let mut client = gateway.client().await;
    for turn in 0..3 {
        let body = chat(&turn.to_string());
        let head = soon(client.post_json(CHAT, &body, &[])).await.unwrap();
        assert_eq!(head.status, 200);
        let (frames, end) = soon(client.collect_sse()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        let id = head.header("everstream-stream-id").unwrap();
        let at_end = frames.last().unwrap().id.as_deref().unwrap();
        let path = format!("/v1/streams/{id}");
        let replay = soon(client.get(&path, &[EVENTS])).await.unwrap();
        assert_eq!(replay.status, 200);
        let again = soon(client.collect_sse()).await.unwrap();
        assert_eq!(again, (frames.clone(), BodyEnd::Clean));
        let over = soon(client.get(&path, &[EVENTS, ("last-event-id", at_end)]))
            .await
            .unwrap();
        assert_eq!(over.status, 204);
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let body = chat("x").to_string();
    let mut client = gateway.client().await;
    let request = format!(
        "POST {CHAT} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    soon(client.send(request.as_bytes())).await.unwrap();
    let head = soon(client.read_head()).await.unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), None);
    assert_eq!(head.header("content-length"), None);
    let (frames, end) = soon(client.collect_sse()).await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    assert_eq!(data(&frames), answer().expected_data_without_usage());
}

#[tokio::test]
async fn a_get_on_a_generating_path_is_no_new_stream() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    for path in [CHAT, "/v1/completions", "/v1/embeddings"] {
        let reply = send(&gateway, "GET", path, &[EVENTS]).await;
        assert_eq!(reply.header("allow"), "POST");
        assert_eq!(reply.error(405).await, "method_not_allowed");
    }
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go_and_the_others_are_not_slowed() {
    let large = ChatAnswer::new(vec!["x".repeat(4 << 10); 2048]);
    let expected = large.expected_data();
    let gate = Gate::new("finish");
    let held = gate.clone();
    let finish = expected.len() - 1;
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&large).gate_before_event(finish, &held))
            .await;
    let config = "[streams]\nwrite_stall = \"1s\"\non_disconnect = \"continue\"";
    let gateway = Setup::new(&provider).config(config).start().await;
    let time = StillTime::begin();
    let mut stalled = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = stalled.stream();
    let mut beside = read(&gateway, &id, None).await;
    for data in &expected[..finish - 1] {
        assert!(beside.event().await.data.as_ref() == Some(data));
    }
    readers(&gateway, &id, 2).await;
    time.pass(Duration::from_secs(2)).await;
    readers(&gateway, &id, 1).await;
    gate.open();
    assert_eq!(data(&beside.frames().await), expected[finish - 1..]);
    let (_, end) = soon(stalled.client.read_body()).await.unwrap();
    assert_eq!(end, BodyEnd::Cut);
}
