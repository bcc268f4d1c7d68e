//! An HTTP/1.1 client that shows what is on the wire: where a body ends and how, the bytes of each
//! frame, the moment of a reset.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{self, Body, Headers, MAX_HEADERS};
use crate::sse;

/// What one read of the socket has room for at least.
const READ_BYTES: usize = 8 << 10;

/// One connection. Requests go one after another; a body must be read before the next request.
pub struct RawClient {
    addr: SocketAddr,
    socket: TcpStream,
    inbound: BytesMut,
    decoded: BytesMut,
    body: Body,
    end: Option<BodyEnd>,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: u16,
    /// In the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl ResponseHead {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// By its own framing: the last chunk, or all bytes of its length, or a close where nothing
    /// else was announced.
    Clean,
    /// By a close or a reset before that.
    Cut,
}

impl RawClient {
    /// Opens a connection.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            addr,
            socket,
            inbound: BytesMut::new(),
            decoded: BytesMut::new(),
            body: Body::Done,
            end: None,
        })
    }

    /// Sends a POST with a JSON body and reads the head of its response.
    pub async fn post_json(
        &mut self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> io::Result<ResponseHead> {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.request("POST", path, &headers, body.to_string().as_bytes())
            .await
    }

    /// Sends a GET and reads the head of its response.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<ResponseHead> {
        self.request("GET", path, headers, b"").await
    }

    /// Sends a request and reads the head of its response.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<ResponseHead> {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.extend(["host: ", &self.addr.to_string(), "\r\n"]);
        }
        for (name, value) in headers {
            text.extend([*name, ": ", *value, "\r\n"]);
        }
        if !body.is_empty() {
            text.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await?;
        self.read_head().await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Reads the head of the next response; interim ones (100, 103) are skipped.
    pub async fn read_head(&mut self) -> io::Result<ResponseHead> {
        loop {
            while let Some((head, consumed)) = parse_head(&self.inbound)? {
                self.inbound.advance(consumed);
                if head.status >= 200 {
                    let bodiless = matches!(head.status, 204 | 304);
                    self.body = if bodiless {
                        Body::Done
                    } else {
                        Body::announced(&head.headers, Body::UntilClose)?
                    };
                    self.end = None;
                    self.decoded.clear();
                    return Ok(head);
                }
            }
            self.inbound.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.inbound).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Some more bytes of the body, without chunk framing; `None` after the last.
    ///
    /// # Errors
    /// When the server breaks HTTP. A cut is no error, see [`body_end`](Self::body_end).
    pub async fn read_some(&mut self) -> io::Result<Option<Bytes>> {
        while self.decoded.is_empty() {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(Some(self.decoded.split().freeze()))
    }

    /// The rest of the body, and how it ended.
    pub async fn read_body(&mut self) -> io::Result<(Bytes, BodyEnd)> {
        while self.fill().await? {}
        let end = self.end.expect("fill ends with an end");
        Ok((self.decoded.split().freeze(), end))
    }

    /// The rest of the body as JSON.
    ///
    /// # Errors
    /// When the body was cut or is not JSON.
    pub async fn read_json(&mut self) -> io::Result<Value> {
        match self.read_body().await? {
            (body, BodyEnd::Clean) => serde_json::from_slice(&body)
                .map_err(|e| http::malformed(format!("{e}: {:?}", String::from_utf8_lossy(&body)))),
            (_, BodyEnd::Cut) => Err(http::malformed("the body was cut")),
        }
    }

    /// The bytes of the next SSE frame: an event with its blank line, or one comment line. `None`
    /// at the end of the body; an unfinished frame stays unread.
    pub async fn read_sse_frame(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = sse::frame_end(&self.decoded) {
                return Ok(Some(self.decoded.split_to(end).freeze()));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next event, past any comments.
    ///
    /// # Errors
    /// Also when the frame breaks a rule of [`sse::read_frames`].
    pub async fn read_event(&mut self) -> io::Result<Option<sse::Frame>> {
        while let Some(bytes) = self.read_sse_frame().await? {
            let (frames, _) = sse::read_frames(&bytes).map_err(http::malformed)?;
            if let Some(event) = frames.into_iter().find(|frame| frame.data.is_some()) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// All frames up to the end of the body, and how it ended. Of a cut body the unfinished frame
    /// is dropped.
    ///
    /// # Errors
    /// Also when a frame breaks a rule of [`sse::read_frames`], or the body ends within one
    /// although it was not cut.
    pub async fn collect_sse(&mut self) -> io::Result<(Vec<sse::Frame>, BodyEnd)> {
        let (body, end) = self.read_body().await?;
        let (frames, rest) = sse::read_frames(&body).map_err(http::malformed)?;
        if end == BodyEnd::Clean && !rest.is_empty() {
            let rest = String::from_utf8_lossy(rest);
            return Err(http::malformed(format!(
                "the body ends within a frame: {rest:?}"
            )));
        }
        Ok((frames, end))
    }

    /// Waits for more of the body. False at its end.
    pub(crate) async fn read_more(&mut self) -> io::Result<bool> {
        self.fill().await
    }

    /// What is read of the body and not yet [`consume`](Self::consume)d.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.decoded
    }

    /// Drops the first `n` of the unread bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.decoded.advance(n);
    }

    /// How the body ended, once it has.
    pub fn body_end(&self) -> Option<BodyEnd> {
        self.end
    }

    /// Resets the connection: the server's next write fails.
    pub fn cut(self) -> io::Result<()> {
        self.socket.set_zero_linger()
    }

    /// Decodes what has arrived, or waits for more. False at the end of the body.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.end.is_some() {
            return Ok(false);
        }
        let before = self.decoded.len();
        loop {
            self.body.take(&mut self.inbound, &mut self.decoded)?;
            if self.body == Body::Done {
                self.end = Some(BodyEnd::Clean);
                return Ok(self.decoded.len() > before);
            }
            if self.decoded.len() > before {
                return Ok(true);
            }
            self.inbound.reserve(READ_BYTES);
            let read = match self.socket.read_buf(&mut self.inbound).await {
                Ok(read) => read,
                Err(e) if is_cut(&e) => {
                    self.end = Some(BodyEnd::Cut);
                    return Ok(false);
                }
                Err(e) => return Err(e),
            };
            if read == 0 {
                let whole = self.body == Body::UntilClose;
                self.end = Some(if whole { BodyEnd::Clean } else { BodyEnd::Cut });
                return Ok(false);
            }
        }
    }
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

fn parse_head(inbound: &[u8]) -> io::Result<Option<(ResponseHead, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head
        .parse(inbound)
        .map_err(|e| http::malformed(e.to_string()))?;
    let httparse::Status::Complete(consumed) = parsed else {
        return Ok(None);
    };
    let headers: Headers = http::own_headers(head.headers);
    let status = head.code.unwrap_or_default();
    Ok(Some((ResponseHead { status, headers }, consumed)))
}
