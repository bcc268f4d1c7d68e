use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use everstream_core::limits::{
    UPSTREAM_CONNECTION_WINDOW, UPSTREAM_HEAD_BYTES, UPSTREAM_PING_AFTER, UPSTREAM_PONG_PATIENCE,
    UPSTREAM_STREAM_WINDOW,
};
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;

use super::pool::Pool;
use crate::upstream::link::{Line, Pulse};

/// The library's word for how many streams the upstream takes, until the upstream has said it: no
/// upstream can say this.
const UNSAID: usize = usize::MAX - 1;
/// The most of a message that TLS puts into one record: what is not whole is not read.
const RECORD_BYTES: usize = 16 << 10;

/// A connection on which requests share.
pub(super) struct Shared {
    pub(super) id: u64,
    sender: SendRequest<Bytes>,
    traffic: Arc<Traffic>,
    pulse: Arc<Pulse>,
}

/// What a connection, its task and its requests know of each other.
#[derive(Default)]
struct Traffic {
    /// Something came since the last look.
    heard: AtomicBool,
    /// Grows with everything that is written.
    written: AtomicU64,
    in_use: AtomicBool,
    /// It was idle: the upstream may have closed it, and the runtime not have heard of it yet.
    unsure: AtomicBool,
}

impl Shared {
    /// Whether it takes further requests. One that was told to go away does not.
    pub(super) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Its own, as one that waits blocks its others.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// Grows with everything that is written to it.
    pub(super) fn written(&self) -> u64 {
        self.traffic.written.load(Ordering::Relaxed)
    }

    /// It carries requests from now on, or none.
    pub(super) fn set_in_use(&self, in_use: bool) {
        self.traffic.unsure.store(in_use, Ordering::Relaxed);
        self.traffic.in_use.store(in_use, Ordering::Relaxed);
        self.pulse.set_in_use(in_use);
    }
}

/// The connection as its task has it.
pub(super) struct Driven {
    connection: client::Connection<Wire, Bytes>,
    traffic: Arc<Traffic>,
    pulse: Arc<Pulse>,
    id: u64,
}

/// Begins to speak HTTP/2. The connection carries a request from now on.
pub(super) async fn begin(
    stream: Box<TlsStream<TcpStream>>,
    line: Line,
    id: u64,
) -> Result<(Shared, Driven), h2::Error> {
    let traffic = Arc::new(Traffic::default());
    traffic.in_use.store(true, Ordering::Relaxed);
    let pulse = line.pulse();
    let wire = Wire {
        stream,
        line,
        traffic: Arc::clone(&traffic),
    };
    let head_bytes = u32::try_from(UPSTREAM_HEAD_BYTES).unwrap_or(u32::MAX);
    let (sender, connection) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(UPSTREAM_STREAM_WINDOW)
        .initial_connection_window_size(UPSTREAM_CONNECTION_WINDOW)
        .max_header_list_size(head_bytes)
        .initial_max_send_streams(UNSAID)
        .handshake(wire)
        .await?;
    let shared = Shared {
        id,
        sender,
        traffic: Arc::clone(&traffic),
        pulse: Arc::clone(&pulse),
    };
    let driven = Driven {
        connection,
        traffic,
        pulse,
        id,
    };
    Ok((shared, driven))
}

impl Driven {
    /// Reads and writes until the connection ends, and tells the pool what it should know.
    pub(super) async fn run(mut self, pool: Weak<Pool>) {
        let mut heartbeat = Heartbeat {
            pings: self.connection.ping_pong(),
            alarm: Box::pin(tokio::time::sleep(UPSTREAM_PING_AFTER)),
            silent: 0,
        };
        let mut room = UNSAID;
        poll_fn(|cx| {
            let ended = Pin::new(&mut self.connection).poll(cx);
            let says = self.connection.max_concurrent_send_streams();
            if room != says {
                room = says;
                if let Some(pool) = pool.upgrade() {
                    pool.set_room(self.id, room);
                }
            }
            let upstream = self.pulse.upstream();
            if let Poll::Ready(ended) = ended {
                tracing::debug!(upstream, ?ended, "a connection of HTTP/2 ended");
                return Poll::Ready(());
            }
            let dead = heartbeat.poll(cx, &self.traffic, room != UNSAID);
            if dead.is_ready() {
                tracing::warn!(upstream, "a connection of HTTP/2 is dead, and is closed");
            }
            dead
        })
        .await;
        if let Some(pool) = pool.upgrade() {
            pool.forget(self.id);
        }
    }
}

/// Notices that nobody is there any more.
struct Heartbeat {
    pings: Option<PingPong>,
    alarm: Pin<Box<Sleep>>,
    /// Alarms in a row since something came.
    silent: u32,
}

impl Heartbeat {
    /// Ready when the other side is given up: it answers no ping, or did not say within the time of one
    /// what it takes, which comes first on every connection.
    fn poll(&mut self, cx: &mut Context<'_>, traffic: &Traffic, is_settled: bool) -> Poll<()> {
        if let Some(pings) = &mut self.pings {
            // An answer was heard already. Taking it lets the next ping go.
            let _ = pings.poll_pong(cx);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let next = Instant::now() + UPSTREAM_PING_AFTER;
            self.alarm.as_mut().reset(next);
            let heard = traffic.heard.swap(false, Ordering::Relaxed);
            self.silent = if heard || !traffic.in_use.load(Ordering::Relaxed) {
                0
            } else {
                self.silent + 1
            };
            if !is_settled || self.silent > UPSTREAM_PONG_PATIENCE {
                return Poll::Ready(());
            }
            if self.silent == 1
                && let Some(pings) = &mut self.pings
            {
                // One that is on its way is as good.
                let _ = pings.send_ping(Ping::opaque());
            }
        }
        Poll::Pending
    }
}

/// The bytes below HTTP/2.
struct Wire {
    stream: Box<TlsStream<TcpStream>>,
    line: Line,
    traffic: Arc<Traffic>,
}

impl Wire {
    /// Before the first request after a pause, asks the kernel whether the connection was closed, or told
    /// to go away, as the runtime may not have heard of it yet. What came is read first.
    fn poll_sure(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.traffic.unsure.swap(false, Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let (socket, _) = self.stream.get_ref();
        let mut byte = [MaybeUninit::uninit(); 1];
        match SockRef::from(socket).peek(&mut byte) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Ok(_) => {
                if socket.poll_read_ready(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Counts what was written, or may have been.
    fn count(&self, written: &Poll<io::Result<usize>>, all: usize) {
        let counts = match written {
            Poll::Ready(Ok(_)) => true,
            Poll::Ready(Err(_)) => all > RECORD_BYTES,
            Poll::Pending => false,
        };
        if counts {
            self.traffic.written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.line.heard();
            self.traffic.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sure(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(&written, bytes.len());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sure(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count(&written, parts.iter().map(|part| part.len()).sum());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
