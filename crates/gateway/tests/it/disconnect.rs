//! What becomes of a generation whose client leaves, and cancelling one.

use std::time::Duration;

use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, StillTime};
use crate::talk::{
    CHAT, Reply, answer, answer_to, chat, data, ended, held, page, post, read, readers, send, soon,
    unary_chat,
};

const POLICY: &str = "everstream-on-disconnect";

/// A gateway whose provider holds each of its answers before event 4, or before its head if the
/// request is unary, at the gate.
async fn holding(config: &str) -> (FakeProvider, Gateway, Gate) {
    let gate = Gate::new("held");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |request| {
        if request.wants_stream() {
            held(4, &held_at)
        } else {
            answer_to(request).gate_before_head(&held_at)
        }
    })
    .await;
    let gateway = Setup::new(&provider)
        .config(config)
        .with_keys()
        .start()
        .await;
    (provider, gateway, gate)
}

fn key(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}

async fn ask(gateway: &Gateway, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let (name, value) = key(KEY_ONE);
    post(gateway, CHAT, body, &[&[(name, &*value)], headers].concat()).await
}

/// A request of project one without a body.
async fn of_one(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let (name, value) = key(KEY_ONE);
    send(
        gateway,
        method,
        path,
        &[&[(name, &*value)], headers].concat(),
    )
    .await
}

async fn state(gateway: &Gateway, stream: &str) -> Value {
    of_one(gateway, "GET", &format!("/v1/streams/{stream}"), &[])
        .await
        .json(200)
        .await
}

/// The state of a stream once it has ended.
async fn final_state(gateway: &Gateway, stream: &str) -> Value {
    let accept = [("accept", "text/event-stream")];
    let events = of_one(gateway, "GET", &format!("/v1/streams/{stream}"), &accept).await;
    if events.head.status == 200 {
        events.frames().await;
    }
    state(gateway, stream).await
}

/// Starts an answer and reads its first three events.
async fn begun(gateway: &Gateway, headers: &[(&str, &str)]) -> (Reply, String) {
    let mut reply = ask(gateway, &chat("x"), headers).await;
    for _ in 0..3 {
        reply.event().await;
    }
    let id = reply.stream();
    (reply, id)
}

/// What a cancelled stream of three delivered events says of itself.
fn assert_cancelled(stream: &Value) {
    assert_eq!(
        (&stream["status"], &stream["reason"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(stream["last_seq"], 4);
    assert_eq!(stream["has_more"], false);
    let last = stream["events"][3]["data"].as_str().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "cancelled");
    // The provider sent no figures before it was stopped.
    assert_eq!(stream["usage"]["estimated"], true);
    assert_eq!(stream["usage"]["output_tokens"], 2);
    assert!(stream["usage"]["input_tokens"].as_u64() > Some(0));
}

#[tokio::test]
async fn cancel_stops_the_provider_when_the_reader_leaves() {
    let (provider, gateway, _gate) = holding("").await;
    let (reply, id) = begun(&gateway, &[(POLICY, "cancel")]).await;
    drop(reply);
    soon(provider.wait_for_hangups(1)).await;
    assert_cancelled(&final_state(&gateway, &id).await);
}

#[tokio::test]
async fn a_half_closed_a_reset_and_a_unary_clients_connection_count_as_leaving() {
    let (provider, gateway, _gate) = holding("[streams]\non_disconnect = \"cancel\"").await;
    let (reply, id) = begun(&gateway, &[]).await;
    reply.client.cut().unwrap();
    soon(provider.wait_for_hangups(1)).await;
    assert_cancelled(&final_state(&gateway, &id).await);

    let body = unary_chat("x").to_string();
    let (name, value) = key(KEY_ONE);
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\n");
    let mut client = gateway.client().await;
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    soon(client.send(request.as_bytes())).await.unwrap();
    soon(provider.wait_for_calls(2)).await;
    drop(client);
    soon(provider.wait_for_hangups(2)).await;

    let body = chat("x").to_string();
    let mut socket = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    soon(provider.wait_for_calls(3)).await;
    socket.shutdown().await.unwrap();
    soon(provider.wait_for_hangups(3)).await;
}

#[tokio::test]
async fn continue_runs_to_the_end_without_a_reader() {
    for how in [vec![(POLICY, "continue")], vec![("idempotency-key", "k")]] {
        let (provider, gateway, gate) = holding("[streams]\non_disconnect = \"cancel\"").await;
        let (reply, id) = begun(&gateway, &how).await;
        drop(reply);
        readers(&gateway, &id, 0).await;
        assert_eq!(state(&gateway, &id).await["status"], "running");
        gate.open();
        let whole = final_state(&gateway, &id).await;
        assert_eq!(whole["status"], "completed");
        assert_eq!(
            whole["usage"],
            json!({"input_tokens": 7, "output_tokens": 5})
        );
        assert_eq!(provider.hangups(), 0);
    }
}

#[tokio::test]
async fn linger_cancels_when_nobody_comes_and_a_new_reader_stops_the_countdown() {
    let (provider, gateway, gate) = holding("").await;
    let linger = [(POLICY, "linger:30s")];
    let (time, seconds) = (StillTime::begin(), Duration::from_secs);
    // Left first, so its time would be over first.
    let (left, kept) = begun(&gateway, &linger).await;
    drop(left);
    readers(&gateway, &kept, 0).await;
    time.pass(seconds(20)).await;
    let accept = [("accept", "text/event-stream"), ("last-event-id", "3")];
    let back = of_one(&gateway, "GET", &format!("/v1/streams/{kept}"), &accept).await;
    readers(&gateway, &kept, 1).await;
    let (left, lost) = begun(&gateway, &linger).await;
    drop(left);
    readers(&gateway, &lost, 0).await;
    time.pass(seconds(25)).await;
    assert_eq!(state(&gateway, &lost).await["status"], "running");
    time.pass(seconds(10)).await;
    soon(provider.wait_for_hangups(1)).await;
    assert_cancelled(&final_state(&gateway, &lost).await);
    assert_eq!(state(&gateway, &kept).await["status"], "running");
    gate.open();
    assert_eq!(
        data(&back.frames().await),
        answer().expected_data_without_usage()[3..]
    );
    assert_eq!(state(&gateway, &kept).await["status"], "completed");
    assert_eq!(provider.hangups(), 1);
}

#[tokio::test]
async fn the_countdown_is_on_the_number_of_readers_not_on_the_first_response() {
    let (provider, gateway, _gate) = holding("").await;
    let (first, id) = begun(&gateway, &[(POLICY, "cancel")]).await;
    let path = format!("/v1/streams/{id}");
    let accept = [("accept", "text/event-stream")];
    let second = of_one(&gateway, "GET", &path, &accept).await;
    let lines = of_one(
        &gateway,
        "GET",
        &path,
        &[("accept", "application/x-ndjson")],
    )
    .await;
    readers(&gateway, &id, 3).await;
    drop(first);
    readers(&gateway, &id, 2).await;
    drop(lines);
    readers(&gateway, &id, 1).await;
    assert_eq!(state(&gateway, &id).await["status"], "running");
    assert_eq!(provider.hangups(), 0);
    drop(second);
    soon(provider.wait_for_hangups(1)).await;
    assert_cancelled(&final_state(&gateway, &id).await);
}

#[tokio::test]
async fn a_key_of_a_client_may_have_a_policy_of_its_own_and_the_request_decides() {
    let gate = Gate::new("held");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let hash = everstream_core::config::key_hash(KEY_ONE);
    let hash = everstream_core::config::show_key_hash(hash);
    let keys = format!("[[keys]]\nproject = \"p\"\nhash = \"{hash}\"\non_disconnect = \"cancel\"");
    let gateway = Setup::new(&provider).config(&keys).start().await;
    let (reply, id) = begun(&gateway, &[]).await;
    drop(reply);
    soon(provider.wait_for_hangups(1)).await;
    assert_cancelled(&final_state(&gateway, &id).await);
    let (reply, id) = begun(&gateway, &[(POLICY, "continue")]).await;
    drop(reply);
    readers(&gateway, &id, 0).await;
    gate.open();
    assert_eq!(final_state(&gateway, &id).await["status"], "completed");
    let refused = ask(&gateway, &chat("x"), &[(POLICY, "linger")]).await;
    let refused = refused.json(400).await;
    assert_eq!(refused["error"]["param"], "Everstream-On-Disconnect");
}

#[tokio::test]
async fn delete_stops_a_running_stream_and_repeating_it_changes_nothing() {
    let (provider, gateway, _gate) = holding("").await;
    let (reader, id) = begun(&gateway, &[("idempotency-key", "k")]).await;
    let path = format!("/v1/streams/{id}");
    let (name, value) = key(KEY_TWO);
    let other = send(&gateway, "DELETE", &path, &[(name, &value)]).await;
    assert_eq!(other.problem(404).await, "stream_not_found");
    assert_eq!(
        send(&gateway, "DELETE", &path, &[])
            .await
            .problem(401)
            .await,
        "invalid_api_key"
    );
    assert_eq!(state(&gateway, &id).await["status"], "running");
    let cancelled = of_one(&gateway, "DELETE", &path, &[]).await.json(200).await;
    assert_eq!(cancelled["id"], *id);
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["usage"]["output_tokens"], 2);
    soon(provider.wait_for_hangups(1)).await;
    // Its reader is told, and the response ends properly.
    let rest = reader.frames().await;
    assert_eq!(rest.len(), 1);
    assert!(
        data(&rest)[0].contains(&format!("/v1/streams/{id}")),
        "{rest:?}"
    );
    let stream = state(&gateway, &id).await;
    assert_cancelled(&stream);
    assert_eq!(
        of_one(&gateway, "DELETE", &path, &[]).await.json(200).await,
        cancelled
    );
    assert_eq!(state(&gateway, &id).await, stream);
}

#[tokio::test]
async fn delete_of_what_has_ended_is_unknown_or_gone_changes_nothing() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    reply.frames().await;
    let path = format!("/v1/streams/{id}");
    let stream = page(&gateway, &id).await;
    let answer = send(&gateway, "DELETE", &path, &[]).await.json(200).await;
    assert_eq!(answer["status"], "completed");
    assert_eq!(page(&gateway, &id).await, stream);
    gateway.app.log.delete(id.parse().unwrap()).await.unwrap();
    assert_eq!(
        send(&gateway, "DELETE", &path, &[])
            .await
            .problem(410)
            .await,
        "stream_gone"
    );
    for unknown in ["/v1/streams/0000000000000", "/v1/streams/x"] {
        let refused = send(&gateway, "DELETE", unknown, &[]).await;
        assert_eq!(refused.problem(404).await, "stream_not_found");
    }
}

#[tokio::test]
async fn delete_before_the_first_event_gives_the_waiting_client_a_status() {
    let gate = Gate::new("never");
    let held_at = gate.clone();
    let provider =
        FakeProvider::start(move |request| answer_to(request).gate_before_head(&held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    for (calls, body) in [(1, chat("x")), (2, unary_chat("x"))] {
        let mut client = gateway.client().await;
        let waiting = tokio::spawn(async move {
            let head = client.post_json(CHAT, &body, &[]).await.unwrap();
            Reply { head, client }
        });
        soon(provider.wait_for_calls(calls)).await;
        let mut running = None;
        gateway
            .app
            .log
            .scan(&"default".parse().unwrap(), &mut |info| {
                if !info.status.is_final() {
                    running = Some(info.id);
                }
            });
        let path = format!("/v1/streams/{}", running.unwrap());
        send(&gateway, "DELETE", &path, &[]).await.json(200).await;
        let reply = soon(waiting).await.unwrap();
        assert_eq!(reply.stream(), running.unwrap().to_string());
        assert_eq!(reply.header("x-should-retry"), "false");
        assert_eq!(reply.error(499).await, "cancelled");
        soon(provider.wait_for_hangups(calls)).await;
    }
}

#[tokio::test]
async fn a_background_answer_is_a_202_at_once_and_is_read_later() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let config = "[streams]\non_disconnect = \"cancel\"";
    let gateway = Setup::new(&provider).config(config).start().await;
    let mut body = unary_chat("x");
    body["background"] = json!(true);
    let keyed = [("idempotency-key", "k")];
    let reply = post(&gateway, CHAT, &body, &keyed).await;
    let id = reply.stream();
    assert_eq!(reply.header("location"), format!("/v1/streams/{id}"));
    let accepted = reply.json(202).await;
    assert_eq!(accepted["id"], *id);
    assert_eq!(accepted["url"], format!("/v1/streams/{id}"));
    soon(gate.reached_by(1)).await;
    readers(&gateway, &id, 0).await;
    let call = provider.calls().pop().unwrap();
    // The provider is asked for a stream, so that progress is logged, and knows no `background`.
    assert!(call.wants_stream() && call.wants_usage());
    assert_eq!(call.json().get("background"), None);
    let live = read(&gateway, &id, None).await;
    gate.open();
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&live.frames().await), expected);
    assert_eq!(ended(&gateway, &id).await["status"], "completed");
    // Asked for again with its key, and in other forms.
    let again = post(&gateway, CHAT, &body, &keyed).await;
    assert_eq!(again.stream(), id);
    assert_eq!(again.json(202).await["status"], "completed");
    let whole = post(&gateway, CHAT, &unary_chat("x"), &keyed).await;
    let whole = whole.json(200).await;
    assert_eq!(whole["choices"][0]["message"]["content"], answer().text());
    let streamed = post(&gateway, CHAT, &chat("x"), &keyed).await;
    assert_eq!(data(&streamed.frames().await), expected);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_background_answer_can_be_streamed_and_cancelled() {
    let (provider, gateway, _gate) = holding("").await;
    let mut body = chat("x");
    body["background"] = json!(true);
    let reply = ask(&gateway, &body, &[]).await;
    let id = reply.stream();
    assert_eq!(reply.head.status, 202);
    let accept = [("accept", "text/event-stream")];
    let path = format!("/v1/streams/{id}");
    let mut reader = of_one(&gateway, "GET", &path, &accept).await;
    for _ in 0..3 {
        reader.event().await;
    }
    of_one(&gateway, "DELETE", &path, &[]).await.json(200).await;
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(reader.frames().await.len(), 1);
    assert_cancelled(&final_state(&gateway, &id).await);
}
