use everstream_core::error::{Error, ErrorCode};
use futures_util::{SinkExt, StreamExt, stream};
use socket2::SockRef;
use tokio::sync::mpsc;

use super::tls::Server;
use super::*;
use crate::upstream::{Upload, UpstreamErrorKind};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn pieces(pieces: Vec<Result<&'static str, Error>>, length: Option<u64>) -> Upload {
    let pieces = pieces.into_iter().map(|piece| piece.map(Bytes::from));
    Upload::new(Box::pin(stream::iter(pieces)), length)
}

/// A body whose pieces the test sends.
fn piecewise() -> (mpsc::UnboundedSender<&'static str>, Upload) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let source = stream::unfold(receiver, async |mut receiver| {
        let piece: &str = receiver.recv().await?;
        Some((Ok(Bytes::from(piece)), receiver))
    });
    (sender, Upload::new(Box::pin(source), None))
}

async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        assert!(stream.read_buf(&mut text).await.expect("a request") > 0);
    }
    String::from_utf8(text).expect("ASCII")
}

#[tokio::test]
async fn a_body_goes_by_its_length_or_in_chunks_and_the_connection_is_used_again() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let request = post("not this");
    let client = async {
        for length in [Some(6), None] {
            let body = pieces(vec![Ok("abc"), Ok(""), Ok("def")], length);
            let response = upstream
                .upload(request.clone(), body)
                .await
                .expect("an answer");
            read_all(&mut { response.body }).await.expect("whole");
            assert_eq!(upstream.idle_connections(), 1);
        }
    };
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let by_length = read_until(&mut stream, "abcdef").await;
        assert!(by_length.contains("\r\ncontent-length: 6\r\n"));
        stream.write_all(HELLO.as_bytes()).await.expect("written");
        let in_chunks = read_until(&mut stream, "\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n").await;
        assert!(in_chunks.contains("\r\ntransfer-encoding: chunked\r\n"));
        assert!(!in_chunks.contains("content-length"));
        stream.write_all(HELLO.as_bytes()).await.expect("written");
        stream
    };
    both(client, server).await;
}

#[tokio::test]
async fn a_reused_connection_that_takes_nothing_is_replaced_and_the_body_is_whole() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let stale = TcpStream::connect(address).await.expect("connected");
    let (_held, _) = listener.accept().await.expect("a connection");
    let write_half = std::net::Shutdown::Write;
    SockRef::from(&stale)
        .shutdown(write_half)
        .expect("shut down");
    upstream.release(upstream.connection_over(stale), None);
    let (request, body) = (post(""), pieces(vec![Ok("abc"), Ok("def")], Some(6)));
    let sent = upstream.upload(request, body);
    let (response, (_, request)) = both(sent, answer(&listener, HELLO)).await;
    assert_eq!(response.expect("from a fresh connection").head.status, 200);
    assert!(request.ends_with("\r\n\r\nabcdef"), "{request}");
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_the_request_off_with_its_own_words() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let request = post("");
    let broken = || Error::new(ErrorCode::RequestTimeout, "The client sleeps.");
    for (body, code) in [
        (
            pieces(vec![Ok("abc"), Err(broken())], Some(6)),
            ErrorCode::RequestTimeout,
        ),
        (
            pieces(vec![Ok("abc"), Err(broken())], None),
            ErrorCode::RequestTimeout,
        ),
        (pieces(vec![Ok("abc")], Some(6)), ErrorCode::InvalidValue),
        (
            pieces(vec![Ok("abc"), Ok("defg")], Some(6)),
            ErrorCode::InvalidValue,
        ),
    ] {
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut text = Vec::new();
            stream.read_to_end(&mut text).await.expect("hung up");
            assert!(!text.ends_with(b"0\r\n\r\n"), "it must not look whole");
        };
        let (sent, ()) = both(upstream.upload(request.clone(), body), server).await;
        let error = sent.expect_err("broken");
        assert!(matches!(error.kind, UpstreamErrorKind::Body(_)), "{error}");
        assert!(!error.nothing_was_sent());
        assert_eq!(error.into_error().code, code);
    }
}

#[tokio::test]
async fn an_answer_that_comes_early_is_read_while_the_body_goes_on() {
    let (listener, address) = listen().await;
    let upstream = upstream(address);
    let (sender, body) = piecewise();
    let request = post("");
    sender.send("abc").expect("sent");
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_until(&mut stream, "3\r\nabc\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nech";
        stream.write_all(head.as_bytes()).await.expect("written");
        stream
    };
    let (response, mut stream) = both(upstream.upload(request, body), server).await;
    let mut body = response.expect("an answer").body;
    assert_eq!(body.read().await.expect("a piece").expect("one"), "ech");
    sender.send("def").expect("sent");
    let server = async {
        read_until(&mut stream, "3\r\ndef\r\n").await;
        stream.write_all(b"oed").await.expect("written");
    };
    let (rest, ()) = both(body.read(), server).await;
    assert_eq!(rest.expect("a piece").expect("one"), "oed");
    // Nobody knows where the next request would begin.
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn each_piece_goes_out_at_once_through_tls_too() {
    let server = Server::new().await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let (sender, body) = piecewise();
    let request = post("");
    let serve = async {
        let mut stream = server.accept().await.expect("agreed");
        for (piece, framed) in [("abc", "3\r\nabc\r\n"), ("de", "2\r\nde\r\n")] {
            sender.send(piece).expect("sent");
            read_until(&mut stream, framed).await;
        }
        drop(sender);
        read_until(&mut stream, "0\r\n\r\n").await;
        stream.write_all(HELLO.as_bytes()).await.expect("written");
        stream.flush().await.expect("flushed");
        stream
    };
    let (response, _stream) = both(upstream.upload(request, body), serve).await;
    assert_eq!(response.expect("an answer").head.status, 200);
}

#[tokio::test]
async fn a_websocket_is_opened_through_tls_without_http_2() {
    let server = Server::offering(&["h2", "http/1.1"]).await;
    let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
    let serve = async {
        let stream = server.accept().await.expect("agreed");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("open");
        let message = socket.next().await.expect("one").expect("read");
        socket.send(message).await.expect("sent");
        socket
    };
    let client = async {
        let opened = upstream.open_socket("/realtime?model=m", &[]).await;
        let mut socket = opened.expect("open");
        socket.send("hello".into()).await.expect("sent");
        socket.next().await.expect("one").expect("read")
    };
    let (message, _) = Box::pin(both(client, serve)).await;
    assert_eq!(message.to_text().expect("text"), "hello");
}
