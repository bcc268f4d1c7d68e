//! What all commands for operators have: which listener they talk to, lists of many pages, times.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everstream_core::config::Env;
use everstream_core::units::parse_duration;
use serde_json::Value;

use super::gateway::{Gateway, encoded};
use super::streams::{table, utc};
use super::{ConfigArgs, Failure, GatewayArgs};

/// Which listener, and how it is found.
pub(super) const ABOUT: &str = "\
Asks the listener for operators of a running gateway, which is where the configuration says
(admin.listen, admin.key), or at --url with the key in EVERSTREAM_ADMIN_KEY.";

/// Which listener for operators to talk to.
#[derive(Debug, clap::Args)]
pub(super) struct OperatorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The address of the listener for operators; that of the configuration if absent
    #[arg(long)]
    url: Option<String>,
}

impl OperatorArgs {
    /// The listener that is meant. Nothing is connected yet.
    pub(super) fn gateway(&self, env: &Env) -> Result<Gateway, Failure> {
        let config = self.config.load(env)?;
        let url = match (&self.url, config.admin.listen.address()) {
            (Some(url), _) => url.clone(),
            (None, Some(listen)) => {
                let scheme = config.admin_tls().map_or("http", |_| "https");
                format!("{scheme}://{}", reachable(listen))
            }
            (None, None) => {
                let message =
                    "the configuration has no listener for operators (admin.listen is off)";
                return Err(Failure::Other(message.to_owned()));
            }
        };
        let api_key = config.admin.key;
        let gateway = GatewayArgs { url, api_key }.gateway(&[])?;
        Ok(gateway.key_from("admin.key or EVERSTREAM_ADMIN_KEY"))
    }
}

/// Where a program on this machine finds who listens there.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A path with the parameters that have values.
pub(super) fn path(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| {
        let value = encoded(value.as_ref()?);
        Some(format!("{name}={value}"))
    });
    let given: Vec<String> = given.collect();
    if given.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", given.join("&"))
    }
}

/// Prints a list, page after page: as a table with `titles`, or each entry as a line of JSON.
pub(super) async fn list<const N: usize>(
    gateway: &Gateway,
    (at, query): (&str, &[(&str, Option<&str>)]),
    as_json: bool,
    (titles, row): ([&str; N], impl Fn(&Value) -> [String; N]),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut rows = vec![titles.map(str::to_owned)];
    let mut after: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.push(("after", after.as_deref()));
        let page = gateway.get(&path(at, &query)).await?;
        for entry in page["data"].as_array().into_iter().flatten() {
            if as_json {
                writeln!(out, "{entry}")?;
            } else {
                rows.push(row(entry));
            }
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    if !as_json {
        write!(out, "{}", table(&rows))?;
    }
    Ok(())
}

/// A list of names as a cell.
pub(super) fn names(list: &Value) -> String {
    let Some(list) = list.as_array() else {
        return "all".to_owned();
    };
    let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        super::gateway::printable(&names.join(" "))
    }
}

/// A time in milliseconds as a cell.
pub(super) fn time(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "-".to_owned(), |at| utc(Duration::from_millis(at)))
}

/// The time so long from now, in milliseconds since 1970.
pub(super) fn from_now(text: &str) -> Result<u64, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = now.unwrap_or_default().saturating_add(duration);
    u64::try_from(at.as_millis()).map_err(|error| error.to_string())
}
