//! `GET /metrics`, in the text format of `OpenMetrics`, which Prometheus reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::policy::breaker::BreakerState;
use everstream_core::policy::connection::ConnectionState;
use everstream_core::policy::deployment::Closed;
use everstream_core::policy::overload::EntranceSight;
use http::header;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use schemars::{SchemaGenerator, json_schema};

use super::answer::{Answer, Media};
use super::route::Ask;
use crate::app::App;
use crate::generate::live::Live;
use crate::telemetry::metrics::DeploymentLabels;
use crate::upstream::UpstreamSight;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is counted, and all that is looked up when somebody asks.
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(app: &Arc<App>) -> Self {
        let mut registry = Registry::with_prefix("everstream");
        app.models.metrics().register(&mut registry);
        app.generator.registry.metrics().register(&mut registry);
        app.limits.metrics().register(&mut registry);
        if let Some(directory) = app.access.directory() {
            directory.metrics().register(&mut registry);
        }
        app.generator.billing.metrics().register(&mut registry);
        registry.register_collector(Box::new(Now(Arc::clone(app))));
        Self(registry)
    }

    fn text(&self) -> Result<Exposition, Error> {
        let mut text = String::new();
        let written = encode(&mut text, &self.0);
        written.map_err(|fmt::Error| {
            Error::new(ErrorCode::Internal, "The metrics could not be written.")
        })?;
        Ok(Exposition(text))
    }
}

pub(super) async fn show(ask: Ask) -> Result<Exposition, Error> {
    ask.desk().metrics.text()
}

/// The metrics as text.
pub(super) struct Exposition(String);

impl Answer for Exposition {
    const STATUS: u16 = 200;

    fn media(_: &mut SchemaGenerator) -> Vec<Media> {
        vec![(MEDIA_TYPE, json_schema!({"type": "string"}))]
    }

    fn response(self) -> Response {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], self.0).into_response()
    }
}

/// What is so just now.
struct Now(Arc<App>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let app = &self.0;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let about = "The running program; always 1";
        gauges(&mut encoder, "build_info", about, [(version, 1)])?;
        let live = app.generator.registry.all();
        let about = "Generations that run in this process";
        gauge(&mut encoder, "streams_running", about, live.len())?;
        let about = "Readers of generations that run in this process";
        let readers = live.iter().map(|live: &Arc<Live>| live.readers()).sum();
        gauge(&mut encoder, "readers", about, readers)?;
        admission(&mut encoder, app.admission.sight())?;
        ledger(&mut encoder, app)?;
        if let Some(shared) = app.limits.is_shared() {
            let about = "Whether limits are counted for all gateways together: 1 while the database answers";
            gauge(&mut encoder, "limits_shared", about, usize::from(shared))?;
        }
        let upstreams = app.models.overview();
        connections(&mut encoder, &upstreams)?;
        deployments(&mut encoder, app, &upstreams)
    }
}

fn admission(encoder: &mut DescriptorEncoder<'_>, sight: EntranceSight) -> fmt::Result {
    let about = "Generations that were let in and are not over";
    gauge(encoder, "admission_running", about, sight.running as usize)?;
    if let Some(most) = sight.most {
        let about = "How many may be";
        gauge(encoder, "admission_limit", about, most as usize)?;
    }
    let about = "Requests that wait to be let in";
    gauge(encoder, "admission_waiting", about, sight.waiting)?;
    let (name, about) = ("admission_refused", "Requests that were not let in");
    let mut family = encoder.encode_descriptor(name, about, None, MetricType::Counter)?;
    let shed = sight.shed;
    for (reason, count) in [
        ("share", shed.share),
        ("full", shed.full),
        ("late", shed.late),
    ] {
        let labels = [("reason", reason)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn ledger(encoder: &mut DescriptorEncoder<'_>, app: &App) -> fmt::Result {
    let Some(queue) = app.generator.billing.queue() else {
        return Ok(());
    };
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let about = "Generations that wait on disk for the ledger's database";
    gauge(encoder, "ledger_queue", about, whole(queue.entries))?;
    let about = "Their bytes on disk";
    gauge(encoder, "ledger_queue_bytes", about, whole(queue.bytes))?;
    let counts = [
        (
            "ledger_settled",
            "Generations that were settled",
            queue.settled,
        ),
        (
            "ledger_refused",
            "Generations that the database refuses: they stand in refused.jsonl",
            queue.refused,
        ),
    ];
    for (name, about, count) in counts {
        let counter = encoder.encode_descriptor(name, about, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(counter)?;
    }
    Ok(())
}

fn connections(encoder: &mut DescriptorEncoder<'_>, upstreams: &[UpstreamSight]) -> fmt::Result {
    let states = upstreams.iter().flat_map(|one| {
        ConnectionState::ALL.map(|state| {
            let labels = [("upstream", one.upstream.name()), ("state", state.as_str())];
            (labels, i64::from(one.link.state == state))
        })
    });
    let about = "The state of the way to an upstream: 1 for the one it is in";
    gauges(encoder, "upstream_connection_state", about, states)?;
    let counts = upstreams.iter().flat_map(|one| {
        let labels = |used| [("upstream", one.upstream.name()), ("use", used)];
        let (in_use, idle) = (one.link.in_use, one.link.idle);
        [("request", in_use), ("idle", idle)].map(|(used, n)| (labels(used), i64::from(n)))
    });
    let about = "Open connections to an upstream";
    gauges(encoder, "upstream_connections", about, counts)
}

/// Of all deployments that share their labels.
#[derive(Default)]
struct Sums {
    in_flight: i64,
    drained: i64,
    awake: usize,
    resting: usize,
    /// How many breakers are in each state.
    breakers: [i64; BreakerState::ALL.len()],
}

fn deployments(
    encoder: &mut DescriptorEncoder<'_>,
    app: &App,
    upstreams: &[UpstreamSight],
) -> fmt::Result {
    let mut sums: BTreeMap<DeploymentLabels, Sums> = BTreeMap::new();
    for one in upstreams {
        for at in &one.deployments {
            let labels = app.models.metrics().labels(one.upstream.name(), &at.model);
            let sum = sums.entry(labels).or_default();
            sum.in_flight += i64::from(at.sight.in_flight);
            sum.drained += i64::from(at.sight.closed == Some(Closed::Drained));
            let (keys, awake) = at.sight.keys;
            sum.awake += awake;
            sum.resting += keys - awake;
            let states = BreakerState::ALL.iter().zip(&mut sum.breakers);
            states.for_each(|(state, sum)| *sum += i64::from(at.sight.breaker == *state));
        }
    }
    let pairs = |labels: &'_ DeploymentLabels| {
        let DeploymentLabels { upstream, model } = labels.clone();
        [("upstream", upstream), ("model", model)]
    };
    let in_flight = sums
        .iter()
        .map(|(labels, sum)| (pairs(labels), sum.in_flight));
    let about = "Requests to a deployment that are under way";
    gauges(encoder, "upstream_in_flight", about, in_flight)?;
    let drained = sums
        .iter()
        .map(|(labels, sum)| (pairs(labels), sum.drained));
    let about = "Deployments that an operator took out";
    gauges(encoder, "upstream_drained", about, drained)?;
    let keys = sums.iter().flat_map(|(labels, sum)| {
        [("awake", sum.awake), ("resting", sum.resting)].map(|(state, count)| {
            let [upstream, model] = pairs(labels);
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ([upstream, model, ("state", state.to_owned())], count)
        })
    });
    let about = "Keys of a deployment, by whether they rest";
    gauges(encoder, "upstream_keys", about, keys)?;
    let breakers = sums.iter().flat_map(|(labels, sum)| {
        let states = BreakerState::ALL.iter().zip(sum.breakers);
        states.map(|(state, sum)| {
            let [upstream, model] = pairs(labels);
            ([upstream, model, ("state", state.as_str().to_owned())], sum)
        })
    });
    let about = "Breakers of deployments, by their state";
    gauges(encoder, "upstream_breakers", about, breakers)
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    values: impl IntoIterator<Item = (L, i64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    value: usize,
) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, about, None, MetricType::Gauge)?)
}
