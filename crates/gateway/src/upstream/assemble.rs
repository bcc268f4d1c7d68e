//! The upstreams of this run: the configured ones, or else what is found here.

use std::sync::Arc;

use everstream_core::config::{Config, Env, UpstreamConfig, UpstreamDialect};
use everstream_core::dialect::ProviderDialect;

use super::aws;
use super::discovery::{Discovery, discover};
use super::{SpecError, Upstream, UpstreamSpec};

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

/// The configured upstreams; without any, those that the environment and this machine offer.
///
/// # Errors
/// When a configured upstream's address or certificates are unusable.
pub async fn assemble(config: &Config, env: &Env) -> Result<Assembled, SpecError> {
    let mut assembled = Assembled::default();
    for upstream in &config.upstreams {
        assembled
            .upstreams
            .push(Arc::new(Upstream::new(spec(upstream, env)?)?));
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
        match Upstream::new(found.into()) {
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

fn spec(config: &UpstreamConfig, env: &Env) -> Result<UpstreamSpec, SpecError> {
    let headers = config.headers.iter();
    let mut spec = UpstreamSpec {
        dialect: match config.dialect {
            UpstreamDialect::OpenAi => ProviderDialect::OpenAiChat,
            UpstreamDialect::Responses => ProviderDialect::OpenAiResponses,
            UpstreamDialect::Anthropic => ProviderDialect::Anthropic,
            UpstreamDialect::Gemini => ProviderDialect::Gemini,
            UpstreamDialect::Bedrock => ProviderDialect::Bedrock,
            UpstreamDialect::Cohere => ProviderDialect::Cohere,
        },
        api_key: config.api_key.clone(),
        headers: headers
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        models: config.models.clone(),
        connect_timeout: config.connect_timeout,
        ca_file: config.ca_file.clone(),
        include_usage: config.include_usage,
        first_event_timeout: config.first_event_timeout,
        event_timeout: config.event_timeout,
        ..UpstreamSpec::new(&config.name, &config.base_url)
    };
    if config.dialect == UpstreamDialect::Bedrock {
        aws::authorize(&mut spec, config, env)?;
    }
    Ok(spec)
}
