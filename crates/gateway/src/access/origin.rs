//! Where a request comes from, and how its client addressed it.

use std::net::{IpAddr, SocketAddr};

use everstream_core::network::Network;
use http::HeaderMap;
use http::request::Parts;

/// Who holds the other end of a connection. Servers put it into the extensions of each request; one
/// that is not Everstream's own can do so too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

/// What a trusted proxy says of a client, in the extensions of requests that came by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client's address, or the proxy's if it says none.
    pub address: IpAddr,
    /// Whether the client speaks TLS, if it says so.
    pub is_tls: Option<bool>,
    /// Whom the client addressed, if it says so.
    pub host: Option<String>,
}

/// The address of who sent a request; behind trusted proxies, of their client. `None` where the server
/// does not say.
pub fn client_address(parts: &Parts) -> Option<IpAddr> {
    let forwarded = parts.extensions.get::<Forwarded>();
    forwarded.map(|forwarded| forwarded.address).or_else(|| {
        let peer = parts.extensions.get::<Peer>();
        peer.map(|peer| peer.address)
    })
}

impl Forwarded {
    /// What `peer` says, if it is one of these proxies.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, proxies: &[Network]) -> Option<Self> {
        let is_proxy = |address| proxies.iter().any(|network| network.contains(address));
        if !is_proxy(peer.address) {
            return None;
        }
        let mut address = peer.address;
        for hop in hops(headers) {
            // Each proxy vouches for the one address that it added, and for what a proxy before it
            // added. What cannot be read says nothing, and nothing before it is vouched for.
            let Some(hop) = address_of(hop) else {
                break;
            };
            address = hop;
            if !is_proxy(hop) {
                break;
            }
        }
        let host = first(headers, "x-forwarded-host").filter(|host| !host.is_empty());
        Some(Self {
            address,
            is_tls: first(headers, "x-forwarded-proto").and_then(|scheme| match scheme {
                "https" | "wss" => Some(true),
                "http" | "ws" => Some(false),
                _ => None,
            }),
            host: host.map(str::to_owned),
        })
    }
}

/// The entries of `X-Forwarded-For`, the last one first: each proxy adds its own at the end.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    // Of a line that is no text nothing is trusted.
    let lines = lines.map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.rsplit(',').map(str::trim))
}

/// An address, with a port or without.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()))?;
    Some(address.to_canonical())
}

/// The first entry of a header, which is the client's side.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1";

    fn forwarded(peer: &str, headers: &[(&'static str, &str)]) -> Option<Forwarded> {
        let proxies: Vec<Network> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let peer = Peer {
            address: peer.parse().unwrap(),
            is_tls: false,
        };
        Forwarded::of(peer, &map, &proxies)
    }

    fn address(lines: &[&str]) -> String {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| ("x-forwarded-for", *line))
            .collect();
        forwarded(PROXY, &headers).unwrap().address.to_string()
    }

    #[test]
    fn the_right_most_address_counts_that_is_no_proxys() {
        assert_eq!(address(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(address(&["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            address(&["1.1.1.1", "203.0.113.9 , 10.9.9.9"]),
            "203.0.113.9"
        );
        assert_eq!(address(&["1.1.1.1,203.0.113.9", "fd00::7"]), "203.0.113.9");
        assert_eq!(address(&["2001:db8::7"]), "2001:db8::7");
        for with_port in [
            "203.0.113.9:4711",
            "::ffff:203.0.113.9",
            "[::ffff:203.0.113.9]:1",
        ] {
            assert_eq!(address(&[with_port]), "203.0.113.9", "{with_port}");
        }
        assert_eq!(address(&["[2001:db8::7]"]), "2001:db8::7");
        // All of them are proxies: then the first of these asked.
        assert_eq!(address(&["10.2.2.2, 10.3.3.3"]), "10.2.2.2");
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        for garbage in [
            "",
            "unknown",
            "203.0.113.9, x",
            "203.0.113.9,",
            "203.0.113.9, _h",
            "1.2.3",
        ] {
            assert_eq!(address(&[garbage]), PROXY, "{garbage}");
        }
        assert_eq!(address(&["203.0.113.9, x, 10.3.3.3"]), "10.3.3.3");
        assert_eq!(address(&[]), PROXY);
    }

    #[test]
    fn a_stranger_says_nothing_of_clients() {
        let lie = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(forwarded("203.0.113.9", &lie), None);
        assert_eq!(forwarded("::1", &lie), None);
        assert!(forwarded("::ffff:10.0.0.1", &lie).is_some());
    }

    #[test]
    fn scheme_and_host_are_the_clients() {
        let said = forwarded(
            PROXY,
            &[
                ("x-forwarded-proto", "https, http"),
                ("x-forwarded-host", "a.example, b"),
            ],
        );
        let said = said.unwrap();
        assert_eq!(
            (said.is_tls, said.host.as_deref()),
            (Some(true), Some("a.example"))
        );
        let said = forwarded(
            PROXY,
            &[("x-forwarded-proto", "gopher"), ("x-forwarded-host", " ")],
        )
        .unwrap();
        assert_eq!((said.is_tls, said.host), (None, None));
    }

    proptest! {
        #[test]
        fn no_header_is_too_much(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                if let Ok(value) = http::HeaderValue::from_bytes(line) {
                    headers.append("x-forwarded-for", value.clone());
                    headers.append("x-forwarded-host", value);
                }
            }
            let peer = Peer { address: IpAddr::from([10, 0, 0, 1]), is_tls: true };
            let all = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            prop_assert!(Forwarded::of(peer, &headers, &all).is_some());
            prop_assert_eq!(Forwarded::of(peer, &headers, &[]), None);
        }
    }
}
