//! What a start without configuration can find: providers by their keys, servers by their ports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::dialect::ProviderDialect;
use everstream_core::limits::DISCOVERY_TIMEOUT;
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
            api_key: found.api_key,
            dialect: found.dialect,
            ..Self::new(found.name, found.base_url)
        }
    }
}

/// Looks for upstreams: keys of providers in `env`, and model servers on the usual ports of this
/// machine but our own, asked all at once for [`DISCOVERY_TIMEOUT`].
pub async fn discover(env: impl Fn(&str) -> Option<String>, own_ports: &[u16]) -> Discovery {
    discover_among(&LOCAL_SERVERS, DISCOVERY_TIMEOUT, env, own_ports).await
}

/// A provider, by its key.
struct Provider {
    name: &'static str,
    key: &'static str,
    base_url: &'static str,
}

/// A provider whose SDK can be pointed elsewhere.
struct Movable {
    provider: Provider,
    address: &'static str,
    dialect: ProviderDialect,
}

const MOVABLE: [Movable; 2] = [
    Movable {
        provider: Provider {
            name: "openai",
            key: "OPENAI_API_KEY",
            base_url: "https://api.openai.com/v1",
        },
        address: "OPENAI_BASE_URL",
        dialect: ProviderDialect::OpenAiChat,
    },
    Movable {
        provider: Provider {
            name: "anthropic",
            key: "ANTHROPIC_API_KEY",
            base_url: "https://api.anthropic.com/v1",
        },
        address: "ANTHROPIC_BASE_URL",
        dialect: ProviderDialect::Anthropic,
    },
];

/// They speak OpenAI's dialect. Addresses as the providers publish them, looked up on 2026-11-22.
const PROVIDERS: [Provider; 6] = [
    Provider {
        name: "groq",
        key: "GROQ_API_KEY",
        base_url: "https://api.groq.com/openai/v1",
    },
    Provider {
        name: "mistral",
        key: "MISTRAL_API_KEY",
        base_url: "https://api.mistral.ai/v1",
    },
    Provider {
        name: "deepseek",
        key: "DEEPSEEK_API_KEY",
        base_url: "https://api.deepseek.com",
    },
    Provider {
        name: "openrouter",
        key: "OPENROUTER_API_KEY",
        base_url: "https://openrouter.ai/api/v1",
    },
    Provider {
        name: "together",
        key: "TOGETHER_API_KEY",
        base_url: "https://api.together.xyz/v1",
    },
    Provider {
        name: "xai",
        key: "XAI_API_KEY",
        base_url: "https://api.x.ai/v1",
    },
];

/// Keys of providers whose dialects are not spoken yet.
const OTHER_KEYS: [&str; 1] = ["GEMINI_API_KEY"];

/// A model server and the port it has unless told otherwise.
#[derive(Clone, Copy)]
struct LocalServer {
    name: &'static str,
    title: &'static str,
    port: u16,
}

const LOCAL_SERVERS: [LocalServer; 5] = [
    LocalServer {
        name: "ollama",
        title: "Ollama",
        port: 11434,
    },
    LocalServer {
        name: "llama.cpp",
        title: "llama.cpp",
        port: 8080,
    },
    LocalServer {
        name: "vllm",
        title: "vLLM",
        port: 8000,
    },
    LocalServer {
        name: "lmstudio",
        title: "LM Studio",
        port: 1234,
    },
    LocalServer {
        name: "smollm",
        title: "Everstream's small model",
        port: 24080,
    },
];

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
    for Movable {
        provider,
        address,
        dialect,
    } in &MOVABLE
    {
        let (base_url, key) = (read(address), read(provider.key));
        let port = base_url.as_deref().and_then(local_port);
        if port.is_some_and(|port| own_ports.contains(&port)) {
            found.warnings.push(format!(
                "{address} is the address of this gateway itself and is ignored: start the gateway \
                 without it"
            ));
        } else if base_url.is_some() || key.is_some() {
            let source = if key.is_some() { provider.key } else { address };
            found.upstreams.push(FoundUpstream {
                name: provider.name.to_owned(),
                base_url: base_url.unwrap_or_else(|| provider.base_url.to_owned()),
                dialect: *dialect,
                api_key: key.map(Secret::new),
                source: source.to_owned(),
            });
        }
    }
    for provider in &PROVIDERS {
        if let Some(key) = read(provider.key) {
            found.upstreams.push(FoundUpstream {
                name: provider.name.to_owned(),
                base_url: provider.base_url.to_owned(),
                dialect: ProviderDialect::OpenAiChat,
                api_key: Some(Secret::new(key)),
                source: provider.key.to_owned(),
            });
        }
    }
    let others: Vec<_> = OTHER_KEYS
        .into_iter()
        .filter(|name| read(name).is_some())
        .collect();
    if found.upstreams.is_empty() && !others.is_empty() {
        found.warnings.push(format!(
            "{} cannot be used yet: only OpenAI's API, those like it and Anthropic's are supported",
            others.join(" and ")
        ));
    }
    found
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
    let base_url = format!("http://127.0.0.1:{}/v1", server.port);
    let found = FoundUpstream {
        name: server.name.to_owned(),
        base_url,
        dialect: ProviderDialect::OpenAiChat,
        api_key: None,
        source: format!("{} on port {}", server.title, server.port),
    };
    let upstream = Arc::new(Upstream::new(found.clone().into()).ok()?);
    let asked = tokio::time::timeout(budget, fetch_models(&upstream)).await;
    asked.ok()?.ok()?.openai.then_some(found)
}

#[cfg(test)]
mod tests;
