//! What is counted of money.

use std::sync::atomic::AtomicU64;

use everstream_core::policy::bill::Charge;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CostLabels {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    upstream: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReserveLabels {
    result: &'static str,
}

/// What is spent, and what budgets say.
#[derive(Clone, Debug, Default)]
pub struct BillingMetrics {
    cost: Family<CostLabels, Counter<f64, AtomicU64>>,
    tokens: Family<TokenLabels, Counter>,
    reserves: Family<ReserveLabels, Counter>,
    stopped: Counter,
    alerts: Counter,
}

impl BillingMetrics {
    /// Something ended that cost this; most of it at this upstream.
    pub fn charged(&self, upstream: Option<&str>, charge: &Charge) {
        let upstream = upstream.unwrap_or_default();
        let cost = CostLabels {
            upstream: upstream.to_owned(),
        };
        #[expect(clippy::cast_precision_loss, reason = "shown in dollars")]
        let dollars = charge.cost.0 as f64 / 1e9;
        self.cost.get_or_create(&cost).inc_by(dollars);
        let usage = &charge.usage;
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
        ] {
            let labels = TokenLabels {
                upstream: upstream.to_owned(),
                kind,
            };
            self.tokens.get_or_create(&labels).inc_by(count);
        }
    }

    /// Budgets were asked for a reserve, and that came of it.
    pub fn reserved(&self, result: &'static str) {
        self.reserves.get_or_create(&ReserveLabels { result }).inc();
    }

    /// A generation was ended as its budgets have nothing left.
    pub fn stopped(&self) {
        self.stopped.inc();
    }

    /// A budget has crossed a threshold.
    pub fn alerted(&self) {
        self.alerts.inc();
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "cost_dollars",
            "What was spent, by the upstream that answered",
            self.cost.clone(),
        );
        registry.register("tokens", "Tokens that were used", self.tokens.clone());
        // From the start, so that what is rare shows as none.
        for result in ["held", "refused", "unavailable"] {
            drop(self.reserves.get_or_create(&ReserveLabels { result }));
        }
        registry.register(
            "budget_reserves",
            "Reserves that budgets were asked for",
            self.reserves.clone(),
        );
        registry.register(
            "budget_stops",
            "Answers that were ended as their budgets had nothing left",
            self.stopped.clone(),
        );
        registry.register(
            "budget_alerts",
            "Thresholds of budgets that were crossed",
            self.alerts.clone(),
        );
    }
}
