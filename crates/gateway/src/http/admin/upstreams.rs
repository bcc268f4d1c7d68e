//! The upstreams, as operators see and steer them.

use std::collections::BTreeMap;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::UnixMillis;
use everstream_core::policy::attempt::FailureKind;
use everstream_core::policy::deployment::{Closed, Outcomes, Sight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Shown;
use super::route::Ask;
use crate::upstream::{DeploymentSight, UpstreamSight};

/// The upstreams and how they are.
#[derive(Serialize, JsonSchema)]
pub(super) struct Upstreams {
    upstreams: Vec<Upstream>,
}

/// An upstream and how it is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Upstream {
    name: String,
    base_url: String,
    provider: Option<&'static str>,
    api: &'static str,
    region: Option<String>,
    drained: bool,
    connection: Connection,
    deployments: Vec<Deployment>,
}

/// The way to an upstream.
#[derive(Serialize, JsonSchema)]
struct Connection {
    state: &'static str,
    since: UnixMillis,
    in_use: u32,
    idle: u32,
}

/// A model of an upstream.
#[derive(Serialize, JsonSchema)]
struct Deployment {
    model: String,
    routes: Vec<String>,
    breaker: &'static str,
    share: f64,
    takes_requests: bool,
    refuses: Option<&'static str>,
    until: Option<UnixMillis>,
    in_flight: u32,
    max_concurrency: Option<u32>,
    keys: Keys,
    first_content_ms: f64,
    outcomes: OutcomeCounts,
    recent: Recent,
    last_failure: Option<LastFailure>,
}

/// The keys of an upstream that take turns.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UpstreamKeys")]
struct Keys {
    all: usize,
    resting: usize,
}

/// What became of requests since the start.
#[derive(Serialize, JsonSchema)]
struct OutcomeCounts {
    succeeded: u64,
    cancelled: u64,
    failed: BTreeMap<&'static str, u64>,
}

/// What the breaker counts.
#[derive(Serialize, JsonSchema)]
struct Recent {
    failed: u32,
    all: u32,
}

/// The last failure.
#[derive(Serialize, JsonSchema)]
struct LastFailure {
    kind: &'static str,
    at: UnixMillis,
}

/// What is meant of an upstream.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Which {
    /// Only this model of it.
    model: Option<String>,
}

pub(super) async fn list(ask: Ask) -> Result<Shown<Upstreams>, Error> {
    let upstreams = ask.app().models.overview().into_iter().map(Upstream::from);
    Ok(Shown(Upstreams {
        upstreams: upstreams.collect(),
    }))
}

pub(super) async fn drain(ask: Ask<Which>) -> Result<Shown<Upstream>, Error> {
    set_drained(&ask, true).await
}

pub(super) async fn undrain(ask: Ask<Which>) -> Result<Shown<Upstream>, Error> {
    set_drained(&ask, false).await
}

async fn set_drained(ask: &Ask<Which>, drained: bool) -> Result<Shown<Upstream>, Error> {
    let (app, name, model) = (ask.app(), ask.name.as_str(), ask.query.model.as_deref());
    if let Some(sight) = app.models.drain(name, model, drained) {
        let action = if drained {
            "upstream.drain"
        } else {
            "upstream.undrain"
        };
        ask.audit(action, name, model.unwrap_or_default()).await;
        return Ok(Shown(sight.into()));
    }
    let names: Vec<_> = app.models.upstreams().map(|one| one.name()).collect();
    let message = if names.contains(&name) {
        format!("Upstream `{name}` has no such model on a route, and none that was asked.")
    } else {
        let names = names.join(", ");
        format!("There is no such upstream. The upstreams are: {names}.")
    };
    Err(Error::new(ErrorCode::RouteNotFound, message))
}

impl From<UpstreamSight> for Upstream {
    fn from(sight: UpstreamSight) -> Self {
        let UpstreamSight {
            upstream,
            link,
            drained,
            deployments,
        } = sight;
        Self {
            name: upstream.name().to_owned(),
            base_url: upstream.base_url().to_string(),
            provider: upstream.provider().map(|provider| provider.title),
            api: upstream.spec().dialect.title(),
            region: upstream.spec().region.clone(),
            drained,
            connection: Connection {
                state: link.state.as_str(),
                since: link.since,
                in_use: link.in_use,
                idle: link.idle,
            },
            deployments: deployments.into_iter().map(Deployment::from).collect(),
        }
    }
}

impl From<DeploymentSight> for Deployment {
    fn from(deployment: DeploymentSight) -> Self {
        let Sight {
            breaker,
            closed,
            in_flight,
            limit,
            latency_micros,
            share,
            keys: (keys, awake),
            recent: (failed, all),
            outcomes,
            last_failure,
        } = deployment.sight;
        let (refuses, until) = closed.map(why).unzip();
        Self {
            model: deployment.model,
            routes: deployment.routes,
            breaker: breaker.as_str(),
            share: f64::from(share) / 1_000.0,
            takes_requests: closed.is_none(),
            refuses,
            until: until.flatten(),
            in_flight,
            max_concurrency: limit,
            keys: Keys {
                all: keys,
                resting: keys - awake,
            },
            first_content_ms: millis(latency_micros),
            outcomes: outcomes.into(),
            recent: Recent { failed, all },
            last_failure: last_failure.map(|(kind, at)| LastFailure {
                kind: kind.as_str(),
                at,
            }),
        }
    }
}

impl From<Outcomes> for OutcomeCounts {
    fn from(outcomes: Outcomes) -> Self {
        let failed = FailureKind::ALL.iter().zip(outcomes.failed);
        let failed = failed.filter(|(_, count)| *count > 0);
        Self {
            succeeded: outcomes.succeeded,
            cancelled: outcomes.other,
            failed: failed.map(|(kind, count)| (kind.as_str(), count)).collect(),
        }
    }
}

/// Why it is not asked, and until when that is sure.
fn why(closed: Closed) -> (&'static str, Option<UnixMillis>) {
    match closed {
        Closed::Drained => ("drained", None),
        Closed::Broken(until) => ("broken", Some(until)),
        Closed::Limited(until) => ("limited", Some(until)),
        Closed::Full => ("full", None),
    }
}

fn millis(micros: u64) -> f64 {
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0
}
