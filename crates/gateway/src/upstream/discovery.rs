//! What a start without configuration can find: providers by their keys, servers by their ports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::dialect::ProviderDialect;
use everstream_core::limits::DISCOVERY_TIMEOUT;
use everstream_core::provider::{PROVIDERS, Place, Provider, Shape, Unplaced};
use everstream_core::secret::Secret;
use futures_util::future::join_all;

use super::models::fetch_models;
use super::{BaseUrl, Upstream, UpstreamSpec};

/// What a start without configured upstreams found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Providers with a key in the environment, then model servers on this machine.
    pub upstreams: Vec<FoundUpstream>,
    /// What was seen and could not be used, in sentences.
    pub warnings: Vec<String>,
}

/// An upstream that nobody configured.
#[derive(Clone, Debug)]
pub struct FoundUpstream {
    /// Its name in routes.
    pub name: String,
    /// Its address.
    pub base_url: String,
    /// Who runs it, if that is known.
    pub provider: Option<&'static Provider>,
    /// The API that it speaks.
    pub dialect: ProviderDialect,
    /// Its key.
    pub api_key: Option<Secret>,
    /// Where it was found, for a person: `OPENAI_API_KEY`, `Ollama on port 11434`.
    pub source: String,
}

impl From<FoundUpstream> for UpstreamSpec {
    fn from(found: FoundUpstream) -> Self {
        Self {
            provider: found.provider,
            auth: found.provider.map(|provider| provider.auth),
            api_key: found.api_key,
            dialect: found.dialect,
            ..Self::new(found.name, found.base_url)
        }
    }
}

/// Looks for upstreams: keys of providers in `env`, and model servers on the usual ports of this
/// machine but our own, asked all at once for [`DISCOVERY_TIMEOUT`].
pub async fn discover(env: impl Fn(&str) -> Option<String>, own_ports: &[u16]) -> Discovery {
    let servers: Vec<_> = PROVIDERS.iter().filter_map(LocalServer::of).collect();
    discover_among(&servers, DISCOVERY_TIMEOUT, env, own_ports).await
}

/// A model server on this machine.
#[derive(Clone, Copy)]
struct LocalServer {
    provider: &'static Provider,
    port: u16,
}

impl LocalServer {
    /// On the port that it has unless told otherwise.
    fn of(provider: &'static Provider) -> Option<Self> {
        let port = provider.port?;
        Some(Self { provider, port })
    }
}

async fn discover_among(
    servers: &[LocalServer],
    budget: Duration,
    env: impl Fn(&str) -> Option<String>,
    own_ports: &[u16],
) -> Discovery {
    let mut found = from_environment(env, own_ports);
    let taken: Vec<u16> = (found.upstreams.iter())
        .filter_map(|upstream| local_port(&upstream.base_url))
        .chain(own_ports.iter().copied())
        .collect();
    let unknown = servers
        .iter()
        .filter(|server| !taken.contains(&server.port));
    let local = join_all(unknown.map(|server| probe(*server, budget))).await;
    found.upstreams.extend(local.into_iter().flatten());
    found
}

fn from_environment(env: impl Fn(&str) -> Option<String>, own_ports: &[u16]) -> Discovery {
    let read = |name: &str| {
        let value = env(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    };
    let mut found = Discovery::default();
    let mut taken = Vec::new();
    for provider in PROVIDERS {
        let mut keys = provider.keys.iter();
        let key = keys.find_map(|&name| Some((name, read(name)?)));
        // A provider in two places of the world has one variable: it is the first's.
        let key = key.filter(|(name, _)| !taken.contains(name));
        let base_url = provider.address.and_then(|name| Some((name, read(name)?)));
        let own = base_url.as_ref().filter(|(_, url)| {
            let port = local_port(url);
            port.is_some_and(|port| own_ports.contains(&port))
        });
        if let Some((name, _)) = own {
            found.warnings.push(format!(
                "{name} is the address of this gateway itself and is ignored: start the gateway \
                 without it"
            ));
            continue;
        }
        let Some(source) = key.as_ref().or(base_url.as_ref()).map(|(name, _)| *name) else {
            continue;
        };
        taken.push(source);
        let (base_url, key) = (base_url.map(|(_, url)| url), key.map(|(_, key)| key));
        if let Ok(upstream) = upstream(provider, base_url.as_deref(), key, source) {
            found.upstreams.push(upstream);
        } else {
            let address = provider.address.unwrap_or("an address");
            let warning = format!("{source} cannot be used without {address}");
            found.warnings.push(warning);
        }
    }
    found
}

fn upstream(
    provider: &'static Provider,
    address: Option<&str>,
    key: Option<String>,
    source: &'static str,
) -> Result<FoundUpstream, Unplaced> {
    let base_url = provider.base_url(&Place {
        base_url: address,
        ..Place::default()
    })?;
    let elsewhere = |url: &BaseUrl| provider.shape == Shape::Plain && !provider.is_at(url.host());
    let elsewhere = base_url.parse().is_ok_and(|url| elsewhere(&url));
    Ok(FoundUpstream {
        name: provider.name.to_owned(),
        base_url,
        // Whoever is at another address only speaks the same API.
        provider: Some(provider).filter(|_| !elsewhere),
        dialect: provider.dialect,
        api_key: key.map(Secret::new),
        source: source.to_owned(),
    })
}

/// The port of an address on this machine.
fn local_port(base_url: &str) -> Option<u16> {
    let url: BaseUrl = base_url.parse().ok()?;
    let local = match url.host().parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => url.host() == "localhost",
    };
    local.then_some(url.port())
}

/// A server counts as found when it answers with a list of models in OpenAI's form: many other
/// programs listen on these ports.
async fn probe(server: LocalServer, budget: Duration) -> Option<FoundUpstream> {
    let LocalServer { provider, port } = server;
    let found = FoundUpstream {
        name: provider.name.to_owned(),
        base_url: format!("http://127.0.0.1:{port}/v1"),
        provider: Some(provider),
        dialect: provider.dialect,
        api_key: None,
        source: format!("{} on port {port}", provider.title),
    };
    let upstream = Arc::new(Upstream::new(found.clone().into()).ok()?);
    let asked = tokio::time::timeout(budget, fetch_models(&upstream)).await;
    asked.ok()?.ok()?.openai.then_some(found)
}

#[cfg(test)]
mod tests;
