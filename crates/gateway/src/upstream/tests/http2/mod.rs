//! The client against servers of HTTP/2: the library's own, and one that says what no library says.

mod faults;
mod life;
mod waiting;

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::ServerConnection;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::server::TlsStream;

use super::tls::Server;
use super::*;

/// A provider that prefers HTTP/2. The test answers what it is asked.
struct Provider {
    upstream: Arc<Upstream>,
    asked: mpsc::UnboundedReceiver<Asked>,
}

/// A request.
struct Asked {
    /// Its connection, in the order in which they were made.
    connection: usize,
    request: Request<RecvStream>,
    answer: SendResponse<Bytes>,
    /// Tells the client to go away.
    farewell: Arc<Notify>,
}

impl Provider {
    /// One that takes so many streams on a connection, if it says how many.
    async fn start(streams: Option<u32>) -> Self {
        let server = Server::offering(&["h2", "http/1.1"]).await;
        let upstream = Arc::new(Upstream::new(server.spec()).expect("valid"));
        let (sender, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let stream = server.accept().await.expect("agreed");
                tokio::spawn(serve(stream, streams, connection, sender.clone()));
            }
        });
        Self { upstream, asked }
    }

    async fn asked(&mut self) -> Asked {
        self.asked.recv().await.expect("the server runs")
    }

    /// Sends a request, which the test answers next.
    async fn ask(
        &mut self,
    ) -> (
        Result<crate::upstream::Response, UpstreamError>,
        SendStream<Bytes>,
    ) {
        let upstream = Arc::clone(&self.upstream);
        let (response, sending) = both(upstream.send(post("{}")), async {
            self.asked().await.begin()
        })
        .await;
        (response, sending)
    }
}

async fn serve(
    stream: TlsStream<TcpStream>,
    streams: Option<u32>,
    connection: usize,
    asked: mpsc::UnboundedSender<Asked>,
) {
    let session: &ServerConnection = stream.get_ref().1;
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let mut builder = h2::server::Builder::new();
    if let Some(streams) = streams {
        builder.max_concurrent_streams(streams);
    }
    let farewell = Arc::new(Notify::new());
    let mut served = builder.handshake(stream).await.expect("HTTP/2");
    loop {
        tokio::select! {
            request = served.accept() => {
                let Some(Ok((request, answer))) = request else {
                    return;
                };
                let farewell = Arc::clone(&farewell);
                let _ = asked.send(Asked { connection, request, answer, farewell });
            }
            () = farewell.notified() => served.graceful_shutdown(),
        }
    }
}

impl Asked {
    /// Answers with a head, behind which the test sends a body.
    fn begin(mut self) -> SendStream<Bytes> {
        let head = Response::new(());
        self.answer.send_response(head, false).expect("taken")
    }

    /// Answers with all of this.
    fn say(self, text: &'static str) {
        let mut body = self.begin();
        body.send_data(text.into(), true).expect("taken");
    }

    async fn body(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.request.body_mut().data().await {
            let piece = piece.expect("whole");
            let flow = self.request.body_mut().flow_control();
            flow.release_capacity(piece.len()).expect("what came");
            all.extend_from_slice(&piece);
        }
        all
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` of the static table (RFC 7541, appendix A).
const OK: &[u8] = &[0x88];

/// A connection of a server that speaks in frames of the test's own.
struct Raw(TlsStream<TcpStream>);

/// A frame as it came.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    /// Accepts one, and says what it takes: nothing in particular.
    async fn accept(server: &Server) -> Self {
        let mut stream = server.accept().await.expect("agreed");
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut raw = Self(stream);
        raw.write(SETTINGS, 0, 0, &[]).await;
        raw
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        bytes.extend_from_slice(&length[1..]);
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.0.write_all(&bytes).await.expect("written");
        self.0.flush().await.expect("flushed");
    }

    async fn read(&mut self) -> Frame {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.expect("a frame");
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u32::from(byte));
        let mut payload = vec![0; number(&head[..3]) as usize];
        self.0.read_exact(&mut payload).await.expect("a payload");
        Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]),
            payload,
        }
    }

    async fn until(&mut self, kind: u8, flags: u8) -> Frame {
        loop {
            let frame = self.read().await;
            if frame.kind == kind && frame.flags & flags == flags {
                return frame;
            }
        }
    }

    /// The last frame of a request.
    async fn asked(&mut self) -> u32 {
        self.until(DATA, END_STREAM).await.stream
    }

    async fn say(&mut self, stream: u32, text: &str) {
        self.write(HEADERS, END_HEADERS, stream, OK).await;
        self.write(DATA, END_STREAM, stream, text.as_bytes()).await;
    }

    async fn go_away(&mut self, last: u32, reason: h2::Reason) {
        let reason = u32::from(reason).to_be_bytes();
        let payload = [last.to_be_bytes(), reason].concat();
        self.write(GOAWAY, 0, 0, &payload).await;
    }
}

fn raw_upstream(server: &Server) -> Arc<Upstream> {
    Arc::new(Upstream::new(server.spec()).expect("valid"))
}
