//! `[admin]`: the listener for operators.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::describe::{choices, settings};
use super::kinds::{choice, flag, text};
use super::mistake::Fault;
use super::read::Reader;
use super::spec::{Scalar, sections};
use super::{Config, TlsConfig, address, values};
use crate::secret::Secret;

settings! {
    /// `[admin]`: the listener for operators: keys, budgets, usage, the state of the upstreams,
    /// metrics.
    pub struct AdminConfig {
        /// Its address, or `off`. Clients have nothing to look for there. Beyond loopback, a key and
        /// TLS are required. If the usual address is taken, the gateway runs without this listener.
        listen: AdminListen = listen()
            .or(AdminListen::USUAL)
            .variable("EVERSTREAM_ADMIN_LISTEN");
        /// The key that operators show, as `Authorization: Bearer`; no key of a client is one. Who
        /// shows it is `operator` in the audit log. Without it and without `[[admin.operators]]`,
        /// every program on this machine may use the listener.
        key: Option<Secret> = values::secret()
            .example("${EVERSTREAM_ADMIN_KEY}")
            .variable("EVERSTREAM_ADMIN_KEY")
            .optional();
        /// Whether TLS is spoken, with the certificate of `[tls]`. If absent, beyond loopback, where it
        /// is needed; there, `false` says that a proxy in front speaks it.
        tls: Option<bool> = flag().example(true).optional();
        /// Operators with names, which stand in the audit log, and keys of their own.
        operators: Vec<OperatorConfig> = sections();
    }
}

settings! {
    /// `[[admin.operators]]`: an operator.
    pub struct OperatorConfig {
        /// The name, as the audit log has it.
        name: String = values::name().example("alice").unique();
        /// The key.
        key: Secret = values::secret().example("${ALICE_ADMIN_KEY}");
        /// What it is good for: `write` for all, `read` for looking.
        role: OperatorRole = choice().or(OperatorRole::Write);
    }
}

choices! {
    /// What an operator may do.
    pub enum OperatorRole {
        /// Look.
        Read = "read",
        /// Look and change.
        Write = "write",
    }
}

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
        _ => address::address(text).map(AdminListen::At),
    })
}

impl Config {
    /// What the listener for operators speaks TLS with; `None` if it speaks in the clear. Operators are
    /// known by their keys, so they are asked for no certificates.
    pub fn admin_tls(&self) -> Option<TlsConfig> {
        let listen = self.admin.listen.address()?;
        let is_wanted = self.admin.tls.unwrap_or_else(|| is_public(listen));
        (is_wanted && self.tls.certificate.is_some()).then(|| TlsConfig {
            client_ca: None,
            ..self.tls.clone()
        })
    }
}

impl AdminConfig {
    /// Whether anybody has a key: nobody is let in without one then.
    pub fn has_keys(&self) -> bool {
        self.key.is_some() || !self.operators.is_empty()
    }
}

fn is_public(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

/// Operators have an address and keys of their own.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    keys(config, reader);
    let Some(listen) = config.admin.listen.address() else {
        return;
    };
    let doubtful = reader.doubtful("admin.listen") || reader.doubtful("listen");
    if listen == config.listen && listen.port() != 0 && !doubtful {
        let fault = Fault::from("clients connect to this address (listen)")
            .hint("choose another port, or `off`");
        reader.note_at("admin.listen", fault);
    }
    let is_doubtful = |reader: &Reader<'_>, field| doubtful || reader.doubtful(field);
    if !config.admin.has_keys() && is_public(listen) && !is_doubtful(reader, "admin.key") {
        let problem = "this address can be reached from other machines, and there is no key";
        let fault = Fault::from(problem)
            .hint("set `key` in `[admin]` or EVERSTREAM_ADMIN_KEY, or listen on 127.0.0.1");
        reader.note_at("admin.listen", fault);
    }
    tls(config, listen, doubtful, reader);
}

fn tls(config: &Config, listen: SocketAddr, doubtful: bool, reader: &mut Reader<'_>) {
    if config.tls.certificate.is_some() || reader.doubtful("tls.certificate") {
        return;
    }
    if config.admin.tls == Some(true) {
        let fault = Fault::from("there is no certificate").hint("configure `[tls]`");
        reader.note_at("admin.tls", fault);
    }
    let is_unsaid = config.admin.tls.is_none() && !reader.doubtful("admin.tls");
    if is_public(listen) && is_unsaid && !doubtful {
        let problem = "this address can be reached from other machines, which could read keys on \
                       the way: there is no TLS";
        let fault = Fault::from(problem)
            .hint("configure `[tls]`, or set `tls = false` in `[admin]` if a proxy speaks it");
        reader.note_at("admin.listen", fault);
    }
}

/// No key is that of two, as it would not tell whose it is.
fn keys(config: &Config, reader: &mut Reader<'_>) {
    let operators = config.admin.operators.iter().enumerate();
    let operators = operators.map(|(n, one)| (format!("admin.operators[{n}].key"), &one.key));
    let own = config.admin.key.iter();
    let own = own.map(|key| ("admin.key".to_owned(), key));
    let mut seen = Vec::new();
    for (field, key) in own.chain(operators) {
        let hash = values::key_hash(key.expose());
        if config.keys.iter().any(|client| client.hash == hash) {
            reader.note_at(&field, "this is the key of a client".into());
        }
        // The command line of an operator has its key in EVERSTREAM_ADMIN_KEY, which is `admin.key`.
        if field != "admin.key" {
            if seen.contains(&hash) {
                reader.note_at(&field, "this is the key of another operator".into());
            }
            seen.push(hash);
        }
    }
}
