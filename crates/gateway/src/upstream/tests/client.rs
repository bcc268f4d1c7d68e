use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::frame::http1::Http1Error;
use everstream_core::limits::{UPSTREAM_IDLE_CONNECTIONS, UPSTREAM_IDLE_TIMEOUT};
use everstream_core::secret::Secret;
use everstream_testkit::provider::Nobody;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::upstream::{SpecError, UpstreamErrorKind};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Makes the drop of this socket a reset, not a close.
fn reset_on_drop(stream: &TcpStream) {
    let linger = Some(Duration::ZERO);
    SockRef::from(stream).set_linger(linger).expect("settable");
}

#[tokio::test]
async fn a_request_has_the_upstreams_headers_and_its_own() {
    let (listener, address) = listen().await;
    let mut spec = UpstreamSpec::new("test", format!("http://{address}/v1/"));
    spec.api_key = Some(Secret::new("sk-canary"));
    spec.headers = vec![
        ("User-Agent".into(), "mine".into()),
        ("x-org".into(), "o".into()),
    ];
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let (response, (_, request)) = both(upstream.send(post("{}")), answer(&listener, HELLO)).await;
    let response = response.expect("an answer");
    assert_eq!(response.head.status, 200);
    let expected = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\naccept-encoding: identity\r\n\
         authorization: Bearer sk-canary\r\nUser-Agent: mine\r\nx-org: o\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    assert_eq!(request, expected);
}

/// Tens of thousands of these wait at a time.
#[test]
fn what_waits_for_an_answer_is_small() {
    let upstream = upstream(([127, 0, 0, 1], 9).into());
    assert!(size_of_val(&upstream.send(post("{}"))) <= 512);
    assert!(size_of::<Body>() <= 256);
}

#[tokio::test]
async fn a_connection_is_used_again_after_the_end_of_an_answer() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let client = async {
        for _ in 0..3 {
            let mut response = upstream.send(post("{}")).await.expect("an answer");
            assert_eq!(
                read_all(&mut response.body).await.expect("whole"),
                ["hello"]
            );
            assert_eq!(upstream.idle_connections(), 1);
            assert!(
                response
                    .body
                    .read()
                    .await
                    .expect("still at its end")
                    .is_none()
            );
        }
    };
    let server = async {
        let (mut stream, _) = answer(&listener, HELLO).await;
        for _ in 0..2 {
            request(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.expect("written");
        }
        stream
    };
    both(client, server).await;
}

#[tokio::test]
async fn an_idle_connection_that_closed_or_spoke_is_not_used() {
    let (listener, address) = listen().await;
    for spoken in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let upstream = upstream(address);
        let idle = TcpStream::connect(address).await.expect("connected");
        let idle = idle.into_std().expect("a socket");
        // The same socket, to see that what the other side did has arrived.
        let watched = TcpStream::from_std(idle.try_clone().expect("cloned")).expect("watched");
        let idle = TcpStream::from_std(idle).expect("registered");
        let (mut theirs, _) = listener.accept().await.expect("a connection");
        upstream.release(upstream.connection_over(idle), None);
        assert_eq!(upstream.idle_connections(), 1);
        theirs.write_all(spoken.as_bytes()).await.expect("written");
        drop(theirs);
        watched.readable().await.expect("it arrives");
        let (response, _) = both(upstream.send(post("{}")), answer(&listener, HELLO)).await;
        assert_eq!(response.expect("a fresh connection").head.status, 200);
    }
}

#[tokio::test]
async fn a_reused_connection_that_dies_without_an_answer_is_not_asked_twice() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let client = async {
        let mut first = upstream.send(post("{}")).await.expect("an answer");
        read_all(&mut first.body).await.expect("whole");
        upstream.send(post("{}")).await.expect_err("no answer")
    };
    let server = async {
        let (mut stream, _) = answer(&listener, HELLO).await;
        request(&mut stream).await;
    };
    let (error, ()) = both(client, server).await;
    assert!(matches!(error.kind, UpstreamErrorKind::Closed), "{error}");
    assert!(!error.nothing_was_sent(), "it may have run");
}

#[tokio::test]
async fn a_reused_connection_that_takes_nothing_is_replaced() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let stale = TcpStream::connect(address).await.expect("connected");
    let (_held, _) = listener.accept().await.expect("a connection");
    let write_half = std::net::Shutdown::Write;
    SockRef::from(&stale)
        .shutdown(write_half)
        .expect("shut down");
    upstream.release(upstream.connection_over(stale), None);
    assert_eq!(upstream.idle_connections(), 1);
    let (response, (_, request)) = both(upstream.send(post("{}")), answer(&listener, HELLO)).await;
    assert_eq!(response.expect("from a fresh connection").head.status, 200);
    assert!(request.ends_with("{}"), "the whole request: {request}");
}

#[tokio::test]
async fn what_one_read_brings_is_one_piece() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let server = async {
        let all = format!("{CHUNKED}3\r\nabc\r\n3\r\ndef\r\n");
        let (mut stream, _) = answer(&listener, &all).await;
        let rest = b"1\r\ng\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
        stream.write_all(rest).await.expect("written");
        stream
    };
    let (response, stream) = both(upstream.send(post("{}")), server).await;
    let mut body = response.expect("an answer").body;
    // Head and both writes may have come as one read or as two, never as more.
    let pieces = read_all(&mut body).await.expect("whole");
    assert_eq!(pieces.concat(), b"abcdefghi");
    assert!(pieces.len() <= 2, "{pieces:?}");
    assert_eq!(upstream.idle_connections(), 1);
    drop(stream);
}

#[tokio::test]
async fn an_answer_that_stops_early_is_an_error_after_its_last_byte() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let chunked = format!("{CHUNKED}3\r\nabc\r\n");
    for text in [short, chunked.as_str()] {
        let (response, (stream, _)) =
            both(upstream.send(post("{}")), answer(&listener, text)).await;
        drop(stream);
        let mut body = response.expect("a head").body;
        assert_eq!(
            body.read().await.expect("a piece").as_deref(),
            Some(&b"abc"[..])
        );
        for _ in 0..2 {
            let error = body.read().await.expect_err("cut");
            assert!(
                error.code() == ErrorCode::UpstreamCut && !error.nothing_was_sent(),
                "{error}"
            );
        }
        assert_eq!(upstream.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_reset_is_an_error_even_where_the_end_of_the_connection_would_end_the_answer() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    let (response, (stream, _)) = both(upstream.send(post("{}")), answer(&listener, open)).await;
    let mut body = response.expect("a head").body;
    reset_on_drop(&stream);
    drop(stream);
    let error = body.read().await.expect_err("reset");
    assert!(matches!(error.kind, UpstreamErrorKind::Reset(_)), "{error}");
    let error = body.read().await.expect_err("still");
    assert_eq!(error.code(), ErrorCode::UpstreamCut);
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let open = "HTTP/1.1 200 OK\r\n\r\nabc";
    let (response, (stream, _)) = both(upstream.send(post("{}")), answer(&listener, open)).await;
    drop(stream);
    let pieces = read_all(&mut response.expect("a head").body).await;
    assert_eq!(pieces.expect("whole"), ["abc"]);
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn broken_framing_is_told_after_what_came_before_it() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let text = format!("{CHUNKED}3\r\nabc\r\nzz\r\n");
    let (response, _) = both(upstream.send(post("{}")), answer(&listener, &text)).await;
    let mut body = response.expect("a head").body;
    assert_eq!(
        body.read().await.expect("a piece").as_deref(),
        Some(&b"abc"[..])
    );
    let error = body.read().await.expect_err("broken");
    assert!(
        matches!(
            error.kind,
            UpstreamErrorKind::Protocol(Http1Error::Chunk(_))
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_dropped_body_closes_the_socket() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let (response, (mut stream, _)) =
        both(upstream.send(post("{}")), answer(&listener, CHUNKED)).await;
    drop(response);
    assert_eq!(
        stream.read(&mut [0; 1]).await.expect("closed, not reset"),
        0
    );
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn a_connection_with_bytes_after_the_answer_is_not_kept() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    for text in [
        format!("{HELLO}x"),
        HELLO.replace("200 OK", "200 OK\r\nconnection: close"),
    ] {
        let (response, _held) = both(upstream.send(post("{}")), answer(&listener, &text)).await;
        read_all(&mut response.expect("a head").body)
            .await
            .expect("whole");
        assert_eq!(upstream.idle_connections(), 0, "{text:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_refused_and_nothing_was_sent() {
    let nobody = Nobody::new().expect("a port");
    let address = nobody.addr();
    let error = upstream(address)
        .send(post("{}"))
        .await
        .expect_err("refused");
    assert!(matches!(error.kind, UpstreamErrorKind::Refused), "{error}");
    assert!(error.nothing_was_sent());
    assert!(
        error
            .to_string()
            .contains(&format!("upstream test (http://{address}/v1)"))
    );
}

#[tokio::test]
async fn a_name_without_an_address_is_told_from_other_failures() {
    let spec = UpstreamSpec::new("test", "http://no-such-host.invalid/v1");
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let error = upstream.send(post("{}")).await.expect_err("no address");
    assert!(matches!(error.kind, UpstreamErrorKind::Dns(_)), "{error}");
    assert!(error.nothing_was_sent());
}

#[tokio::test]
async fn an_early_answer_and_a_large_body_do_not_wait_for_each_other() {
    const SIZE: usize = 16 << 20;
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let client = async {
        let mut request = post("");
        request.body = Some([vec![b'q'; SIZE], b"end".to_vec()].concat().into());
        let mut response = upstream.send(request).await.expect("an early head");
        let pieces = read_all(&mut response.body).await.expect("whole");
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), SIZE);
    };
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        let most = vec![b'a'; SIZE - 1];
        stream
            .write_all(&most)
            .await
            .expect("taken while the request is unread");
        let mut asked = vec![0; SIZE];
        stream
            .read_exact(&mut asked)
            .await
            .expect("written while the answer is read");
        while !asked.ends_with(b"qqqqend") {
            stream.read_buf(&mut asked).await.expect("the rest");
        }
        stream.write_all(b"a").await.expect("written");
        stream
    };
    let ((), _held) = both(client, server).await;
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test]
async fn a_refusal_before_the_whole_request_was_taken_is_still_read() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let mut large = post("");
    large.body = Some(vec![b'q'; 16 << 20].into());
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let text = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(text.as_bytes()).await.expect("written");
        stream
    };
    let (response, _held) = both(upstream.send(large), server).await;
    let mut response = response.expect("the refusal");
    assert_eq!(response.head.status, 413);
    assert_eq!(read_all(&mut response.body).await.expect("whole"), ["big"]);
    assert_eq!(
        upstream.idle_connections(),
        0,
        "the request was not written to its end"
    );
}

#[tokio::test]
async fn idle_connections_are_few_and_do_not_grow_old() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let mut held = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..=UPSTREAM_IDLE_CONNECTIONS {
        let (response, (stream, _)) = both(upstream.send(post("{}")), async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let text = request(&mut stream).await;
            let start = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
            stream.write_all(start.as_bytes()).await.expect("written");
            (stream, text)
        })
        .await;
        responses.push(response.expect("a head"));
        held.push(stream);
    }
    for (stream, response) in held.iter_mut().zip(&mut responses) {
        stream.write_all(b"x").await.expect("written");
        read_all(&mut response.body).await.expect("whole");
    }
    assert_eq!(upstream.idle_connections(), UPSTREAM_IDLE_CONNECTIONS);
    tokio::time::pause();
    tokio::time::advance(UPSTREAM_IDLE_TIMEOUT).await;
    upstream.watch();
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn an_upstream_that_promises_less_is_believed() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let text = HELLO.replace("200 OK", "200 OK\r\nKeep-Alive: timeout=5, max=9");
    let (response, _held) = both(upstream.send(post("{}")), answer(&listener, &text)).await;
    read_all(&mut response.expect("a head").body)
        .await
        .expect("whole");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    upstream.watch();
    assert_eq!(upstream.idle_connections(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    upstream.watch();
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn no_secret_is_in_any_error_or_debug_output() {
    let (listener, address) = listen().await;
    let mut spec = UpstreamSpec::new("test", format!("http://{address}/v1"));
    spec.api_key = Some(Secret::new("canary-key"));
    spec.headers = vec![("x-key".into(), "canary-header".into())];
    let mut bad = spec.clone();
    bad.headers.push(("x-bad".into(), "canary\r\nx: y".into()));
    let mut bad_key = spec.clone();
    bad_key.api_key = Some(Secret::new("canary\n"));
    let mut bad_url = spec.clone();
    bad_url.base_url = "http://user:canary@host/v1?canary".into();
    let mut seen = vec![format!("{spec:?}")];
    for bad in [bad, bad_key, bad_url] {
        seen.push(format!("{bad:?}"));
        let error: SpecError = Upstream::new(bad).expect_err("refused");
        seen.push(format!("{error} {error:?}"));
    }
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let mut request = post("{}");
    request.headers = &[("x-a", "canary\n")];
    let error = upstream.send(request).await.expect_err("refused");
    assert!(error.nothing_was_sent());
    seen.push(format!("{error} {error:?}"));
    let (response, _) = both(upstream.send(post("{}")), answer(&listener, CHUNKED)).await;
    let mut response = response.expect("a head");
    seen.push(format!("{response:?} {upstream:?}"));
    let error = response.body.read().await.expect_err("cut");
    seen.push(format!("{error} {error:?}"));
    for text in seen {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let (listener, address) = listen().await;
    let (error, _) = both(
        upstream(address).send(post("{}")),
        answer(&listener, "SSH-2.0-x\r\n"),
    )
    .await;
    let error = error.expect_err("not HTTP");
    assert!(
        matches!(error.kind, UpstreamErrorKind::Protocol(Http1Error::NotHttp)),
        "{error}"
    );
}

#[tokio::test]
async fn reads_may_be_dropped_and_taken_up_again() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let (response, (mut stream, _)) =
        both(upstream.send(post("{}")), answer(&listener, CHUNKED)).await;
    let mut body = response.expect("a head").body;
    let dropped = tokio::time::timeout(Duration::from_millis(1), body.read()).await;
    dropped.expect_err("nothing came yet");
    stream
        .write_all(b"3\r\nabc\r\n0\r\n\r\n")
        .await
        .expect("written");
    assert_eq!(read_all(&mut body).await.expect("whole"), ["abc"]);
}
