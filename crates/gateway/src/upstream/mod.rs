//! The way to the model providers: an HTTP/1.1 client that reads a socket in the task that uses
//! what it brings, the pool of its connections, HTTP/2 where it is offered, and the directory of who
//! serves which model.
//!
//! A general client hands each HTTP chunk over to another task, one by one; here all that one read
//! brought comes as one piece, and a stream that waits holds no read buffer.

mod ask;
pub mod assemble;
mod auth;
mod aws;
mod body;
mod client;
mod connection;
mod dial;
pub mod discovery;
pub(crate) mod document;
mod error;
mod exchange;
mod google;
mod guard;
pub mod health;
mod link;
pub mod models;
mod overview;
mod pool;
mod probe;
mod proxy;
mod routes;
mod secrets;
mod shared;
mod socket;
mod standing;
#[cfg(test)]
mod tests;
mod tls;
mod upload;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use everstream_core::dialect::ProviderDialect;
use everstream_core::limits;
use everstream_core::provider::{Auth, Provider};
use everstream_core::secret::Secret;

pub use aws::AwsSigner;
pub use body::Body;
pub use client::{Dialling, Request, Response, Transport, Upstream};
pub use connection::Io;
pub use discovery::{Discovery, FoundUpstream, discover};
pub use error::{SpecError, UpstreamError, UpstreamErrorKind};
pub use guard::Reach;
pub use link::LinkSight;
pub use models::{ModelDirectory, ModelEntry, Route};
pub use overview::{DeploymentSight, UpstreamSight};
pub use proxy::Proxies;
pub use routes::{Deployment, Routed, Shadow};
pub(crate) use secrets::{Lent, Pace, Trouble};
pub use socket::{Socket, SocketError};
pub use upload::{Source, Upload};
pub use url::{BaseUrl, UrlError};

/// What there is to say about an upstream, from the configuration or from discovery.
#[derive(Clone)]
pub struct UpstreamSpec {
    /// Its name in routes, headers, errors and the log.
    pub name: String,
    /// Scheme, host, port and path prefix, which usually ends in `/v1`.
    pub base_url: String,
    /// Who runs it. If absent, its host says who, if that is known.
    pub provider: Option<&'static Provider>,
    /// The API that it speaks.
    pub dialect: ProviderDialect,
    /// Sent as `auth` says, unless `headers` has that header.
    pub api_key: Option<Secret>,
    /// Keys that take turns with it.
    pub further_keys: Vec<Secret>,
    /// How it knows us; as its dialect has it, if absent.
    pub auth: Option<Auth>,
    /// The key of a service account of Google's; without it the machine's own is asked for tokens.
    pub credentials: Option<PathBuf>,
    /// The host that knows the machine's own account, if it is not the usual one.
    pub metadata_host: Option<String>,
    /// Azure's `api-version`; with it, the deployment is in the path.
    pub api_version: Option<String>,
    /// Signs every request, for AWS. Then there is no `api_key`.
    pub aws: Option<AwsSigner>,
    /// A part of what it is called with is not to be had yet: nothing is sent.
    pub awaited: bool,
    /// Further headers of every request; each replaces the one that Everstream would send.
    pub headers: Vec<(String, String)>,
    /// Where it is, as its operator calls that.
    pub region: Option<String>,
    /// Its models; without them the upstream is asked.
    pub models: Option<Vec<String>>,
    /// How far its name may lead; an address that stands in `base_url` is meant.
    pub reach: Reach,
    /// The proxies, one of which may be on the way to it.
    pub proxies: Proxies,
    /// The most connections that are kept while nobody needs them.
    pub idle_connections: usize,
    /// How long such a one is kept.
    pub idle_timeout: Duration,
    /// Whether it is spoken to in HTTP/2 if it offers that, which goes by TLS alone.
    pub http2: bool,
    /// Longest time to resolve its name, connect and agree on TLS.
    pub connect_timeout: Duration,
    /// PEM file of certificates to trust for this upstream beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether it understands `stream_options.include_usage`; as its provider does, if absent.
    pub include_usage: Option<bool>,
    /// Longest time to the head of its answer, if that has a bound of its own.
    pub head_timeout: Option<Duration>,
    /// Longest silence before its first event.
    pub first_event_timeout: Duration,
    /// Longest silence between two events.
    pub event_timeout: Duration,
    /// Longest time for a whole answer, if there is one.
    pub total_timeout: Option<Duration>,
    /// The most requests for one of its models under way at once.
    pub max_concurrency: Option<u32>,
    /// With it that bound adapts itself, never below this.
    pub min_concurrency: Option<u32>,
    /// How often it is asked whether it is there, beside what the traffic shows.
    pub probe_interval: Option<Duration>,
    /// What it is asked for then; the list of models if absent.
    pub probe_path: Option<String>,
}

impl UpstreamSpec {
    /// An upstream with the default timeouts, no key and no list of models.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base_url: base_url.into(),
            provider: None,
            dialect: ProviderDialect::OpenAiChat,
            api_key: None,
            further_keys: Vec::new(),
            auth: None,
            credentials: None,
            metadata_host: None,
            api_version: None,
            aws: None,
            awaited: false,
            headers: Vec::new(),
            region: None,
            models: None,
            reach: Reach::default(),
            proxies: Proxies::default(),
            idle_connections: limits::UPSTREAM_IDLE_CONNECTIONS,
            idle_timeout: limits::UPSTREAM_IDLE_TIMEOUT,
            http2: true,
            connect_timeout: limits::UPSTREAM_CONNECT_TIMEOUT,
            ca_file: None,
            include_usage: None,
            head_timeout: None,
            first_event_timeout: limits::UPSTREAM_FIRST_EVENT_TIMEOUT,
            event_timeout: limits::UPSTREAM_EVENT_TIMEOUT,
            total_timeout: None,
            max_concurrency: None,
            min_concurrency: None,
            probe_interval: None,
            probe_path: None,
        }
    }
}

impl fmt::Debug for UpstreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of headers may be keys, and an unchecked URL may hold a password.
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("UpstreamSpec")
            .field("name", &self.name)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}
