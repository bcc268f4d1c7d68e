//! Requests that two parsers in a row could understand in two ways, and headers that would become
//! others: refused, and nothing of them reaches an upstream.

use std::time::Duration;

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::FakeProvider;

use crate::bad_client::{good, provider, send};
use crate::harness::{Gateway, Setup, StillTime, within};
use crate::talk::CHAT;

/// Sends bytes and waits for the end of the connection: the statuses of what was answered.
async fn statuses(gateway: &Gateway, bytes: &[u8]) -> Vec<u16> {
    within(async {
        let mut client = gateway.client().await;
        // It may be closed before it has taken everything.
        let _ = client.send(bytes).await;
        let mut statuses = Vec::new();
        while let Ok(head) = client.read_head().await {
            statuses.push(head.status);
            client.read_body().await.unwrap();
        }
        statuses
    })
    .await
}

/// Each is refused, or not answered at all; its connection is closed, and no upstream hears of it.
async fn refused(gateway: &Gateway, provider: &FakeProvider, requests: &[Vec<u8>]) {
    for request in requests {
        let text = String::from_utf8_lossy(&request[..request.len().min(300)]);
        let statuses = statuses(gateway, request).await;
        assert!(
            matches!(statuses[..], [] | [400..500]),
            "{statuses:?} for {text:?}"
        );
        assert!(provider.calls().is_empty(), "{text:?}");
    }
}

/// A request that is right but for these lines of its head, followed by another one.
fn with(lines: &str, body: &str) -> Vec<u8> {
    let second = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 27\r\n\r\n");
    let good = String::from_utf8(good()).unwrap();
    format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n{body}{second}{good}").into()
}

fn chunked(lines: &str) -> Vec<u8> {
    let good = String::from_utf8(good()).unwrap();
    let body = format!("{:x}\r\n{good}\r\n0\r\n\r\n", good.len());
    with(lines, &body)
}

#[tokio::test]
async fn a_length_that_is_not_one_number_is_refused() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let good = String::from_utf8(good()).unwrap();
    let n = good.len();
    let requests = [
        format!("content-length: {n}\r\ncontent-length: 0"),
        format!("content-length: 0\r\ncontent-length: {n}"),
        format!("content-length: {n}, {n}"),
        format!("content-length: +{n}"),
        format!("content-length: -{n}"),
        format!("content-length: 0x{n:x}"),
        format!("content-length: {n} {n}"),
        format!("content-length: {n}.0"),
        format!("content-length : {n}"),
        format!("content-length:\r\n {n}"),
        format!(" content-length: {n}"),
        "content-length: 99999999999999999999999".to_owned(),
        "content-length: 18446744073709551615".to_owned(),
        "content-length:".to_owned(),
    ];
    let requests = requests.map(|lines| with(&lines, &good));
    refused(&gateway, &provider, &requests).await;
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_alone_is_refused() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let requests = [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: chunked;q=0.5",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: chunked\r\n identity",
        "transfer-encoding : chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ];
    refused(&gateway, &provider, &requests.map(chunked)).await;
    let old = String::from_utf8(chunked("transfer-encoding: chunked")).unwrap();
    let old = old.replace("HTTP/1.1", "HTTP/1.0");
    refused(&gateway, &provider, &[old.into()]).await;
}

#[tokio::test]
async fn chunks_have_one_meaning() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let good = String::from_utf8(good()).unwrap();
    let n = good.len();
    let requests = [
        format!("0x{n:x}\r\n{good}\r\n0\r\n\r\n"),
        format!("+{n:x}\r\n{good}\r\n0\r\n\r\n"),
        format!("{n:x}\n{good}\r\n0\r\n\r\n"),
        format!("{n:x}\r{good}\r\n0\r\n\r\n"),
        format!("{n:x};x\n{good}\r\n0\r\n\r\n"),
        format!("{n:x}\r\n{good}\n0\r\n\r\n"),
        format!("{n:x}\r\n{good}xx0\r\n\r\n"),
        format!("{:x}\r\n{good}\r\n0\r\n\r\n", n - 1),
        format!("-1\r\n{good}\r\n0\r\n\r\n"),
        format!("1{n:016x}\r\n{good}\r\n0\r\n\r\n"),
        format!("\r\n{good}\r\n0\r\n\r\n"),
        format!("{n:x};{}\r\n{good}\r\n0\r\n\r\n", "x".repeat(1 << 20)),
        format!("{n:x}\r\n{good}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(1 << 16)),
    ];
    let requests = requests.map(|body| with("transfer-encoding: chunked", &body));
    refused(&gateway, &provider, &requests).await;
}

/// RFC 9112, section 6.1: the coding decides, and the connection is closed, so that what a proxy in
/// front takes for the rest of this request is nobody's.
#[tokio::test]
async fn what_follows_a_request_with_two_lengths_is_not_read() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    for lines in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        let request = String::from_utf8(with(lines, "0\r\n\r\n")).unwrap();
        let request = request.replacen(CHAT, "/nowhere", 1);
        assert_eq!(statuses(&gateway, request.as_bytes()).await, [404]);
    }
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn heads_that_are_none_are_refused() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let good = String::from_utf8(good()).unwrap();
    let n = good.len();
    let requests = [
        "x: a\0b".to_owned(),
        "x: a\rb".to_owned(),
        "x: a\x0bb".to_owned(),
        "x\0: a".to_owned(),
        "x y: a".to_owned(),
        "x".to_owned(),
        ": a".to_owned(),
        "x: a\r\n b".to_owned(),
        "x: a\r\n\tb".to_owned(),
        "x: y\r\n".repeat(200) + "x: y",
        format!("x: {}", "y".repeat(1 << 20)),
    ];
    let requests = requests.map(|lines| with(&format!("content-length: {n}\r\n{lines}"), &good));
    refused(&gateway, &provider, &requests).await;
    let long = "x".repeat(100_000);
    let lines = [
        format!("POST {CHAT}\r\n"),
        format!("POST {CHAT} HTTP/1.2\r\n"),
        format!("POST {CHAT} HTTP/9.9\r\n"),
        format!("POST  {CHAT} HTTP/1.1\r\n"),
        format!("POST {CHAT} HTTP/1.1 x\r\n"),
        format!("POST {CHAT} x HTTP/1.1\r\n"),
        format!("PO ST {CHAT} HTTP/1.1\r\n"),
        format!("POST\t{CHAT}\tHTTP/1.1\r\n"),
        format!("POST {CHAT}\0 HTTP/1.1\r\n"),
        format!("POST {CHAT}?{long} HTTP/1.1\r\n"),
        format!("{long} {CHAT} HTTP/1.1\r\n"),
        "CONNECT upstream.example:443 HTTP/1.1\r\n".to_owned(),
    ];
    let requests = lines.map(|line| {
        let head = format!("{line}host: localhost\r\ncontent-length: {n}\r\nconnection: close\r\n");
        format!("{head}\r\n{good}").into_bytes()
    });
    refused(&gateway, &provider, &requests).await;
}

#[tokio::test]
async fn a_body_that_dribbles_is_given_up_though_it_never_stops() {
    let provider = provider().await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nrequest_read_timeout = \"30s\"")
        .start()
        .await;
    let time = StillTime::begin();
    let mut client: RawClient = gateway.client().await;
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    let status = within(async {
        loop {
            let _ = client.send(b"1\r\n{\r\n").await;
            sent += 1;
            // Others are served meanwhile, and what was sent arrives.
            assert_eq!(
                send(&gateway, "GET", "/healthz", &[], b"").await.0.status,
                200
            );
            time.pass(Duration::from_secs(10)).await;
            if sent == 4 {
                return client.read_head().await.unwrap().status;
            }
        }
    })
    .await;
    assert_eq!(status, 408);
    assert!(provider.calls().is_empty());
}
