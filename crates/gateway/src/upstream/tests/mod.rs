mod client;
mod http2;
mod tls;
mod upload;
mod way;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Body, Request, Upstream, UpstreamError, UpstreamSpec};

/// A listener on a free port of this machine.
pub(in crate::upstream) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

pub(in crate::upstream) fn upstream(address: SocketAddr) -> Arc<Upstream> {
    let spec = UpstreamSpec::new("test", format!("http://{address}/v1"));
    Arc::new(Upstream::new(spec).expect("a valid spec"))
}

pub(in crate::upstream) fn post(body: &'static str) -> Request<'static> {
    Request {
        method: "POST",
        path: "/chat/completions",
        headers: &[("content-type", "application/json")],
        body: Some(Bytes::from_static(body.as_bytes())),
    }
}

/// Reads one request with a `content-length`, head and body.
pub(in crate::upstream) async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return whole;
            }
        }
        if stream.read_buf(&mut text).await.expect("a request") == 0 {
            return whole;
        }
    }
}

/// Accepts one connection, reads one request and answers it.
pub(in crate::upstream) async fn answer(
    listener: &TcpListener,
    answer: &str,
) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let request = request(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.expect("written");
    (stream, request)
}

pub(in crate::upstream) async fn read_all(body: &mut Body) -> Result<Vec<Bytes>, UpstreamError> {
    let mut pieces = Vec::new();
    while let Some(piece) = body.read().await? {
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Both sides at once, in the one thread of the test.
pub(in crate::upstream) async fn both<A, B>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> (A, B) {
    tokio::join!(a, b)
}

/// An HTTP answer with this JSON.
pub(in crate::upstream) fn json(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
}
