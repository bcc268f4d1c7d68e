//! Addresses: of this gateway, of upstreams and of web pages.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::describe::Native;
use super::kinds::text;
use super::mistake::Fault;
use super::spec::Scalar;
use crate::network::{Network, NetworkError};

pub(super) fn listen() -> Scalar<SocketAddr> {
    text(
        "an IP address and a port, such as `127.0.0.1:8080`",
        address,
    )
}

/// See [`listen`].
pub(super) fn address(address: &str) -> Result<SocketAddr, Fault> {
    if let Some(port) = address.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| "not a port")?;
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    address.parse().map_err(|_| {
        let fault = Fault::from("not an address");
        match address.strip_prefix(':').map(str::parse::<u16>) {
            Some(Ok(port)) => fault.hint(format!(
                "write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for all interfaces"
            )),
            _ => fault,
        }
    })
}

/// A network, or one address.
pub(super) fn network() -> Scalar<Network> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|error: NetworkError| error.to_string().into())
    };
    let allowed = "an address or a network, such as `192.0.2.7`, `10.0.0.0/8` or `fd00::/8`";
    let schema = json!({"type": "string"});
    Scalar::new(Native::String, allowed, schema, parse, |network| {
        json!(network.to_string())
    })
}

/// An upstream's address, without a slash at its end.
pub(super) fn base_url() -> Scalar<String> {
    text(
        "`http://` or `https://`, a host, and the path up to `/v1`",
        url_of,
    )
}

/// See [`base_url`].
pub(super) fn url_of(url: &str) -> Result<String, Fault> {
    let (scheme, rest) = split_scheme(url)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    check_authority(authority)?;
    if path.contains(['?', '#']) {
        return Err("a base URL has no query and no fragment".into());
    }
    if path.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err("a URL has visible ASCII characters only".into());
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

/// The origin of a web page: scheme, host and port.
pub(super) fn origin() -> Scalar<String> {
    text(
        "an origin such as `https://app.example.org`, or `*`",
        |origin| {
            if origin == "*" {
                return Ok(origin.to_owned());
            }
            let (scheme, authority) = split_scheme(origin)?;
            check_authority(authority)?;
            Ok(format!("{scheme}://{}", authority.to_ascii_lowercase()))
        },
    )
}

fn split_scheme(url: &str) -> Result<(&'static str, &str), Fault> {
    let (scheme, rest) = url.split_once("://").ok_or("not a URL")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(("http", rest)),
        "https" => Ok(("https", rest)),
        _ => Err("the URL's scheme is neither http nor https".into()),
    }
}

/// A host, perhaps with a port (RFC 3986, section 3.2), without user information.
fn check_authority(authority: &str) -> Result<(), Fault> {
    if authority.contains('@') {
        return Err(Fault::from("a URL here holds no user and no password")
            .hint("put the key into `api_key`, other credentials into `headers`"));
    }
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let good = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    if !good {
        return Err("the URL's host is not a host name or an IP address".into());
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err("the URL's port is not a number from 1 to 65535".into()),
        _ => Ok(()),
    }
}

/// The path of a request to an upstream, below its address.
pub(super) fn probe_path() -> Scalar<String> {
    text("a path that begins with `/`", |path| {
        if !path.starts_with('/') {
            Err("a path begins with `/`".into())
        } else if path.len() > 1024 || path.bytes().any(|b| !b.is_ascii_graphic() || b == b'#') {
            Err("a path has at most 1024 visible ASCII characters, and no `#`".into())
        } else {
            Ok(path.to_owned())
        }
    })
}
