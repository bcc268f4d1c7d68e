//! Who serves which model.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use everstream_core::config::Config;
use everstream_core::dialect::{Affinity, ProviderDialect};
use everstream_core::limits::{
    UPSTREAM_MODELS_BYTES, UPSTREAM_MODELS_REFRESH, UPSTREAM_MODELS_RETRY, UPSTREAM_MODELS_TIMEOUT,
};
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::recovery::OnCut;
use everstream_core::policy::route::{self, Candidate, NotFound};
use everstream_core::provider::Provider;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::Healths;
use super::routes::{ConfiguredRoute, Deployment, Routed};
use super::{Request, Upstream, UpstreamError};

/// Who serves which model: the upstreams' own lists, and the configuration's.
#[derive(Debug)]
pub struct ModelDirectory {
    listings: Vec<Listing>,
    aliases: BTreeMap<String, String>,
    routes: Vec<ConfiguredRoute>,
    healths: Healths,
}

/// Where a request for a model goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Who is asked.
    pub upstream: Arc<Upstream>,
    /// The model's name there.
    pub model: String,
}

/// A name that clients can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name.
    pub id: String,
    /// The upstream that a request for it goes to.
    pub upstream: String,
}

#[derive(Debug)]
struct Listing {
    upstream: Arc<Upstream>,
    models: ArcSwapOption<Vec<String>>,
    /// The last attempt failed, and that was logged.
    failing: AtomicBool,
    /// It failed in a way that may pass soon.
    unreachable: AtomicBool,
}

impl ModelDirectory {
    /// A directory of `upstreams`, the preferred ones first. Those whose specification names no
    /// models are asked by [`run`](Self::run).
    pub fn new(upstreams: Vec<Arc<Upstream>>, aliases: BTreeMap<String, String>) -> Self {
        let listings = upstreams.into_iter().map(|upstream| Listing {
            models: ArcSwapOption::from_pointee(upstream.spec().models.clone()),
            upstream,
            failing: AtomicBool::new(false),
            unreachable: AtomicBool::new(true),
        });
        Self {
            listings: listings.collect(),
            aliases,
            routes: Vec::new(),
            healths: Healths::new(),
        }
    }

    /// A directory of `upstreams` with what the configuration says of models.
    pub fn from_config(upstreams: Vec<Arc<Upstream>>, config: &Config) -> Self {
        let mut directory = Self::new(upstreams, config.aliases.clone());
        let upstreams: Vec<_> = directory.upstreams().cloned().collect();
        let prices = config.price_table();
        let route = |route| ConfiguredRoute::new(route, &prices, &upstreams, &directory.healths);
        directory.routes = config.routes.iter().map(route).collect();
        directory
    }

    /// Calls `hear` whenever there may be room: an attempt at a deployment is over, a probe came back,
    /// or an operator took something out or back in.
    pub fn on_room(&self, hear: impl Fn() + Send + Sync + 'static) {
        self.healths.bell.answer(hear);
    }

    /// Who may answer a request of this dialect for `model`, in the order in which they are asked:
    /// a route of the configuration, or else the one upstream that [`route`](Self::route) finds.
    /// `affinity` is what requests have in common.
    pub fn deployments(
        &self,
        model: &str,
        native: ProviderDialect,
        affinity: impl FnOnce() -> Affinity,
    ) -> Result<Routed, NotFound> {
        if let Some(routed) = self
            .configured(model)
            .and_then(|route| route.order(affinity))
        {
            return Ok(routed);
        }
        let Route { upstream, model } = self.listed(model, native)?;
        let keys = u32::try_from(upstream.keys()).unwrap_or(u32::MAX);
        Ok(Routed {
            first: Deployment::new(&upstream, &model, &self.healths, false),
            others: Vec::new(),
            shadows: Vec::new(),
            attempts: AttemptPolicy {
                attempts: keys.min(AttemptPolicy::default().attempts),
                ..AttemptPolicy::ONE
            },
            on_cut: OnCut::Fail,
        })
    }

    /// Where a request of this dialect for `model` goes first; [`route::route`] has the rules for
    /// what is on no route of the configuration.
    pub fn route(&self, model: &str, native: ProviderDialect) -> Result<Route, NotFound> {
        let configured = self
            .configured(model)
            .and_then(|route| route.order(Affinity::default));
        configured.map_or_else(
            || self.listed(model, native),
            |Routed { first, .. }| {
                Ok(Route {
                    upstream: first.upstream,
                    model: first.model,
                })
            },
        )
    }

    /// What limits call a model, by whichever of its names it is asked: the route's name, or else the
    /// name at the upstream.
    pub fn known_as(&self, model: &str, native: ProviderDialect) -> String {
        if let Some(route) = self.configured(model) {
            return route.model.clone();
        }
        let listed = self.listed(model, native);
        listed.map_or_else(|_| model.to_owned(), |route| route.model)
    }

    /// The route of a model or an alias.
    fn configured(&self, model: &str) -> Option<&ConfiguredRoute> {
        let name = self.aliases.get(model).map_or(model, String::as_str);
        self.routes.iter().find(|route| route.model == name)
    }

    fn listed(&self, model: &str, native: ProviderDialect) -> Result<Route, NotFound> {
        self.with_candidates(native, |candidates| {
            let choice = route::route(model, &self.aliases, candidates)?;
            Ok(Route {
                upstream: Arc::clone(&self.listings[choice.upstream].upstream),
                model: choice.model.to_owned(),
            })
        })
    }

    /// All names that are known: the aliases, the routes, then the models in the order of the upstreams. A name
    /// that several upstreams list appears once, with the one that serves it.
    pub fn list(&self) -> Vec<ModelEntry> {
        self.with_candidates(ProviderDialect::OpenAiChat, |candidates| {
            let models = candidates.iter().filter_map(|candidate| candidate.models);
            let mut seen = HashSet::new();
            let routes = self.routes.iter().map(|route| &route.model);
            let names = self.aliases.keys().chain(routes).chain(models.flatten());
            let entries = names
                .filter(|name| seen.insert(name.as_str()))
                .filter_map(|name| {
                    let configured = self
                        .configured(name)
                        .and_then(|route| route.order(Affinity::default));
                    let upstream = if let Some(routed) = configured {
                        routed.first.upstream.name().to_owned()
                    } else {
                        let choice = route::route(name, &self.aliases, candidates).ok()?;
                        candidates[choice.upstream].name.to_owned()
                    };
                    let id = name.clone();
                    Some(ModelEntry { id, upstream })
                });
            entries.collect()
        })
    }

    /// The upstreams in order.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.listings.iter().map(|listing| &listing.upstream)
    }

    /// Asks every upstream for its models, all at the same time. One that fails keeps the list it
    /// had.
    pub async fn refresh(&self) {
        self.refresh_where(|_| true).await;
    }

    /// What is known of the deployments.
    pub(super) fn healths(&self) -> &Healths {
        &self.healths
    }

    /// The models whose routes lead to a model of an upstream.
    pub(super) fn routes_to(&self, upstream: &str, model: &str) -> Vec<String> {
        let routes = self
            .routes
            .iter()
            .filter(|route| route.leads_to(upstream, model));
        routes.map(|route| route.model.clone()).collect()
    }

    /// Looks all connections over; see [`UPSTREAM_WATCH`](everstream_core::limits::UPSTREAM_WATCH).
    pub fn watch(&self) {
        self.upstreams().for_each(|upstream| upstream.watch());
    }

    /// Takes leave of upstreams on the connections that nobody uses, where there are words for it.
    pub fn close_idle(&self) {
        self.upstreams().for_each(|upstream| upstream.close_idle());
    }

    /// Keeps the lists fresh until `stop`. An upstream that could not be reached is asked again
    /// soon, as it may just be starting.
    pub async fn run(&self, stop: CancellationToken) {
        let work = async {
            loop {
                let refreshed = Instant::now();
                self.refresh().await;
                while refreshed.elapsed() < UPSTREAM_MODELS_REFRESH {
                    tokio::time::sleep(UPSTREAM_MODELS_RETRY).await;
                    let unreachable = |l: &Listing| l.unreachable.load(Ordering::Relaxed);
                    self.refresh_where(unreachable).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn refresh_where(&self, wanted: impl Fn(&Listing) -> bool) {
        let unfixed = |listing: &&Listing| {
            let lists = |provider: &Provider| provider.lists_models;
            let upstream = &listing.upstream;
            upstream.spec().models.is_none() && upstream.provider().is_none_or(lists)
        };
        let due = self
            .listings
            .iter()
            .filter(unfixed)
            .filter(|listing| wanted(listing));
        join_all(due.map(Listing::refresh)).await;
    }

    fn with_candidates<R>(
        &self,
        native: ProviderDialect,
        decide: impl FnOnce(&[Candidate<'_>]) -> R,
    ) -> R {
        let load = |listing: &Listing| listing.models.load_full();
        let models: Vec<_> = self.listings.iter().map(load).collect();
        let candidates = self
            .listings
            .iter()
            .zip(&models)
            .map(|(listing, models)| Candidate {
                name: listing.upstream.name(),
                models: models.as_ref().map(|models| models.as_slice()),
                native: listing.upstream.speaks(native),
            });
        decide(&candidates.collect::<Vec<_>>())
    }
}

impl Listing {
    async fn refresh(&self) {
        let fetched = tokio::time::timeout(UPSTREAM_MODELS_TIMEOUT, fetch_models(&self.upstream));
        let fetched = fetched.await.unwrap_or(Err(ModelsError::Timeout));
        let failed = fetched.is_err();
        let was_failing = self.failing.swap(failed, Ordering::Relaxed);
        let name = self.upstream.name();
        match fetched {
            Ok(list) => {
                self.unreachable.store(false, Ordering::Relaxed);
                self.models.store(Some(Arc::new(list.models)));
                if was_failing {
                    tracing::info!(upstream = name, "the list of models can be read again");
                }
            }
            Err(error) => {
                self.unreachable.store(error.may_pass(), Ordering::Relaxed);
                if !was_failing {
                    let known = self.models.load().is_some();
                    tracing::warn!(upstream = name, %error, known, "cannot read the list of models");
                }
            }
        }
    }
}

/// What `GET /models` said.
pub(super) struct ModelList {
    pub(super) models: Vec<String>,
    /// Whether it has the form of OpenAI's, not only something like it.
    pub(super) openai: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ModelsError {
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("no answer within {UPSTREAM_MODELS_TIMEOUT:?}")]
    Timeout,
    #[error("GET /models was answered with status {0}")]
    Status(u16),
    #[error("the answer to GET /models is larger than {UPSTREAM_MODELS_BYTES} bytes")]
    TooLarge,
    #[error("the answer to GET /models is no list of models: does base_url end in /v1?")]
    NotAList,
}

impl ModelsError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::Timeout => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::TooLarge | Self::NotAList => false,
        }
    }
}

/// Where an API lists its models, all of them.
pub(super) const fn models_path(dialect: ProviderDialect) -> &'static str {
    match dialect {
        ProviderDialect::OpenAiChat | ProviderDialect::OpenAiResponses => "/models",
        // Else it gives twenty.
        ProviderDialect::Anthropic => "/models?limit=1000",
        // Else it gives fifty.
        ProviderDialect::Gemini => "/models?pageSize=1000",
        // Else it gives twenty, and those for other things.
        ProviderDialect::Cohere => "/v1/models?page_size=1000&endpoint=chat",
        // It answers so on another host. The configuration has to name its models.
        ProviderDialect::Bedrock => "/foundation-models",
    }
}

/// Asks an upstream for its models.
pub(super) async fn fetch_models(upstream: &Arc<Upstream>) -> Result<ModelList, ModelsError> {
    let request = Request {
        method: "GET",
        path: models_path(upstream.spec().dialect),
        headers: &[("accept", "application/json")],
        body: None,
    };
    let mut response = upstream.send(request).await?;
    if response.head.status != 200 {
        return Err(ModelsError::Status(response.head.status));
    }
    let mut text = Vec::new();
    while let Some(piece) = response.body.read().await? {
        if text.len() + piece.len() > UPSTREAM_MODELS_BYTES {
            return Err(ModelsError::TooLarge);
        }
        text.extend_from_slice(&piece);
    }
    parse_models(&text).ok_or(ModelsError::NotAList)
}

/// OpenAI's form, Google's, or the bare array that some providers send. `data` may be null: Ollama
/// without a model says so.
fn parse_models(text: &[u8]) -> Option<ModelList> {
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    #[derive(Deserialize)]
    struct GoogleModel {
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer {
        Google {
            models: Vec<GoogleModel>,
        },
        List {
            #[serde(default)]
            object: Option<String>,
            #[serde(deserialize_with = "Option::deserialize")]
            data: Option<Vec<Model>>,
        },
        Bare(Vec<Model>),
    }
    let (models, openai) = match serde_json::from_slice(text).ok()? {
        Answer::Google { models } => {
            let names = models.into_iter().map(|model| {
                let name = model.name.strip_prefix("models/");
                name.map_or_else(|| model.name.clone(), str::to_owned)
            });
            return Some(ModelList {
                models: names.collect(),
                openai: false,
            });
        }
        Answer::List { object, data } => {
            (data.unwrap_or_default(), object.as_deref() == Some("list"))
        }
        Answer::Bare(models) => (models, false),
    };
    let models = models.into_iter().map(|model| model.id).collect();
    Some(ModelList { models, openai })
}

#[cfg(test)]
mod tests;
