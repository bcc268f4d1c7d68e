//! What an operator sees of the upstreams, and does with them.

use std::sync::Arc;

use everstream_core::policy::deployment::Sight;

use super::health::Healths;
use super::{LinkSight, ModelDirectory, Upstream};
use crate::telemetry::metrics::UpstreamMetrics;

/// An upstream, with what is known of it just now.
#[derive(Debug)]
pub struct UpstreamSight {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// Its connections.
    pub link: LinkSight,
    /// An operator took all of it out.
    pub drained: bool,
    /// Its models that are on routes, or were asked.
    pub deployments: Vec<DeploymentSight>,
}

/// A model of an upstream, with what is known of it just now.
#[derive(Debug)]
pub struct DeploymentSight {
    /// Its name there; empty for the models that were too many to be told apart.
    pub model: String,
    /// The models whose routes lead to it.
    pub routes: Vec<String>,
    /// What is known.
    pub sight: Sight,
}

impl ModelDirectory {
    /// All upstreams, in their order.
    pub fn overview(&self) -> Vec<UpstreamSight> {
        self.upstreams().map(|one| self.sight(one)).collect()
    }

    /// Takes an upstream out, or back in, or one of its models. What is under way goes on. It is
    /// forgotten when the process ends.
    ///
    /// `None` if there is no such upstream, or nothing is known of such a model.
    pub fn drain(
        &self,
        upstream: &str,
        model: Option<&str>,
        drained: bool,
    ) -> Option<UpstreamSight> {
        let upstream = self.upstreams().find(|one| one.name() == upstream)?;
        let known = self.healths().drain(upstream.name(), model, drained);
        known.then(|| self.sight(upstream))
    }

    /// What is counted of them.
    pub fn metrics(&self) -> &UpstreamMetrics {
        self.healths().metrics()
    }

    fn sight(&self, upstream: &Arc<Upstream>) -> UpstreamSight {
        let (healths, name): (&Healths, _) = (self.healths(), upstream.name());
        let deployment = |(model, sight): (String, Sight)| DeploymentSight {
            routes: self.routes_to(name, &model),
            model,
            sight,
        };
        UpstreamSight {
            upstream: Arc::clone(upstream),
            link: upstream.link(),
            drained: healths.is_drained(name),
            deployments: healths.sights(name).into_iter().map(deployment).collect(),
        }
    }
}
