//! The keys of an issuer: fetched at start, again before they are old, and at once, though not often,
//! when a token names one that is not among them. While the issuer is gone they are used on for a
//! while.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use everstream_core::config::{Env, JwksSource, JwtIssuerConfig};
use everstream_core::id::UnixMillis;
use everstream_core::limits::{
    JWKS_BYTES, JWKS_PATIENCE, JWKS_REFRESH, JWKS_REFRESH_LEAST, JWKS_REFRESH_MOST, JWKS_STALE,
    JWKS_TIMEOUT, SECRET_FILE_REFRESH,
};
use everstream_core::policy::secrets::Life;
use everstream_core::sign::jwt::Jwks;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::upstream::document::{Document, Fetched, Way};
use crate::upstream::{Lent, Pace, Proxies, Reach, SpecError, Trouble};

/// The keys of one issuer, as far as they are known.
pub(super) struct IssuerKeys {
    held: ArcSwapOption<Held>,
    pace: Pace,
    clock: Clock,
}

struct Held {
    /// The same as before, if nothing in it changed.
    jwks: Arc<Jwks>,
    fetched_at: UnixMillis,
}

/// Fetches the keys of an issuer, and follows them.
pub(crate) struct Follower {
    keys: Arc<IssuerKeys>,
    source: Source,
}

enum Source {
    File(PathBuf),
    Url(Document),
    Discovered {
        issuer: String,
        configuration: Document,
        /// Where the keys were when it was asked last.
        jwks: Option<Box<Document>>,
    },
}

/// What matters of the document by which an issuer is discovered (`OpenID Connect Discovery 1.0`, 3).
#[derive(Deserialize)]
struct OpenId {
    issuer: String,
    jwks_uri: String,
}

/// The keys of an issuer, which [`Follower::run`] fetches.
pub(super) fn follow(
    config: &JwtIssuerConfig,
    env: &Env,
    clock: Clock,
) -> Result<(Arc<IssuerKeys>, Follower), SpecError> {
    let way = Way {
        reach: if config.allow_private {
            Reach::Private
        } else {
            Reach::Public
        },
        ca_file: config.ca_file.clone(),
        proxies: Proxies::of(env),
        timeout: JWKS_TIMEOUT,
    };
    let source = match &config.jwks {
        Some(JwksSource::File(path)) => Source::File(path.clone()),
        Some(JwksSource::Url(url)) => Source::Url(Document::new(url, way)?),
        None => {
            let base = config.issuer.trim_end_matches('/');
            let url = format!("{base}/.well-known/openid-configuration");
            Source::Discovered {
                issuer: config.issuer.clone(),
                configuration: Document::new(&url, way)?,
                jwks: None,
            }
        }
    };
    let keys = Arc::new(IssuerKeys {
        held: ArcSwapOption::empty(),
        pace: Pace::new(format!("the keys of the issuer {}", config.issuer), clock),
        clock,
    });
    let follower = Follower {
        keys: Arc::clone(&keys),
        source,
    };
    Ok((keys, follower))
}

impl IssuerKeys {
    /// Those that are known and not too old.
    pub(super) fn now(&self) -> Option<Arc<Jwks>> {
        let held = self.held.load();
        let held = held.as_ref()?;
        let age = self.clock.now().since(held.fetched_at);
        (age < JWKS_STALE).then(|| Arc::clone(&held.jwks))
    }

    /// The same; while nobody knows yet whether they can be had, that is waited for, for a moment.
    pub(super) async fn first(&self) -> Option<Arc<Jwks>> {
        if let Some(keys) = self.now() {
            return Some(keys);
        }
        let _late = timeout(JWKS_PATIENCE, self.pace.decided()).await;
        self.now()
    }

    /// Those that there are instead of `old`, asked for at once unless that was done just now.
    pub(super) async fn newer(&self, old: &Arc<Jwks>) -> Option<Arc<Jwks>> {
        let other = || self.now().filter(|keys| !Arc::ptr_eq(keys, old));
        if let Some(keys) = other() {
            return Some(keys);
        }
        let _late = timeout(JWKS_PATIENCE, self.pace.hurried()).await;
        other()
    }

    fn take(&self, jwks: Jwks) {
        let held = self.held.load();
        let same = held.as_ref().filter(|held| *held.jwks == jwks);
        let jwks = same.map_or_else(|| Arc::new(jwks), |held| Arc::clone(&held.jwks));
        let fetched_at = self.clock.now();
        self.held.store(Some(Arc::new(Held { jwks, fetched_at })));
    }
}

impl Follower {
    /// Fetches the keys when it is time, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let keys = Arc::clone(&self.keys);
        stop.run_until_cancelled(keys.pace.run(self)).await;
    }
}

impl Lent for Follower {
    async fn replace(&mut self) -> Result<Life, Trouble> {
        let fetched = self.source.read().await?;
        let jwks = Jwks::parse(&fetched.bytes);
        let place = self.source.place();
        let jwks = jwks.map_err(|error| Trouble::refused(format!("{place}: {error}")))?;
        self.keys.take(jwks);
        let time = match &self.source {
            Source::File(_) => SECRET_FILE_REFRESH,
            Source::Url(_) | Source::Discovered { .. } => {
                let time = fetched.max_age.unwrap_or(JWKS_REFRESH);
                time.clamp(JWKS_REFRESH_LEAST, JWKS_REFRESH_MOST)
            }
        };
        Ok(Life::Watched(time))
    }

    async fn renew(&mut self) -> Result<Duration, Trouble> {
        Err(Trouble::refused("keys are not lent"))
    }

    async fn superseded(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl Source {
    async fn read(&mut self) -> Result<Fetched, Trouble> {
        match self {
            Self::File(path) => read(path).await,
            Self::Url(document) => document.fetch(JWKS_BYTES).await,
            Self::Discovered {
                issuer,
                configuration,
                jwks,
            } => {
                let url = discover(issuer, configuration).await?;
                let document = match jwks.take() {
                    Some(known) if known.url() == url => known,
                    _ => Box::new(configuration.named_here(&url)?),
                };
                jwks.insert(document).fetch(JWKS_BYTES).await
            }
        }
    }

    /// Where the keys are, for messages.
    fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(document) => document.url().to_owned(),
            Self::Discovered {
                configuration,
                jwks,
                ..
            } => jwks.as_deref().unwrap_or(configuration).url().to_owned(),
        }
    }
}

/// Where an issuer says that its keys are.
async fn discover(issuer: &str, configuration: &Document) -> Result<String, Trouble> {
    let wrong = |what: &str| Trouble::refused(format!("{}: {what}", configuration.url()));
    let text = configuration.fetch(JWKS_BYTES).await?.bytes;
    let openid: OpenId = serde_json::from_slice(&text)
        .map_err(|_| wrong("this is no OpenID configuration with `issuer` and `jwks_uri`"))?;
    if openid.issuer != issuer {
        return Err(wrong("it is the configuration of another issuer"));
    }
    Ok(openid.jwks_uri)
}

async fn read(path: &Path) -> Result<Fetched, Trouble> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(told)?;
        // One byte more than there may be, so that it shows.
        let mut file = file.take(JWKS_BYTES as u64 + 1);
        file.read_to_end(&mut bytes).map_err(told)?;
        Ok(bytes)
    });
    let read = reading.await.unwrap_or_else(|error| Err(error.to_string()));
    let max_age = None;
    read.map(|bytes| Fetched { bytes, max_age })
        .map_err(Trouble::refused)
}
