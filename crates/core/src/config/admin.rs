//! The listener for operators.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::kinds::text;
use super::mistake::Fault;
use super::read::Reader;
use super::spec::Scalar;
use super::{Config, values};

/// Where operators connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl AdminListen {
    /// Where nothing is configured.
    pub const USUAL: Self = Self::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081));

    /// The address, if there is one.
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

pub(super) fn listen() -> Scalar<AdminListen> {
    text("an IP address and a port, or `off`", |text| match text {
        "off" => Ok(AdminListen::Off),
        _ => values::address(text).map(AdminListen::At),
    })
}

/// Operators have an address and a key of their own.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let Some(listen) = config.admin.listen.address() else {
        return;
    };
    let doubtful = reader.doubtful("admin.listen") || reader.doubtful("listen");
    if listen == config.listen && listen.port() != 0 && !doubtful {
        let fault = Fault::from("clients connect to this address (listen)")
            .hint("choose another port, or `off`");
        reader.note_at("admin.listen", fault);
    }
    let Some(key) = &config.admin.key else {
        let public = !listen.ip().to_canonical().is_loopback();
        if public && !doubtful && !reader.doubtful("admin.key") {
            let problem = "this address can be reached from other machines, and there is no key";
            let fault = Fault::from(problem)
                .hint("set `key` in `[admin]` or EVERSTREAM_ADMIN_KEY, or listen on 127.0.0.1");
            reader.note_at("admin.listen", fault);
        }
        return;
    };
    let hash = values::key_hash(key.expose());
    if config.keys.iter().any(|client| client.hash == hash) {
        reader.note_at("admin.key", "this is the key of a client".into());
    }
}
