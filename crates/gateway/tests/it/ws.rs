//! Streams over WebSocket: what a client gets. What it cannot do is in `ws_abuse`.

use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::socket::{Socket, answer, finished, generate, held_provider, soon};

/// The data of the events of `stream`, which must have these numbers and ids.
fn data(heard: &[Value], stream: &str, first: u64) -> Vec<String> {
    let events = heard
        .iter()
        .filter(|text| text["type"] == "event" && text["stream"] == stream);
    let numbered = events.zip(first..).map(|(event, seq)| {
        assert_eq!(event["seq"], seq);
        assert_eq!(event["id"], format!("{stream}.{seq}"));
        assert!(event["time"].as_u64().unwrap() > 1_700_000_000_000);
        event["data"].as_str().unwrap().to_owned()
    });
    numbered.collect()
}

async fn token(gateway: &Gateway, stream: &str, key: &str) -> String {
    let mut client = gateway.client().await;
    let bearer = format!("Bearer {key}");
    let path = format!("/v1/streams/{stream}/token");
    let head = soon(client.request("POST", &path, &[("authorization", &bearer)], b"")).await;
    assert_eq!(head.unwrap().status, 200);
    let body = soon(client.read_json()).await.unwrap();
    body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_stream_is_told_as_it_is_written_then_its_end_and_the_socket_closes() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _client) = generate(&gateway, "").await;
    let mut socket = Socket::open(&gateway, &format!("/v1/streams/{id}/ws"), &[])
        .await
        .unwrap();
    let subscribed = socket.hear().await;
    assert_eq!(subscribed, json!({"type": "subscribed", "stream": id}));
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(socket.hear().await);
    }
    gate.open();
    heard.extend(socket.hear_until("end").await);
    assert_eq!(data(&heard, &id, 1), answer().expected_data());
    let end = heard.pop().unwrap();
    assert_eq!(end["stream"], id.as_str());
    assert_eq!(end["status"], "completed");
    assert_eq!(end["upstream"], "fake");
    assert!(end["usage"]["output_tokens"].as_u64().unwrap() > 0);
    assert!(end["ended_at"].is_u64());
    assert_eq!(socket.closed().await.0, 1000);
}

#[tokio::test]
async fn a_position_is_taken_from_the_query_and_the_header_and_the_end_is_told_again() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).start().await;
    let id = finished(&gateway, "").await;
    let (path, last) = (format!("/v1/streams/{id}/ws"), format!("{id}.3"));
    let expected = answer().expected_data();
    for (query, headers, after) in [
        (String::new(), vec![], 0),
        ("?after=3".to_owned(), vec![], 3),
        (format!("?after={id}.3"), vec![], 3),
        (
            "?after=1".to_owned(),
            vec![("last-event-id", last.as_str())],
            3,
        ),
        ("?after=8".to_owned(), vec![], 8),
    ] {
        let path = format!("{path}{query}");
        let mut socket = Socket::open(&gateway, &path, &headers).await.unwrap();
        let heard = socket.hear_until("end").await;
        assert_eq!(data(&heard, &id, after as u64 + 1), expected[after..]);
        assert_eq!(heard.last().unwrap()["status"], "completed");
        assert_eq!(socket.closed().await.0, 1000);
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_with_a_status_before_the_upgrade() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let id = finished(&gateway, KEY_ONE).await;
    let other = finished(&gateway, KEY_ONE).await;
    let others_token = token(&gateway, &other, KEY_ONE).await;
    let (one, two) = (format!("Bearer {KEY_ONE}"), format!("Bearer {KEY_TWO}"));
    let path = format!("/v1/streams/{id}/ws");
    for (path, key, status, code) in [
        (path.clone(), "", 401, "invalid_api_key"),
        (path.clone(), "Bearer wrong", 401, "invalid_api_key"),
        (path.clone(), &two, 404, "stream_not_found"),
        (
            "/v1/streams/0000000000000/ws".into(),
            &one,
            404,
            "stream_not_found",
        ),
        (
            "/v1/streams/nonsense/ws".into(),
            &one,
            404,
            "stream_not_found",
        ),
        (format!("{path}?after=x"), &one, 400, "invalid_cursor"),
        (
            format!("{path}?after={other}.1"),
            &one,
            400,
            "invalid_cursor",
        ),
        (format!("{path}?after=9"), &one, 409, "cursor_ahead"),
        (format!("{path}?stream=maybe"), &one, 400, "invalid_value"),
        (
            format!("{path}?token={others_token}"),
            "",
            401,
            "invalid_api_key",
        ),
        ("/v1/ws".into(), "Bearer wrong", 401, "invalid_api_key"),
    ] {
        let headers = [("authorization", key)];
        let headers = if key.is_empty() { &[][..] } else { &headers };
        let refused = Socket::open(&gateway, &path, headers).await.err();
        let (got, body) = refused.unwrap_or_else(|| panic!("{path} was let in"));
        assert_eq!((got, &body["code"]), (status, &json!(code)), "{path}");
    }
    let wrong = [("x-api-key", "wrong")];
    assert!(Socket::open(&gateway, "/v1/ws", &wrong).await.is_err());
    // Plain HTTP.
    for path in [path.as_str(), "/v1/ws"] {
        let mut client = gateway.client().await;
        let head = soon(client.get(path, &[("authorization", &one)])).await;
        let head = head.unwrap();
        assert_eq!(head.status, 400);
        assert_eq!(
            head.header("content-type"),
            Some("application/problem+json")
        );
    }
}

#[tokio::test]
async fn many_streams_share_a_socket_each_dense_and_in_order() {
    let (first, second) = (Gate::new("first"), Gate::new("second"));
    let gates = [first.clone(), second.clone()];
    let provider = FakeProvider::start(move |request| {
        let gate = &gates[usize::try_from(request.number).unwrap() % 2];
        Script::chat_stream(&answer()).gate_before_event(4, gate)
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let (a, _client_a) = generate(&gateway, "").await;
    let (b, _client_b) = generate(&gateway, "").await;
    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    let mut heard = Vec::new();
    for id in [&a, &b] {
        let reply = socket.ask(json!({"type": "subscribe", "stream": id})).await;
        assert_eq!(reply, json!({"type": "subscribed", "stream": id}));
        for _ in 0..3 {
            heard.push(socket.hear().await);
        }
    }
    // The one that is first to end leaves; the other and the socket stay.
    let ended = {
        first.open();
        let until_first = socket.hear_until("end").await;
        let ended = until_first.last().unwrap()["stream"].as_str().unwrap();
        let ended = ended.to_owned();
        heard.extend(until_first);
        ended
    };
    assert_eq!(data(&heard, &ended, 1), answer().expected_data());
    let again = socket
        .ask(json!({"type": "subscribe", "stream": ended, "after": 7}))
        .await;
    assert_eq!(again["type"], "subscribed");
    let rest = socket.hear_until("end").await;
    assert_eq!(data(&rest, &ended, 8), ["[DONE]"]);
    second.open();
    heard.extend(socket.hear_until("end").await);
    for id in [&a, &b] {
        assert_eq!(data(&heard, id, 1), answer().expected_data());
    }
}

#[tokio::test]
async fn a_subscription_ends_by_request_and_goes_on_where_it_stopped() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).start().await;
    let (id, _client) = generate(&gateway, "").await;
    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    let subscribe = json!({"type": "subscribe", "stream": id, "after": format!("{id}.1")});
    assert_eq!(socket.ask(subscribe).await["type"], "subscribed");
    assert_eq!(socket.hear().await["seq"], 2);
    assert_eq!(socket.hear().await["seq"], 3);
    let twice = socket.ask(json!({"type": "subscribe", "stream": id})).await;
    assert_eq!(
        (&twice["code"], &twice["stream"]),
        (&json!("invalid_value"), &json!(id))
    );
    let unsubscribe = json!({"type": "unsubscribe", "stream": id});
    for _ in 0..2 {
        let gone = socket.ask(unsubscribe.clone()).await;
        assert_eq!(gone, json!({"type": "unsubscribed", "stream": id}));
    }
    gate.open();
    let mut whole = gateway.client().await;
    let events = [("accept", "text/event-stream")];
    soon(whole.get(&format!("/v1/streams/{id}"), &events))
        .await
        .unwrap();
    soon(whole.collect_sse()).await.unwrap();
    // Nothing came of what was written meanwhile.
    let back = socket
        .ask(json!({"type": "subscribe", "stream": id, "after": "3"}))
        .await;
    assert_eq!(back["type"], "subscribed");
    let heard = socket.hear_until("end").await;
    assert_eq!(data(&heard, &id, 4), answer().expected_data()[3..]);
}

#[tokio::test]
async fn a_failed_answer_ends_with_its_reason() {
    use everstream_testkit::provider::Cut;
    let cut = |_: &_| Script::chat_stream(&answer()).cut_after_events(4, Cut::Close);
    let provider = FakeProvider::start(cut).await;
    let gateway = Setup::new(&provider).start().await;
    let id = finished(&gateway, "").await;
    let path = format!("/v1/streams/{id}/ws");
    let mut socket = Socket::open(&gateway, &path, &[]).await.unwrap();
    let heard = socket.hear_until("end").await;
    let end = heard.last().unwrap();
    assert_eq!(end["status"], "failed");
    assert_eq!(end["reason"], "upstream_cut");
    assert_eq!(socket.closed().await.0, 1000);
}

#[tokio::test]
async fn without_a_key_a_token_reads_its_stream_and_no_other() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let mine = finished(&gateway, KEY_ONE).await;
    let other = finished(&gateway, KEY_ONE).await;
    let token = token(&gateway, &mine, KEY_ONE).await;

    let path = format!("/v1/streams/{mine}/ws?token={token}");
    let mut single = Socket::open(&gateway, &path, &[]).await.unwrap();
    let heard = single.hear_until("end").await;
    assert_eq!(data(&heard, &mine, 1), answer().expected_data());

    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    for (stream, token, code) in [
        (&mine, None, "invalid_api_key"),
        (&other, Some(&token), "invalid_api_key"),
        (&mine, Some(&"1.x".to_owned()), "invalid_api_key"),
    ] {
        let refused = json!({"type": "subscribe", "stream": stream, "token": token});
        let refused = socket.ask(refused).await;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("error"), &json!(code))
        );
    }
    let wanted = json!({"type": "subscribe", "stream": mine, "token": token});
    assert_eq!(socket.ask(wanted.clone()).await["type"], "subscribed");
    assert_eq!(
        data(&socket.hear_until("end").await, &mine, 1),
        answer().expected_data()
    );

    // A key of another project does not spoil a token.
    let bearer = format!("Bearer {KEY_TWO}");
    let mut socket = Socket::open(&gateway, "/v1/ws", &[("authorization", &bearer)])
        .await
        .unwrap();
    let plain = socket
        .ask(json!({"type": "subscribe", "stream": mine}))
        .await;
    assert_eq!(plain["code"], "stream_not_found");
    assert_eq!(socket.ask(wanted).await["type"], "subscribed");
}

#[tokio::test]
async fn a_ping_is_answered_and_the_end_of_the_process_is_announced() {
    use tokio_tungstenite::tungstenite::Message;
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).start().await;
    let mut socket = Socket::open(&gateway, "/v1/ws", &[]).await.unwrap();
    socket.send(Message::Ping("are you there?".into())).await;
    assert_eq!(
        socket.message().await,
        Message::Pong("are you there?".into())
    );
    let stopping = tokio::spawn(gateway.stop());
    assert_eq!(socket.closed().await.0, 1012);
    soon(stopping).await.unwrap();
}
