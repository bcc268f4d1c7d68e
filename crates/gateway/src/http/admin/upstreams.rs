//! The upstreams, as operators see and steer them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::UnixMillis;
use everstream_core::policy::attempt::FailureKind;
use everstream_core::policy::deployment::{Closed, Outcomes, Sight};
use serde::{Deserialize, Serialize};

use super::failure;
use crate::app::App;
use crate::upstream::{DeploymentSight, UpstreamSight};

#[derive(Serialize)]
struct Page {
    upstreams: Vec<Upstream>,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    base_url: String,
    provider: Option<&'static str>,
    api: &'static str,
    drained: bool,
    connection: Connection,
    deployments: Vec<Deployment>,
}

#[derive(Serialize)]
struct Connection {
    state: &'static str,
    since: UnixMillis,
    in_use: u32,
    idle: u32,
}

#[derive(Serialize)]
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

#[derive(Serialize)]
struct Keys {
    all: usize,
    resting: usize,
}

#[derive(Serialize)]
struct OutcomeCounts {
    succeeded: u64,
    cancelled: u64,
    failed: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Recent {
    failed: u32,
    all: u32,
}

#[derive(Serialize)]
struct LastFailure {
    kind: &'static str,
    at: UnixMillis,
}

/// What is meant of an upstream.
#[derive(Deserialize)]
pub(super) struct Which {
    model: Option<String>,
}

/// `GET /admin/upstreams`
pub(super) async fn list(State(app): State<Arc<App>>) -> Response {
    let upstreams = app.models.overview().into_iter().map(Upstream::from);
    Json(Page {
        upstreams: upstreams.collect(),
    })
    .into_response()
}

/// `POST /admin/upstreams/{name}/drain`
pub(super) async fn drain(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    set_drained(&app, &name, which.model.as_deref(), true)
}

/// `POST /admin/upstreams/{name}/undrain`
pub(super) async fn undrain(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    set_drained(&app, &name, which.model.as_deref(), false)
}

fn set_drained(app: &App, name: &str, model: Option<&str>, drained: bool) -> Response {
    if let Some(sight) = app.models.drain(name, model, drained) {
        tracing::info!(upstream = name, model, drained, "an operator drains");
        return Json(Upstream::from(sight)).into_response();
    }
    let names: Vec<_> = app.models.upstreams().map(|one| one.name()).collect();
    let message = if names.contains(&name) {
        format!("Upstream `{name}` has no such model on a route, and none that was asked.")
    } else {
        let names = names.join(", ");
        format!("There is no such upstream. The upstreams are: {names}.")
    };
    failure(Error::new(ErrorCode::RouteNotFound, message))
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
