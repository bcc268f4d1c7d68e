//! The proxy on the way to an upstream, as the environment names it.

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everstream_core::config::Env;
use everstream_core::limits::PROXY_HEAD_BYTES;
use everstream_core::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::BaseUrl;

/// The proxies that the environment names: `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of who is
/// called, `ALL_PROXY` for both, and `NO_PROXY` for who is called without; each in either case.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Variable>,
    http: Option<Variable>,
    spared: String,
}

/// The name of a variable and its value, in which a password may be.
type Variable = (&'static str, Secret);

impl Proxies {
    /// Those of `env`.
    pub fn of(env: &Env) -> Self {
        let read = |name: &'static str| {
            let lower = env.non_empty(&name.to_ascii_lowercase());
            let value = lower.or_else(|| env.non_empty(name))?;
            Some((name, Secret::new(value.trim())))
        };
        let spared = read("NO_PROXY").map(|(_, list)| list.expose().to_ascii_lowercase());
        Self {
            https: read("HTTPS_PROXY").or_else(|| read("ALL_PROXY")),
            http: read("HTTP_PROXY").or_else(|| read("ALL_PROXY")),
            spared: spared.unwrap_or_default(),
        }
    }

    /// The proxy on the way to `base`. This machine is never behind one.
    ///
    /// # Errors
    /// What is wrong with the variable; its value is not repeated.
    pub(super) fn on_the_way_to(&self, base: &BaseUrl) -> Result<Option<Proxy>, String> {
        let variable = if base.is_https() {
            &self.https
        } else {
            &self.http
        };
        match variable {
            Some((name, url)) if !is_here(base.host()) && !is_spared(base, &self.spared) => {
                let proxy = Proxy::parse(url.expose());
                proxy
                    .map(Some)
                    .map_err(|reason| format!("{name}: {reason}"))
            }
            _ => Ok(None),
        }
    }
}

/// A proxy of HTTP, which connects to whom it is told to.
pub(super) struct Proxy {
    address: BaseUrl,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Secret>,
}

impl Proxy {
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err("only proxies at http:// are known".to_owned());
        }
        let rest = rest.trim_end_matches('/');
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let address: BaseUrl = format!("http://{host}").parse().map_err(|_| {
            "it is no address such as http://user:password@proxy.example:3128".to_owned()
        })?;
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [&decoded(name), &b":"[..], &decoded(password)].concat();
            Secret::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        Ok(Self {
            address,
            authorization,
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &BaseUrl {
        &self.address
    }

    /// Has the proxy connect `stream` to `base` (RFC 9110, section 9.3.6). What is sent on it then goes
    /// there.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, base: &BaseUrl) -> io::Result<()> {
        let host = match base.host().parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => base.host().to_owned(),
        };
        let target = format!("{host}:{}", base.port());
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.extend(["proxy-authorization: ", authorization.expose(), "\r\n"]);
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte for byte, as what follows the head is the upstream's, and heads are short.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == PROXY_HEAD_BYTES {
                return Err(io::Error::other("its answer is too long"));
            }
            head.push(stream.read_u8().await?);
        }
        match status(&head) {
            Some(200..300) => Ok(()),
            Some(407) => Err(io::Error::other(
                "it wants a user name and a password, or others than those in its URL (407)",
            )),
            Some(status) => Err(io::Error::other(format!("it answered {status}"))),
            None => Err(io::Error::other("what answers is no proxy")),
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Whether an address is this machine by its name.
fn is_here(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether a list has the host: `*`, names with all below them, addresses, and ranges of those, each
/// perhaps with a port.
fn is_spared(base: &BaseUrl, list: &str) -> bool {
    let mut entries = list.split([',', ' ']).filter(|entry| !entry.is_empty());
    entries.any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Ok(address), Some(range)) = (base.host().parse(), range(entry)) {
            return contains(range, address);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (entry, None),
        };
        if port.is_some_and(|port| port.parse() != Ok(base.port())) {
            return false;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let host = base.host();
        host.strip_suffix(name)
            .is_some_and(|rest| !name.is_empty() && (rest.is_empty() || rest.ends_with('.')))
    })
}

fn range(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()?),
        None => (entry, u8::MAX),
    };
    Some((address.parse().ok()?, bits))
}

fn contains((range, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let same = |range: u128, address: u128, width: u8| {
        let free = u32::from(width.saturating_sub(bits));
        range.checked_shr(free).unwrap_or(0) == address.checked_shr(free).unwrap_or(0)
    };
    match (range, address) {
        (IpAddr::V4(range), IpAddr::V4(address)) => {
            same(range.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(range), IpAddr::V6(address)) => same(range.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

/// Percent-decoded, where it is encoded.
fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(code) if byte == b'%' => {
                decoded.push(code);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}
