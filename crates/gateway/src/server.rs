//! The accept loop: sockets in, hyper connections out.

mod certificates;
mod peer;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use everstream_core::config::Config;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Peer;
pub use certificates::{CertificateError, Certificates};
use peer::FromPeer;
pub use tls::{TlsIo, TlsListener};

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113, section 3.4): so many bytes are looked at before
/// the version of HTTP is surely known.
const PREFACE_BYTES: usize = 24;
/// A pause after an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `address` with room for bursts.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Where the connections of a server come from: a socket, or a network that is none.
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next one. A future that is dropped loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Who holds its other end, where that is known.
    fn peer(_connection: &Self::Io) -> Option<Peer> {
        None
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (socket, _) = Self::accept(self).await?;
        // Without it the kernel holds small frames back for up to 40 ms.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }

    fn peer(connection: &TcpStream) -> Option<Peer> {
        let address = connection.peer_addr().ok()?.ip().to_canonical();
        Some(Peer {
            address,
            is_tls: false,
        })
    }
}

/// When a server ends.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Nothing more is accepted; open connections go on.
    pub refuse: CancellationToken,
    /// Connections finish what they carry, idle ones are closed. A request that arrives in the same
    /// moment is lost, so clients are told before, by `Connection: close`.
    pub close: CancellationToken,
    /// What is left is given up.
    pub abandon: CancellationToken,
}

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request: `limits.request_read_timeout`.
    pub head: Duration,
    /// For taking the bytes they asked for: `streams.write_stall`.
    pub write_stall: Duration,
}

impl Patience {
    /// What the configuration says.
    pub fn new(config: &Config) -> Self {
        Self {
            head: config.limits.request_read_timeout,
            write_stall: config.streams.write_stall,
        }
    }
}

/// Serves as [`serve`] does, with TLS where there is a certificate.
pub async fn serve_tcp<S>(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    service: S,
    patience: Patience,
    shutdown: Shutdown,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    match certificates {
        Some(certificates) => {
            let listener = TlsListener::new(listener, certificates);
            Box::pin(serve(listener, service, patience, shutdown)).await;
        }
        None => Box::pin(serve(listener, service, patience, shutdown)).await,
    }
}

/// Serves `service`, such as a [`Front`](crate::Front), until it is told to shut down and its
/// connections are done.
pub async fn serve<L, S>(mut listener: L, service: S, patience: Patience, shutdown: Shutdown)
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let builder = Arc::new(builder(patience.head));
    let (connections, tasks) = (GracefulShutdown::new(), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.refuse.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok(socket) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = FromPeer {
            service: service.clone(),
            peer: L::peer(&socket),
        };
        let io = TokioIo::new(Guarded::new(socket, patience));
        let builder = Arc::clone(&builder);
        let connection = builder
            .serve_connection_with_upgrades(io, service)
            .into_owned();
        let connection = connections.watch(connection);
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    tasks.close();
    tokio::select! {
        biased;
        () = tasks.wait() => return,
        () = shutdown.close.cancelled() => {}
        () = shutdown.abandon.cancelled() => {}
    }
    tokio::select! {
        biased;
        () = connections.shutdown() => {}
        () = shutdown.abandon.cancelled() => tracing::warn!("some connections were still open"),
    }
}

fn builder(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Slow-loris clients: a head that dribbles in is given up.
        .header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(1024);
    builder
}

/// A socket that is closed when its peer takes nothing for too long, as a stalled client must not
/// hold a reader for ever; and when it does not begin to speak, as hyper's own timer starts only
/// once the version of HTTP is known.
struct Guarded<I> {
    io: I,
    stalled: Option<Pin<Box<Sleep>>>,
    write_stall: Duration,
    opening: Option<Opening>,
}

/// The first bytes of a connection, which tell HTTP/2 from HTTP/1.
struct Opening {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<I> Guarded<I> {
    fn new(socket: I, patience: Patience) -> Self {
        Self {
            io: socket,
            stalled: None,
            write_stall: patience.write_stall,
            opening: Some(Opening {
                missing: PREFACE_BYTES,
                deadline: Box::pin(sleep(patience.head)),
            }),
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // Who is answered has spoken.
        self.opening = None;
        self.bound(cx, result)
    }

    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let patience = self.write_stall;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, opening, .. } = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(io).poll_read(cx, buf);
        if let Some(Opening { missing, deadline }) = opening {
            *missing = missing.saturating_sub(buf.filled().len() - before);
            if *missing == 0 {
                *opening = None;
            } else if result.is_pending() && deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS holds back what the socket does not take.
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.bound(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bound(cx, result)
    }
}
