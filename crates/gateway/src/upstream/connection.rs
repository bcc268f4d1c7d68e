use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use everstream_core::error::Error;
use everstream_core::limits::UPSTREAM_READ_BYTES;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::link::Line;
use super::tls::HTTP2;
use super::upload::Upload;

thread_local! {
    /// What a socket has is read here and copied out at its right size, so that a stream that
    /// waits holds no buffer and a small event does not keep a large one alive.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; UPSTREAM_READ_BYTES]);
}

/// A two-way stream of bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to an upstream. Dropping it closes the socket at once. One pointer, as tens of
/// thousands of exchanges wait at a time, and each hands its connection on from step to step.
pub(super) struct Connection(Box<Wire>);

struct Wire {
    stream: Stream,
    line: Line,
}

/// What carries the bytes of a connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// See [`Transport`](super::Transport).
    Own(Box<dyn Io>),
}

impl Stream {
    /// The stream on which HTTP/2 was agreed, or itself.
    pub(super) fn http2(self) -> Result<Box<TlsStream<TcpStream>>, Self> {
        match self {
            Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP2) => Ok(stream),
            other => Err(other),
        }
    }
}

impl Connection {
    pub(super) fn new(stream: Stream, line: Line) -> Self {
        Self(Box::new(Wire { stream, line }))
    }

    /// It carries a request from now on, or none.
    pub(super) fn set_in_use(&self, in_use: bool) {
        self.0.line.set_in_use(in_use);
    }

    /// The connection as it is, for what is no HTTP any more.
    pub(super) fn into_io(self) -> Box<dyn Io> {
        let Wire { stream, line } = *self.0;
        Box::new(Raw {
            stream: match stream {
                Stream::Plain(stream) => Box::new(stream),
                Stream::Tls(stream) => stream,
                Stream::Own(stream) => stream,
            },
            line,
        })
    }

    /// Waits until the socket has something and hands over all that one read brings; an empty slice
    /// is the end of the connection.
    pub(super) fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut [u8]) -> R,
    ) -> Poll<io::Result<R>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match &mut self.0.stream {
                Stream::Plain(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
                Stream::Tls(stream) => ready!(poll_records(stream, cx, &mut buffer))?,
                Stream::Own(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            }
            self.0.line.heard();
            Poll::Ready(Ok(take(buffer.filled_mut())))
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Own(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Own(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Whether an idle connection is open and has nothing to read. It asks the kernel, as the
    /// runtime may not have heard of the other side's close yet.
    pub(super) fn is_quiet(&mut self) -> bool {
        let socket = match &mut self.0.stream {
            Stream::Plain(stream) => &*stream,
            Stream::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                match session.process_new_packets() {
                    Ok(state)
                        if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                    _ => return false,
                }
                &*socket
            }
            // What it has to read is of no answer: it is not used again, so nothing is lost.
            Stream::Own(stream) => {
                let mut byte = [MaybeUninit::uninit(); 1];
                let mut byte = ReadBuf::uninit(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                return Pin::new(stream).poll_read(&mut cx, &mut byte).is_pending();
            }
        };
        let mut byte = [MaybeUninit::uninit(); 1];
        let peeked = SockRef::from(socket).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// See [`Connection::into_io`].
struct Raw {
    stream: Box<dyn Io>,
    line: Line,
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.line.heard();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The session takes in some 4 KiB at a time: this goes on until the socket is empty, which after a
/// short read costs no system call.
fn poll_records(
    stream: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    while buffer.remaining() > 0 {
        let before = buffer.filled().len();
        match Pin::new(&mut *stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
            // An end or an error after some data: the session reports it again at the next read.
            _ if before > 0 => break,
            first => return first,
        }
    }
    Poll::Ready(Ok(()))
}

/// A request on its way out.
pub(super) struct Outgoing {
    head: Bytes,
    body: Payload,
    started: bool,
    flushed: bool,
}

/// The body of a request.
pub(super) enum Payload {
    Whole(Bytes),
    Streamed(Box<Upload>),
}

/// Why a request could not be written to its end.
pub(super) enum Unwritten {
    /// The connection took no more of it.
    Connection(io::Error),
    /// Its body broke off.
    Body(Error),
}

impl Outgoing {
    pub(super) fn new(head: Vec<u8>, body: Payload) -> Self {
        Self {
            head: head.into(),
            body,
            started: false,
            flushed: false,
        }
    }

    /// Head and body, as long as nothing of them was written.
    pub(super) fn parts(&mut self) -> (&[u8], &mut Payload) {
        (&self.head, &mut self.body)
    }

    /// Whether the connection took any part of the request.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Whether the connection took all of it.
    pub(super) fn is_done(&self) -> bool {
        self.flushed
    }

    /// Writes as much as the connection takes; ready when nothing is left.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<Result<(), Unwritten>> {
        loop {
            ready!(self.poll_write(cx, connection)).map_err(Unwritten::Connection)?;
            let Payload::Streamed(upload) = &mut self.body else {
                break;
            };
            match upload.poll_next(cx).map_err(Unwritten::Body)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => break,
                Poll::Pending => {
                    // TLS may hold back what was written.
                    if let Poll::Ready(Err(error)) = connection.poll_flush(cx) {
                        return Poll::Ready(Err(Unwritten::Connection(error)));
                    }
                    return Poll::Pending;
                }
            }
        }
        if !self.flushed {
            ready!(connection.poll_flush(cx)).map_err(Unwritten::Connection)?;
            // An answer may stream for minutes; the request's buffers need not live as long.
            (self.head, self.body) = (Bytes::new(), Payload::Whole(Bytes::new()));
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is at hand.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<io::Result<()>> {
        loop {
            let head = IoSlice::new(&self.head);
            let written = match &self.body {
                Payload::Whole(body) if head.is_empty() && body.is_empty() => break,
                Payload::Whole(body) => connection.poll_write(cx, &[head, IoSlice::new(body)]),
                Payload::Streamed(upload) if head.is_empty() && upload.is_written() => break,
                Payload::Streamed(upload) => {
                    let [size, piece, end] = upload.slices();
                    connection.poll_write(cx, &[head, size, piece, end])
                }
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.started = true;
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            match &mut self.body {
                Payload::Whole(body) => body.advance(written - of_head),
                Payload::Streamed(upload) => upload.advance(written - of_head),
            }
        }
        Poll::Ready(Ok(()))
    }
}
