//! The routes of the configuration, with what is known of their deployments.

use std::sync::Arc;

use everstream_core::config::RouteConfig;
use everstream_core::dialect::Affinity;
use everstream_core::limits::SHADOWS;
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::breaker::BreakerSettings;
use everstream_core::policy::deployment::{DeploymentSettings, Sight};
use everstream_core::policy::overload::Ceiling;
use everstream_core::policy::price::PriceTable;
use everstream_core::policy::recovery::{Abilities, OnCut};
use everstream_core::policy::select::{self, Strategy, Trial};
use tokio::sync::Semaphore;

use super::Upstream;
use super::health::{Health, Healths};
use crate::random;

/// A model of an upstream.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Who is asked.
    pub upstream: Arc<Upstream>,
    /// The model's name there.
    pub model: String,
    /// How many tokens it takes, if that is known.
    pub context_window: Option<u64>,
    /// What it is marked able to do for an answer that was cut.
    pub marked: Abilities,
    /// What is known of it.
    pub health: Arc<Health>,
}

/// Who may answer a request, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The first.
    pub first: Deployment,
    /// The others.
    pub others: Vec<Deployment>,
    /// How often they are asked.
    pub attempts: AttemptPolicy,
    /// What becomes of an answer that is cut.
    pub on_cut: OnCut,
    /// Who gets a copy.
    pub shadows: Vec<Shadow>,
}

/// A deployment that gets copies of requests.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// Which one.
    pub deployment: Deployment,
    /// For how many there is room.
    pub room: Arc<Semaphore>,
}

/// A route of the configuration.
#[derive(Debug)]
pub(super) struct ConfiguredRoute {
    pub(super) model: String,
    strategy: Strategy,
    attempts: AttemptPolicy,
    on_cut: OnCut,
    places: Vec<Place>,
    /// With the share of the requests, in percent.
    shadows: Vec<(Shadow, u32)>,
}

#[derive(Debug)]
struct Place {
    deployment: Deployment,
    /// `upstream/model`.
    name: String,
    priority: u32,
    weight: u32,
    /// Of a million tokens in and a million out.
    price: u64,
    /// The share of the requests that ask it first, in percent, if it is a canary.
    canary: Option<u32>,
}

impl Deployment {
    /// A model of an upstream, of whose health `healths` knows. One that is on no route is asked
    /// however it fares: there is nobody else, and its own word is better than none.
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        model: &str,
        healths: &Healths,
        on_a_route: bool,
    ) -> Self {
        let spec = upstream.spec();
        let settings = DeploymentSettings {
            ceiling: match (spec.min_concurrency, spec.max_concurrency) {
                (_, None) => Ceiling::None,
                (None, Some(most)) => Ceiling::Fixed(most),
                (Some(least), Some(most)) => Ceiling::Adaptive { least, most },
            },
            heeds_limits: on_a_route,
            keys: u32::try_from(upstream.keys()).unwrap_or(u32::MAX),
            breaker: if on_a_route {
                BreakerSettings::default()
            } else {
                BreakerSettings::NEVER
            },
            ..DeploymentSettings::default()
        };
        Self {
            health: healths.of(upstream.name(), model, settings),
            upstream: Arc::clone(upstream),
            model: model.to_owned(),
            context_window: None,
            marked: Abilities::default(),
        }
    }
}

impl ConfiguredRoute {
    /// The route with those of its upstreams that there are.
    pub(super) fn new(
        config: &RouteConfig,
        prices: &PriceTable,
        upstreams: &[Arc<Upstream>],
        healths: &Healths,
    ) -> Self {
        let found = config.deployments.iter().filter_map(|at| {
            let found = upstreams.iter().find(|one| one.name() == at.upstream);
            let Some(upstream) = found else {
                let (model, upstream) = (&config.model, &at.upstream);
                tracing::warn!(
                    model,
                    upstream,
                    "a route names an upstream that is not there"
                );
                return None;
            };
            let model = at.model.as_ref().unwrap_or(&config.model);
            let place = Place {
                name: format!("{}/{model}", at.upstream),
                deployment: Deployment {
                    context_window: at.context_window,
                    marked: Abilities {
                        continues: at.continues,
                        deterministic: at.deterministic,
                        ..Abilities::default()
                    },
                    ..Deployment::new(upstream, model, healths, true)
                },
                priority: at.priority,
                weight: at.weight,
                price: prices
                    .price(&at.upstream, model)
                    .map_or(0, |price| price.input.plus(price.output).0),
                canary: at.canary,
            };
            Some((place, at.shadow))
        });
        let (places, shadows): (Vec<_>, Vec<_>) = found.partition(|(_, shadow)| *shadow == 0);
        let shadows = shadows.into_iter().map(|(place, share)| {
            let deployment = place.deployment;
            let most = deployment.upstream.spec().max_concurrency;
            let most = most.and_then(|most| usize::try_from(most).ok());
            let room = Arc::new(Semaphore::new(most.unwrap_or(SHADOWS)));
            (Shadow { deployment, room }, share)
        });
        Self {
            model: config.model.clone(),
            strategy: config.strategy,
            attempts: AttemptPolicy {
                attempts: config.attempts,
                idempotent: config.idempotent,
                hedge_after: config.hedge_after,
                ..AttemptPolicy::default()
            },
            on_cut: config.on_cut,
            places: places.into_iter().map(|(place, _)| place).collect(),
            shadows: shadows.collect(),
        }
    }

    /// Whether a model of an upstream is on it.
    pub(super) fn leads_to(&self, upstream: &str, model: &str) -> bool {
        let mut deployments = self.places.iter().map(|place| &place.deployment);
        deployments.any(|at| at.upstream.name() == upstream && at.model == model)
    }

    /// Who is asked, in order. `affinity` is what requests have in common.
    pub(super) fn order(&self, affinity: impl FnOnce() -> Affinity) -> Option<Routed> {
        let on_trial = self.places.iter().any(|place| place.canary.is_some());
        let affinity = match self.strategy {
            Strategy::Sticky => affinity(),
            _ if on_trial => affinity(),
            _ => Affinity::default(),
        };
        let seed = random::u64().unwrap_or_default();
        let shares = self.places.iter().map(|place| place.canary.unwrap_or(0));
        let drawn = select::draw(&self.model, shares, affinity.session(), seed);
        let sights: Vec<Sight> = self
            .places
            .iter()
            .map(|place| place.deployment.health.sight())
            .collect();
        let seen = self
            .places
            .iter()
            .zip(&sights)
            .enumerate()
            .map(|(at, (place, sight))| select::Deployment {
                name: &place.name,
                priority: place.priority,
                weight: place.weight,
                price: place.price,
                in_flight: sight.in_flight,
                latency_micros: sight.latency_micros,
                share: sight.share,
                unavailable: sight.closed.is_some(),
                trial: match place.canary {
                    None => Trial::None,
                    Some(_) if drawn == Some(at) => Trial::Drawn,
                    Some(_) => Trial::PassedOver,
                },
            });
        let seen: Vec<_> = seen.collect();
        let order = select::order(self.strategy, &seen, affinity.key, seed);
        let mut order = order
            .into_iter()
            .map(|place| self.places[place].deployment.clone());
        Some(Routed {
            first: order.next()?,
            others: order.collect(),
            attempts: self.attempts,
            on_cut: self.on_cut,
            shadows: self.shadows(seed),
        })
    }

    fn shadows(&self, seed: u64) -> Vec<Shadow> {
        let drawn = self.shadows.iter().filter(|(shadow, share)| {
            let name = format!("shadow/{}", shadow.deployment.upstream.name());
            select::draw(&name, [*share], None, seed).is_some()
        });
        drawn.map(|(shadow, _)| shadow.clone()).collect()
    }
}
