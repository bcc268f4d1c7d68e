//! The upstreams of this run: the configured ones, or else what is found here.

use std::sync::Arc;

use everstream_core::config::{Config, Env, SecretSource, UpstreamConfig};
use everstream_core::dialect::ProviderDialect;
use everstream_core::provider::Shape;
use everstream_core::secret::Secret;

use super::aws;
use super::discovery::{Discovery, discover};
use super::secrets::Keeper;
use super::{Proxies, Reach, SpecError, Upstream, UpstreamSpec};

/// Where Google's libraries look for the host of the metadata server.
const METADATA_HOST: &str = "GCE_METADATA_HOST";

/// Upstreams, and what there is to say about how they came about.
#[derive(Debug, Default)]
pub struct Assembled {
    /// In order of preference.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Where each comes from, for people: `OPENAI_API_KEY`, a port, the configuration.
    pub sources: Vec<String>,
    /// What was seen and could not be used, in sentences.
    pub warnings: Vec<String>,
}

/// The configured upstreams; without any, those that the environment and this machine offer. Secrets
/// that are in files or in Vault are waited for a while; upstreams whose secrets are late take
/// requests as soon as they are there.
///
/// # Errors
/// When a configured upstream's address or certificates are unusable.
pub async fn assemble(config: &Config, env: &Env) -> Result<Assembled, SpecError> {
    let mut assembled = Assembled::default();
    let keeper = Keeper::start(config).await?;
    for upstream in &config.upstreams {
        let made = match &keeper {
            None => Arc::new(Upstream::new(spec(upstream, env, &literal)?)?),
            Some(keeper) => {
                let (described, env) = (upstream.clone(), env.clone());
                let describe = move |find: Find<'_>| spec(&described, &env, find);
                keeper.upstream(upstream, Box::new(describe))?
            }
        };
        assembled.upstreams.push(made);
        assembled.sources.push("configuration".to_owned());
    }
    if !config.upstreams.is_empty() {
        return Ok(assembled);
    }
    let own_ports = [config.listen.port()];
    let found = discover(|name| env.non_empty(name).map(str::to_owned), &own_ports).await;
    let Discovery {
        upstreams,
        warnings,
    } = found;
    assembled.warnings = warnings;
    for found in upstreams {
        let source = found.source.clone();
        let spec = UpstreamSpec {
            proxies: Proxies::of(env),
            ..found.into()
        };
        match Upstream::new(spec) {
            Ok(upstream) => {
                assembled.upstreams.push(Arc::new(upstream));
                assembled.sources.push(source);
            }
            // Nobody configured it, so it is no reason not to start.
            Err(error) => assembled.warnings.push(error.to_string()),
        }
    }
    Ok(assembled)
}

/// Finds secrets where they are now.
type Find<'f> = &'f dyn Fn(&SecretSource) -> Option<Secret>;

fn literal(source: &SecretSource) -> Option<Secret> {
    source.literal().cloned()
}

fn spec(config: &UpstreamConfig, env: &Env, find: Find<'_>) -> Result<UpstreamSpec, SpecError> {
    let header = |(name, value): &(String, SecretSource)| {
        let value = find(value)?;
        Some((name.clone(), value.expose().to_owned()))
    };
    let headers: Vec<_> = config.headers.iter().filter_map(header).collect();
    let mut keys = config.keys().filter_map(find).peekable();
    // One key is enough of several.
    let keyless = keys.peek().is_none() && config.keys().next().is_some();
    let mut spec = UpstreamSpec {
        provider: config.provider,
        dialect: config.dialect(),
        auth: Some(config.auth()),
        credentials: config.credentials.clone(),
        metadata_host: env.non_empty(METADATA_HOST).map(str::to_owned),
        api_version: api_version(config),
        api_key: keys.next(),
        further_keys: keys.collect(),
        awaited: keyless || headers.len() < config.headers.len(),
        headers,
        models: config.models.clone(),
        reach: reach(config),
        proxies: Proxies::of(env),
        idle_connections: config.idle_connections,
        idle_timeout: config.idle_timeout,
        http2: config.http2,
        region: (config.region.clone())
            .or_else(|| config.aws_region.clone())
            .or_else(|| config.location.clone()),
        connect_timeout: config.connect_timeout,
        ca_file: config.ca_file.clone(),
        include_usage: config.include_usage,
        head_timeout: config.head_timeout,
        first_event_timeout: config.first_event_timeout,
        event_timeout: config.event_timeout,
        total_timeout: config.total_timeout,
        max_concurrency: config.max_concurrency,
        min_concurrency: config.min_concurrency,
        probe_interval: config.probe_interval,
        probe_path: config.probe_path.clone(),
        ..UpstreamSpec::new(config.name(), config.base_url())
    };
    if spec.dialect == ProviderDialect::Bedrock {
        aws::authorize(&mut spec, config, env, find)?;
    }
    Ok(spec)
}

fn reach(config: &UpstreamConfig) -> Reach {
    if config.allow_link_local {
        Reach::LinkLocal
    } else if config.allow_private {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Azure's, for nobody else has such paths.
fn api_version(config: &UpstreamConfig) -> Option<String> {
    let azure = (config.provider).is_some_and(|provider| provider.shape == Shape::Azure);
    config.api_version.clone().filter(|_| azure)
}
