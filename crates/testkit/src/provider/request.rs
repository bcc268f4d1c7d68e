use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{self, Body, Headers, MAX_HEADERS};

/// Largest request: far above what the gateway lets through, so that its own limit is what a test
/// meets.
const MAX_REQUEST_BYTES: usize = 256 << 20;

/// What one read of the socket has room for at least; most requests fit.
pub(super) const READ_BYTES: usize = 2 << 10;

/// A request as the provider got it.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Which one it was, counted from 1 over all requests.
    pub number: u64,
    /// `GET`, `POST`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// What follows `?`, or nothing.
    pub query: String,
    /// In the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Bytes,
}

impl ReceivedRequest {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether the client asked for events.
    pub fn wants_stream(&self) -> bool {
        self.json()["stream"] == true
    }

    /// Whether the client asked for the usage chunk.
    pub fn wants_usage(&self) -> bool {
        self.json()["stream_options"]["include_usage"] == true
    }

    pub(super) fn is_model_list(&self) -> bool {
        self.method == "GET" && self.path == "/v1/models"
    }

    pub(super) fn keeps_alive(&self) -> bool {
        !matches!(self.header("connection"), Some(c) if c.eq_ignore_ascii_case("close"))
    }
}

/// Reads the next request of a connection: `None` when the client closed between two.
pub(super) async fn read(
    socket: &mut TcpStream,
    inbound: &mut BytesMut,
) -> io::Result<Option<ReceivedRequest>> {
    let mut request = loop {
        if let Some((request, consumed)) = parse_head(inbound)? {
            inbound.advance(consumed);
            break request;
        }
        if inbound.len() > MAX_REQUEST_BYTES {
            return Err(http::malformed("an endless head"));
        }
        inbound.reserve(READ_BYTES);
        if socket.read_buf(inbound).await? == 0 {
            let clean = inbound.is_empty();
            return if clean {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    if request
        .header("expect")
        .is_some_and(|e| e.eq_ignore_ascii_case("100-continue"))
    {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut state = Body::announced(&request.headers, Body::Done)?;
    let mut body = BytesMut::new();
    loop {
        state.take(inbound, &mut body)?;
        if state == Body::Done {
            break;
        }
        if body.len() > MAX_REQUEST_BYTES {
            return Err(http::malformed("the request is too large"));
        }
        inbound.reserve(READ_BYTES);
        if socket.read_buf(inbound).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    request.body = body.freeze();
    Ok(Some(request))
}

fn parse_head(inbound: &[u8]) -> io::Result<Option<(ReceivedRequest, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let status = head
        .parse(inbound)
        .map_err(|e| http::malformed(e.to_string()))?;
    let httparse::Status::Complete(consumed) = status else {
        return Ok(None);
    };
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Headers = http::own_headers(head.headers);
    let request = ReceivedRequest {
        number: 0,
        method: head.method.unwrap_or_default().into(),
        path: path.into(),
        query: query.into(),
        headers,
        body: Bytes::new(),
    };
    Ok(Some((request, consumed)))
}
