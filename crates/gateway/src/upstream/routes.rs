//! The routes of the configuration, with what is known of their deployments.

use std::sync::Arc;

use everstream_core::config::RouteConfig;
use everstream_core::policy::attempt::AttemptPolicy;
use everstream_core::policy::breaker::BreakerSettings;
use everstream_core::policy::deployment::{DeploymentSettings, Sight};
use everstream_core::policy::overload::Ceiling;
use everstream_core::policy::recovery::{Abilities, OnCut};
use everstream_core::policy::select::{self, Strategy};

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
}

/// A route of the configuration.
#[derive(Debug)]
pub(super) struct ConfiguredRoute {
    pub(super) model: String,
    strategy: Strategy,
    attempts: AttemptPolicy,
    on_cut: OnCut,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    deployment: Deployment,
    /// `upstream/model`.
    name: String,
    priority: u32,
    weight: u32,
    price: u64,
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
        upstreams: &[Arc<Upstream>],
        healths: &Healths,
    ) -> Self {
        let places = config.deployments.iter().filter_map(|at| {
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
            Some(Place {
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
                price: at.price,
            })
        });
        Self {
            model: config.model.clone(),
            strategy: config.strategy,
            attempts: AttemptPolicy {
                attempts: config.attempts,
                idempotent: config.idempotent,
                ..AttemptPolicy::default()
            },
            on_cut: config.on_cut,
            places: places.collect(),
        }
    }

    /// Who is asked, in order. `key` is what sticky requests have in common.
    pub(super) fn order(&self, key: impl FnOnce() -> u64) -> Option<Routed> {
        let key = match self.strategy {
            Strategy::Sticky => key(),
            _ => 0,
        };
        let sights: Vec<Sight> = self
            .places
            .iter()
            .map(|place| place.deployment.health.sight())
            .collect();
        let seen = self
            .places
            .iter()
            .zip(&sights)
            .map(|(place, sight)| select::Deployment {
                name: &place.name,
                priority: place.priority,
                weight: place.weight,
                price: place.price,
                in_flight: sight.in_flight,
                latency_micros: sight.latency_micros,
                share: sight.share,
                unavailable: sight.closed.is_some(),
            });
        let seen: Vec<_> = seen.collect();
        let seed = random::u64().unwrap_or_default();
        let order = select::order(self.strategy, &seen, key, seed);
        let mut order = order
            .into_iter()
            .map(|place| self.places[place].deployment.clone());
        Some(Routed {
            first: order.next()?,
            others: order.collect(),
            attempts: self.attempts,
            on_cut: self.on_cut,
        })
    }
}
