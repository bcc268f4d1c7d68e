//! What is counted while it happens. What can be looked up when somebody asks is not counted: see
//! `http/admin/metrics.rs`. docs/metrics.md lists all.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use everstream_core::limits::METRIC_DEPLOYMENTS;
use everstream_core::policy::attempt::FailureKind;
use everstream_core::policy::breaker::Verdict;
use everstream_core::policy::deployment::Report;
use everstream_core::record::{Abandoned, End};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

/// A model of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct DeploymentLabels {
    /// The upstream's name.
    pub upstream: String,
    /// The model's name there, or [`OTHER`].
    pub model: String,
}

/// The model of all deployments that have no metrics of their own.
pub const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: String,
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AbandonedLabels {
    upstream: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    status: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    upstream: String,
    result: &'static str,
}

/// What becomes of the requests to upstreams.
#[derive(Clone, Debug, Default)]
pub struct UpstreamMetrics {
    attempts: Family<AttemptLabels, Counter>,
    first_content: Family<DeploymentLabels, FirstContent>,
    retries: Family<DeploymentLabels, Counter>,
    probes: Family<ProbeLabels, Counter>,
    named: Arc<Mutex<HashSet<DeploymentLabels>>>,
}

/// The counters of one deployment, looked up once.
#[derive(Clone, Debug, Default)]
pub struct DeploymentMetrics {
    succeeded: Counter,
    failed: [Counter; FailureKind::ALL.len()],
    other: Counter,
    first_content: FirstContent,
    retries: Counter,
}

/// A time, from that of a model that is near to that of one that thinks for minutes.
#[derive(Clone, Debug)]
struct FirstContent(Histogram);

impl Default for FirstContent {
    fn default() -> Self {
        Self(Histogram::new([
            0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
            300.0,
        ]))
    }
}

impl EncodeMetric for FirstContent {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

impl TypedMetric for FirstContent {
    const TYPE: MetricType = MetricType::Histogram;
}

impl UpstreamMetrics {
    /// The counters of a deployment. Beyond [`METRIC_DEPLOYMENTS`] they are shared, as clients may
    /// make up names of models.
    pub fn deployment(&self, upstream: &str, model: &str) -> DeploymentMetrics {
        let labels = self.labels(upstream, model);
        let outcome = |outcome| {
            let DeploymentLabels { upstream, model } = labels.clone();
            self.attempts.get_or_create_owned(&AttemptLabels {
                upstream,
                model,
                outcome,
            })
        };
        DeploymentMetrics {
            succeeded: outcome("succeeded"),
            failed: FailureKind::ALL.map(|kind| outcome(kind.as_str())),
            other: outcome("cancelled"),
            first_content: self.first_content.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
        }
    }

    /// The counters of the probes of an upstream.
    pub fn probes(&self, upstream: &str) -> ProbeMetrics {
        let of = |result| {
            let upstream = upstream.to_owned();
            self.probes
                .get_or_create_owned(&ProbeLabels { upstream, result })
        };
        ProbeMetrics {
            answered: of("answered"),
            failed: of("failed"),
        }
    }

    /// How a deployment is called in metrics.
    pub fn labels(&self, upstream: &str, model: &str) -> DeploymentLabels {
        let mut labels = DeploymentLabels {
            upstream: upstream.to_owned(),
            model: model.to_owned(),
        };
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(&labels) {
            return labels;
        }
        if model.is_empty() || named.len() >= METRIC_DEPLOYMENTS {
            OTHER.clone_into(&mut labels.model);
        } else {
            named.insert(labels.clone());
        }
        labels
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "upstream_attempts",
            "Requests to upstreams that are over, by what came of them",
            self.attempts.clone(),
        );
        registry.register(
            "upstream_first_content_seconds",
            "Time from a request to the first content of its answer",
            self.first_content.clone(),
        );
        registry.register(
            "upstream_retries",
            "Requests that asked the same deployment once more for the same answer",
            self.retries.clone(),
        );
        registry.register(
            "upstream_probes",
            "Probes that asked an upstream whether it is there",
            self.probes.clone(),
        );
    }
}

/// The counters of the probes of one upstream.
#[derive(Clone, Debug, Default)]
pub struct ProbeMetrics {
    answered: Counter,
    failed: Counter,
}

impl ProbeMetrics {
    /// It was asked whether it is there.
    pub fn probed(&self, answered: bool) {
        if answered {
            self.answered.inc();
        } else {
            self.failed.inc();
        }
    }
}

impl DeploymentMetrics {
    /// An attempt is over.
    pub fn finished(&self, report: &Report) {
        let failed = report.failure.and_then(|kind| {
            let place = FailureKind::ALL.iter().position(|known| *known == kind);
            self.failed.get(place?)
        });
        match (failed, report.verdict) {
            (Some(counter), _) => counter.inc(),
            (None, Verdict::Success) => self.succeeded.inc(),
            (None, _) => self.other.inc(),
        };
        if let Some(took) = report.first_content {
            self.first_content.0.observe(took.as_secs_f64());
        }
    }

    /// The same is asked once more.
    pub fn retried(&self) {
        self.retries.inc();
    }
}

/// What becomes of generations.
#[derive(Clone, Debug, Default)]
pub struct GenerationMetrics {
    ended: Family<EndedLabels, Counter>,
    abandoned: Family<AbandonedLabels, Counter>,
}

impl GenerationMetrics {
    /// A generation is over, and its end is in the log.
    pub fn ended(&self, end: &End) {
        let labels = EndedLabels {
            status: end.status.as_str(),
            reason: end.reason.clone().unwrap_or_default(),
        };
        self.ended.get_or_create(&labels).inc();
    }

    /// An attempt was given up of which nobody heard anything.
    pub fn abandoned(&self, attempt: &Abandoned) {
        let labels = AbandonedLabels {
            upstream: attempt.upstream.clone(),
            reason: attempt.reason.clone(),
        };
        self.abandoned.get_or_create(&labels).inc();
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "streams_ended",
            "Generations that are over, by their status and the reason for it",
            self.ended.clone(),
        );
        registry.register(
            "attempts_abandoned",
            "Requests to upstreams that were given up before anybody heard anything of the answer",
            self.abandoned.clone(),
        );
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    subject: &'static str,
    metric: &'static str,
}

/// What the database of keys is asked.
#[derive(Clone, Debug, Default)]
pub struct KeyMetrics {
    lookups: Counter,
}

impl KeyMetrics {
    /// It is asked for a key.
    pub fn looked_up(&self) {
        self.lookups.inc();
    }

    /// Shows it in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "key_lookups",
            "Keys that the database was asked for",
            self.lookups.clone(),
        );
    }
}

/// What becomes of requests that have limits.
#[derive(Clone, Debug, Default)]
pub struct LimitMetrics {
    limited: Family<LimitedLabels, Counter>,
    unshared: Counter,
}

impl LimitMetrics {
    /// One was refused, for want of this.
    pub fn limited(&self, subject: &'static str, metric: &'static str) {
        let labels = LimitedLabels { subject, metric };
        self.limited.get_or_create(&labels).inc();
    }

    /// The database of shared limits did not answer for one.
    pub fn unshared(&self) {
        self.unshared.inc();
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        // From the start, so that what is rare shows as none.
        for subject in ["address", "key", "model", "project"] {
            for metric in ["requests", "input-tokens", "output-tokens", "concurrency"] {
                let labels = LimitedLabels { subject, metric };
                drop(self.limited.get_or_create(&labels));
            }
        }
        registry.register(
            "limited",
            "Requests that were refused, by whose limit was reached and of what",
            self.limited.clone(),
        );
        registry.register(
            "limits_unanswered",
            "Requests for whose shared limits the database did not answer",
            self.unshared.clone(),
        );
    }
}
