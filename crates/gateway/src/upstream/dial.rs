use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::Stream;
use super::tls::Tls;
use super::{BaseUrl, UpstreamErrorKind};

/// Connects to an upstream on the network.
pub(super) async fn dial(
    base: &BaseUrl,
    tls: Option<&Tls>,
    deadline: Instant,
) -> Result<Stream, UpstreamErrorKind> {
    let addresses = tokio::net::lookup_host((base.host(), base.port())).await;
    let addresses: Vec<SocketAddr> = addresses.map_err(UpstreamErrorKind::Dns)?.collect();
    let stream = first_reachable(&addresses, deadline).await?;
    stream
        .set_nodelay(true)
        .map_err(UpstreamErrorKind::Connect)?;
    let Some(tls) = tls.cloned() else {
        return Ok(Stream::Plain(stream));
    };
    let stream = tls.connector.connect(tls.name, stream).await;
    let stream = stream.map_err(UpstreamErrorKind::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Connects to the first address that answers; each gets its share of the time that is left, so
/// that a dead one cannot use up all of it.
async fn first_reachable(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, UpstreamErrorKind> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(unreachable(failure))
}

/// Why there is no connection.
pub(super) fn unreachable(failure: io::Error) -> UpstreamErrorKind {
    match failure.kind() {
        io::ErrorKind::NotFound => UpstreamErrorKind::Dns(failure),
        io::ErrorKind::ConnectionRefused => UpstreamErrorKind::Refused,
        _ => UpstreamErrorKind::Connect(failure),
    }
}
