//! Streams over WebSocket: clients that are wrong, hostile, slow or dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use everstream_core::id::StreamId;
use everstream_core::limits;
use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, StillTime, until};
use crate::socket::{Socket, answer, finished, generate, held_provider, soon};

async fn quick_provider() -> FakeProvider {
    FakeProvider::start(|_| Script::chat_stream(&answer())).await
}

/// How many readers a running stream has.
fn readers(gateway: &Gateway, stream: &str) -> usize {
    let id: StreamId = stream.parse().unwrap();
    gateway.app.generator.registry.get(id).unwrap().readers()
}

#[tokio::test]
async fn a_mistake_is_told_and_the_socket_goes_on() {
    let provider = quick_provider().await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let id = finished(&gateway, KEY_ONE).await;
    let others = finished(&gateway, KEY_TWO).await;
    let bearer = format!("Bearer {KEY_ONE}");
    let mut socket = Socket::open(&gateway, "/v1/ws", &[("authorization", &bearer)])
        .await
        .unwrap();
    let subscribe =
        |stream: &str, after| json!({"type": "subscribe", "stream": stream, "after": after});
    for (text, code) in [
        (String::new(), "invalid_json"),
        ("null".into(), "invalid_json"),
        ("{".into(), "invalid_json"),
        ("[".repeat(10_000), "invalid_json"),
        (json!({"type": "publish"}).to_string(), "invalid_json"),
        (json!({"type": "subscribe"}).to_string(), "invalid_json"),
        (
            json!({"type": "subscribe", "stream": id, "afer": 1}).to_string(),
            "invalid_json",
        ),
        (subscribe("x", json!(0)).to_string(), "invalid_json"),
        (
            subscribe("0000000000000", json!(0)).to_string(),
            "stream_not_found",
        ),
        (subscribe(&others, json!(0)).to_string(), "stream_not_found"),
        (subscribe(&id, json!(9)).to_string(), "cursor_ahead"),
        (subscribe(&id, json!(-1)).to_string(), "invalid_cursor"),
        (subscribe(&id, json!(1.5)).to_string(), "invalid_cursor"),
        (
            subscribe(&id, json!({"seq": 1})).to_string(),
            "invalid_cursor",
        ),
        (
            subscribe(&id, json!(format!("{others}.1"))).to_string(),
            "invalid_cursor",
        ),
    ] {
        socket.send(Message::text(text.clone())).await;
        let told = socket.hear().await;
        assert_eq!(
            (&told["type"], &told["code"]),
            (&json!("error"), &json!(code)),
            "{text}"
        );
        assert!(!told["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        socket.ask(subscribe(&id, json!(null))).await["type"],
        "subscribed"
    );
    assert_eq!(socket.hear_until("end").await.len(), 9);
}

#[tokio::test]
async fn what_is_no_command_closes_the_socket_with_its_code() {
    let provider = quick_provider().await;
    let gateway = Setup::new(&provider).start().await;
    let large = "x".repeat(limits::WS_MESSAGE_BYTES + 1);
    // Frames with the mask 0: a text that is not UTF-8, an opcode that does not exist.
    let not_utf8 = [0x81, 0x81, 0, 0, 0, 0, 0xff];
    let no_opcode = [0x83, 0x80, 0, 0, 0, 0];
    let unmasked = [0x81, 0x01, b'x'];
    for (bytes, message, code) in [
        (None, Message::binary(vec![1]), 1003),
        (None, Message::text(large), 1009),
        (Some(&not_utf8[..]), Message::text(""), 1007),
        (Some(&no_opcode[..]), Message::text(""), 1002),
        (Some(&unmasked[..]), Message::text(""), 1002),
    ] {
        let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
        match bytes {
            Some(bytes) => socket.0.get_mut().write_all(bytes).await.unwrap(),
            None => socket.send(message.clone()).await,
        }
        assert_eq!(socket.closed().await.0, code, "{bytes:?}");
    }
}

#[tokio::test]
async fn the_socket_of_one_stream_takes_no_commands() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _client) = generate(&gateway, "").await;
    let path = format!("/v1/streams/{id}/ws?after=3");
    let mut socket = Socket::open(&gateway, &path, &[]).await.unwrap();
    assert_eq!(socket.hear().await["type"], "subscribed");
    let refused = socket
        .ask(json!({"type": "unsubscribe", "stream": id}))
        .await;
    assert_eq!(refused["code"], "invalid_value");
    gate.open();
    assert_eq!(socket.hear_until("end").await.len(), 6);
}

#[tokio::test]
async fn a_flood_of_commands_or_pings_is_cut_off() {
    let provider = quick_provider().await;
    let gateway = Setup::new(&provider).start().await;
    for message in [Message::text("{}"), Message::Ping("".into())] {
        let socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
        let (mut to, mut from) = socket.0.split();
        let flood = async move { while to.send(message.clone()).await.is_ok() {} };
        let flooding = tokio::spawn(flood);
        let code = soon(async {
            loop {
                if let Message::Close(frame) = from.next().await.unwrap().unwrap() {
                    break frame.unwrap().code;
                }
            }
        });
        assert_eq!(u16::from(code.await), 1008);
        soon(flooding).await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_follows_so_many_streams_and_no_more() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let mut client = gateway.client().await;
    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    let body = json!({"model": "m", "background": true, "messages": []});
    for n in 0..=limits::WS_SUBSCRIPTIONS {
        let head = soon(client.post_json("/v1/chat/completions", &body, &[]));
        assert_eq!(head.await.unwrap().status, 202);
        let id = soon(client.read_json()).await.unwrap()["id"].clone();
        // Not a flood.
        if n % 50 == 49 {
            sleep(Duration::from_secs(1)).await;
        }
        socket.say(json!({"type": "subscribe", "stream": id})).await;
        let reply = soon(async {
            loop {
                let text = socket.hear().await;
                if text["type"] != "event" {
                    break text;
                }
            }
        });
        let reply = reply.await;
        if n < limits::WS_SUBSCRIPTIONS {
            assert_eq!(reply["type"], "subscribed", "{n}: {reply}");
        } else {
            assert_eq!(reply["code"], "invalid_value", "{n}: {reply}");
        }
    }
    gate.open();
}

#[tokio::test]
async fn without_a_key_a_socket_may_not_idle() {
    let provider = quick_provider().await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let bearer = format!("Bearer {KEY_ONE}");
    let mut known = Socket::open(&gateway, "/v1/ws", &[("authorization", &bearer)])
        .await
        .unwrap();
    let time = StillTime::begin();
    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    let second = Duration::from_secs(1);
    time.pass(limits::WS_ANONYMOUS_PATIENCE.saturating_sub(second))
        .await;
    assert!(socket.0.next().now_or_never().is_none(), "closed early");
    time.pass(2 * second).await;
    assert_eq!(socket.closed().await.0, 1008);
    assert_eq!(known.ask(json!({})).await["code"], "invalid_json");
}

#[tokio::test]
async fn a_dead_peer_is_found_by_its_silence_and_a_living_one_is_kept() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, client) = generate(&gateway, "").await;
    drop(client);
    let path = format!("/v1/streams/{id}/ws");
    let mut dead = Socket::open(&gateway, &path, &[]).await.unwrap();
    let alive = Socket::open(&gateway, &path, &[]).await.unwrap();
    until(|| readers(&gateway, &id) == 2).await;
    // Reading answers pings; the dead one does not read.
    let pings = Arc::new(AtomicUsize::new(0));
    let answered = Arc::clone(&pings);
    let living = tokio::spawn(async move {
        let (mut alive, mut texts) = (alive.0, 0);
        while let Some(message) = alive.next().await {
            let message = message.unwrap();
            texts += usize::from(message.is_text());
            if message.is_ping() {
                alive.flush().await.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }
        texts
    });
    let time = StillTime::begin();
    for sent in 1..=4 {
        time.pass(limits::HEARTBEAT + Duration::from_secs(1)).await;
        until(|| pings.load(Ordering::SeqCst) >= sent).await;
        // The dead one was heard at the start, and is given up after three times this: in time for
        // the third ping or the fourth.
        assert!(sent > 2 || readers(&gateway, &id) == 2, "at {sent}");
    }
    until(|| readers(&gateway, &id) == 1).await;
    gate.open();
    assert_eq!(soon(living).await.unwrap(), 10);
    let last =
        async { while let Some(Ok(Message::Text(_) | Message::Ping(_))) = dead.0.next().await {} };
    soon(last).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_closed() {
    let gate = Gate::new("last");
    let held = gate.clone();
    let piece = "x".repeat(64 << 10);
    let provider = FakeProvider::start(move |_| {
        let tokens = std::iter::repeat_n(piece.clone(), 400);
        Script::chat_stream(&ChatAnswer::new(tokens)).gate_before_event(402, &held)
    })
    .await;
    let stall = "[streams]\nwrite_stall = \"2s\"";
    let gateway = Setup::new(&provider).config(stall).start().await;
    let time = StillTime::begin();
    let (id, mut reading) = generate(&gateway, "").await;
    let path = format!("/v1/streams/{id}/ws");
    let mut stuck = Socket::open(&gateway, &path, &[]).await.unwrap();
    // The reader beside it gets everything.
    let mut bytes = 0;
    while bytes < 400 * (64 << 10) {
        bytes += soon(reading.read_some()).await.unwrap().unwrap().len();
    }
    assert_eq!(readers(&gateway, &id), 2);
    time.pass(Duration::from_secs(3)).await;
    until(|| readers(&gateway, &id) == 1).await;
    gate.open();
    let (rest, end) = soon(reading.read_body()).await.unwrap();
    assert!(rest.ends_with(format!("data: [DONE]\nid: {id}.403\n\n").as_bytes()));
    assert_eq!(end, BodyEnd::Clean);
    // What it finds when it comes back is a beginning, no more than the sockets hold.
    let mut got = 0;
    while let Some(Ok(message)) = soon(stuck.0.next()).await {
        if let Message::Text(text) = message {
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            if text["type"] == "event" {
                got += 1;
                assert_eq!(text["seq"], got);
            }
        }
    }
    assert!((1..300).contains(&got), "{got}");
}
