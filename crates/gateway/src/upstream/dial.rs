use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::Stream;
use super::guard::Reach;
use super::proxy::Proxy;
use super::tls::Tls;
use super::{BaseUrl, UpstreamErrorKind};

/// How to get to an upstream on the network.
pub(super) struct Way {
    pub(super) tls: Option<Tls>,
    pub(super) proxy: Option<Proxy>,
    pub(super) reach: Reach,
}

/// Connects to an upstream on the network, perhaps offering it HTTP/2.
pub(super) async fn dial(
    base: &BaseUrl,
    way: &Way,
    http2: bool,
    deadline: Instant,
) -> Result<Stream, UpstreamErrorKind> {
    let via = way.proxy.as_ref().map_or(base, Proxy::address);
    let addresses = tokio::net::lookup_host((via.host(), via.port())).await;
    let addresses: Vec<SocketAddr> = addresses.map_err(UpstreamErrorKind::Dns)?.collect();
    let addresses = match (&way.proxy, base.host().parse::<IpAddr>()) {
        // Where a name leads is for the proxy to say, which is where the operator wants it.
        (Some(_), Err(_)) => addresses,
        (Some(_), Ok(address)) => {
            within(way.reach, vec![SocketAddr::new(address, base.port())])?;
            addresses
        }
        (None, _) => within(way.reach, addresses)?,
    };
    let mut stream = first_reachable(&addresses, deadline).await?;
    stream
        .set_nodelay(true)
        .map_err(UpstreamErrorKind::Connect)?;
    if let Some(proxy) = &way.proxy {
        let tunnel = proxy.tunnel(&mut stream, base).await;
        tunnel.map_err(UpstreamErrorKind::Proxy)?;
    }
    let Some(tls) = way.tls.clone() else {
        return Ok(Stream::Plain(stream));
    };
    let connector = if http2 { tls.either } else { tls.connector };
    let stream = connector.connect(tls.name, stream).await;
    let stream = stream.map_err(UpstreamErrorKind::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// The addresses that may be called.
fn within(reach: Reach, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, UpstreamErrorKind> {
    let nearest = addresses
        .iter()
        .map(|address| Reach::to(address.ip()))
        .min();
    match nearest {
        Some(needed) if needed > reach => {
            tracing::warn!(?addresses, "an upstream is refused for its address");
            Err(UpstreamErrorKind::OutOfReach(needed))
        }
        _ => {
            let mut addresses = addresses;
            addresses.retain(|address| Reach::to(address.ip()) <= reach);
            Ok(addresses)
        }
    }
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
