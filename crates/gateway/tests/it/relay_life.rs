//! Requests that pass through and do not end as they should: clients and upstreams that go, stall or
//! take nothing.

use std::time::Duration;

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, Script};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::harness::{Gateway, Setup, StillTime, within};
use crate::raw::{Exchange, RawUpstream};

const SPEECH: &str = "/v1/audio/speech";

/// A client that was answered with the head of a body that goes on.
async fn speaking(
    gateway: &Gateway,
    upstream: &RawUpstream,
    framing: &str,
) -> (everstream_testkit::client::RawClient, Exchange) {
    let mut client = gateway.client().await;
    let body = json!({"model": "tts"});
    let (head, exchange) = within(async {
        tokio::join!(client.post_json(SPEECH, &body, &[]), async {
            let mut exchange = upstream.accept().await;
            exchange.body().await;
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
            exchange.send(head).await;
            exchange
        })
    })
    .await;
    assert_eq!(head.unwrap().status, 200);
    (client, exchange)
}

#[tokio::test]
async fn an_answer_that_is_cut_is_a_broken_body() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let (mut client, mut exchange) = speaking(&gateway, &upstream, framing).await;
        exchange.send("5\r\nhello\r\n").await;
        drop(exchange);
        let (_, end) = within(client.read_body()).await.unwrap();
        assert_eq!(end, BodyEnd::Cut, "{framing}");
    }
}

#[tokio::test]
async fn a_client_that_goes_hangs_the_upstream_up() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    // While it reads.
    let (client, mut exchange) = speaking(&gateway, &upstream, "content-length: 100").await;
    drop(client);
    exchange.hung_up().await;
    // While it waits.
    let mut client = gateway.client().await;
    let request = b"GET /v1/files HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.send(request).await.unwrap();
    let mut exchange = upstream.accept().await;
    drop(client);
    exchange.hung_up().await;
    // While it sends.
    let mut client = gateway.client().await;
    let request = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nabc";
    client.send(request).await.unwrap();
    let mut exchange = upstream.accept().await;
    assert_eq!(exchange.read(3).await, b"abc");
    drop(client);
    exchange.hung_up().await;
}

/// What two sockets and the gateway between them may hold in all.
const HELD: usize = 24 << 20;
/// How long nothing has to move for a stall.
const STILL: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_client_that_reads_nothing_stalls_the_upstream() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let framing = "content-length: 100000000";
    let (mut client, mut exchange) = speaking(&gateway, &upstream, framing).await;
    let piece = vec![b'x'; 64 << 10];
    let mut written = 0;
    while let Ok(wrote) = timeout(STILL, exchange.stream.write(&piece)).await {
        written += wrote.unwrap();
        assert!(written < HELD, "nothing holds the upstream back");
    }
    // It goes on as soon as the client does.
    let mut read = 0;
    while read < written {
        read += within(client.read_some()).await.unwrap().unwrap().len();
    }
    exchange.send(&piece).await;
}

#[tokio::test]
async fn an_upstream_that_reads_nothing_stalls_the_client() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let mut client = gateway.client().await;
    let head = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n";
    client.send(head).await.unwrap();
    let mut exchange = upstream.accept().await;
    let piece = vec![b'x'; 64 << 10];
    let mut written = 0;
    while timeout(STILL, client.send(&piece)).await.is_ok() {
        written += piece.len();
        assert!(written < HELD, "nothing holds the client back");
    }
    exchange.read(written).await;
    // The upstream may answer before it has all, and is heard.
    exchange
        .answer(413, "", "{\"error\":{\"message\":\"enough\"}}")
        .await;
    assert_eq!(within(client.read_head()).await.unwrap().status, 413);
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_given_up() {
    let upstream = RawUpstream::start();
    let gateway = upstream
        .setup()
        .upstream_fields("first_event_timeout = \"40s\"\nevent_timeout = \"20s\"")
        .config("[limits]\nrequest_read_timeout = \"30s\"")
        .start()
        .await;
    let post = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nabc";
    let get = b"GET /v1/files HTTP/1.1\r\nhost: localhost\r\n\r\n".as_slice();
    for (request, status, code) in [
        // The client stops in the middle of its body: that is not the upstream's fault.
        (post.as_slice(), 408, "request_timeout"),
        (get, 504, "upstream_timeout"),
    ] {
        let mut client = gateway.client().await;
        client.send(request).await.unwrap();
        let mut exchange = upstream.accept().await;
        let time = StillTime::begin();
        time.pass(Duration::from_secs(41)).await;
        drop(time);
        let head = within(client.read_head()).await.unwrap();
        assert_eq!(head.status, status);
        let answer = within(client.read_json()).await.unwrap();
        assert_eq!(answer["error"]["code"], code);
        exchange.hung_up().await;
    }
    // Who has all of a request may think for longer than who is in the middle of something.
    let whole = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc";
    let mut client = gateway.client().await;
    client.send(whole).await.unwrap();
    let mut exchange = upstream.accept().await;
    assert_eq!(exchange.body().await, b"abc");
    let time = StillTime::begin();
    time.pass(Duration::from_secs(35)).await;
    drop(time);
    exchange.answer(200, "", "{}").await;
    assert_eq!(within(client.read_head()).await.unwrap().status, 200);
    // Else the gateway would keep the connection for the next request.
    drop(exchange);
    // In the middle of an answer there is no other way to say so.
    let (mut client, mut exchange) = speaking(&gateway, &upstream, "content-length: 9").await;
    exchange.send("abc").await;
    assert_eq!(within(client.read_some()).await.unwrap().unwrap(), "abc");
    let time = StillTime::begin();
    time.pass(Duration::from_secs(21)).await;
    drop(time);
    assert_eq!(within(client.read_body()).await.unwrap().1, BodyEnd::Cut);
    exchange.hung_up().await;
}

#[tokio::test]
async fn a_process_that_ends_lets_nothing_new_in_and_finishes_what_runs() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let (mut client, mut exchange) = speaking(&gateway, &upstream, "content-length: 5").await;
    gateway.app.drain();
    let mut late = gateway.client().await;
    let head = within(late.get("/v1/files", &[])).await.unwrap();
    assert_eq!(head.status, 503);
    assert_eq!(head.header("retry-after"), Some("1"));
    exchange.send("hello").await;
    let (body, end) = within(client.read_body()).await.unwrap();
    assert_eq!((&*body, end), (b"hello".as_slice(), BodyEnd::Clean));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_a_502_and_an_upload_is_sent_on_a_fresh_connection() {
    let gone = RawUpstream::start();
    let url = format!("http://{}/v1", gone.addr);
    drop(gone);
    let gateway = Setup::default()
        .upstream("gone", &url, "models = [\"m\"]")
        .start()
        .await;
    let mut client = gateway.client().await;
    let head = within(client.request("POST", "/v1/files", &[], b"abc"))
        .await
        .unwrap();
    assert_eq!(head.status, 502);
    let answer = within(client.read_json()).await.unwrap();
    assert_eq!(answer["error"]["code"], "upstream_unreachable");

    let provider =
        FakeProvider::start(|request| Script::json(200, &json!({"bytes": request.body.len()})))
            .await;
    let gateway = Setup::new(&provider).start().await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        let head = within(client.request("POST", "/v1/files", &[], b"abc"))
            .await
            .unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(
            within(client.read_json()).await.unwrap(),
            json!({"bytes": 3})
        );
    }
}
