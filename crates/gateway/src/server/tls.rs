use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Certificates, Listener};
use crate::access::Peer;

/// What is told to who speaks HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 50\r\nconnection: close\r\n\r\nTLS is spoken here: the URL begins with https://.\n";
/// What is read and thrown away of such a client, for it to get the answer.
const PLAIN_BYTES: u64 = 64 << 10;

/// A socket whose connections speak TLS, each with the certificate that is current when it comes.
pub struct TlsListener {
    listener: TcpListener,
    certificates: Arc<Certificates>,
}

impl TlsListener {
    /// Speaks TLS on `listener`.
    pub fn new(listener: TcpListener, certificates: Arc<Certificates>) -> Self {
        Self {
            listener,
            certificates,
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsIo;

    async fn accept(&mut self) -> io::Result<TlsIo> {
        let socket = Listener::accept(&mut self.listener).await?;
        let peer = <TcpListener as Listener>::peer(&socket);
        let opening = open(socket, self.certificates.current());
        Ok(TlsIo {
            state: State::Opening(Box::pin(opening)),
            peer: peer.map(|peer| Peer {
                is_tls: true,
                ..peer
            }),
        })
    }

    fn peer(connection: &TlsIo) -> Option<Peer> {
        connection.peer
    }
}

/// A connection that agrees on TLS when it is first read or written: in its own task, and within the
/// time that the first bytes of a request may take.
pub struct TlsIo {
    state: State,
    peer: Option<Peer>,
}

enum State {
    Opening(BoxFuture<'static, io::Result<Box<TlsStream<TcpStream>>>>),
    Open(Box<TlsStream<TcpStream>>),
    Failed,
}

impl TlsIo {
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let State::Opening(opening) = &mut self.state {
            let opened = ready!(opening.as_mut().poll(cx));
            self.state = State::Failed;
            self.state = State::Open(opened?);
        }
        Poll::Ready(match &mut self.state {
            State::Open(stream) => Ok(Pin::new(&mut **stream)),
            State::Opening(_) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

async fn open(
    mut socket: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<Box<TlsStream<TcpStream>>> {
    let mut first = [0];
    socket.peek(&mut first).await?;
    // A method begins with a letter, and no record of TLS does.
    if first[0].is_ascii_alphabetic() {
        socket.write_all(PLAIN).await?;
        socket.shutdown().await?;
        // Closed with bytes unread, it would be reset, and the answer lost.
        tokio::io::copy(&mut socket.take(PLAIN_BYTES), &mut tokio::io::sink()).await?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stream = TlsAcceptor::from(config).accept(socket).await;
    let stream = stream.inspect_err(|error| tracing::debug!(%error, "no TLS with a client"))?;
    Ok(Box::new(stream))
}

impl AsyncRead for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing was written.
            State::Opening(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            // Dropping the socket closes it.
            State::Opening(_) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}
