//! Asking upstreams whether they are there, beside what the traffic shows.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::limits::{PROBE_TIMEOUT, UPSTREAM_MODELS_BYTES};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::models::models_path;
use super::{ModelDirectory, Request, Upstream, UpstreamError};
use crate::random;

impl ModelDirectory {
    /// Probes the upstreams that are configured so, each in its own rhythm, until `stop`.
    pub async fn probe(&self, stop: CancellationToken) {
        let probed = self.upstreams().filter_map(|upstream| {
            Some(self.keep_probing(upstream, upstream.spec().probe_interval?))
        });
        let all = join_all(probed);
        stop.run_until_cancelled(all).await;
    }

    async fn keep_probing(&self, upstream: &Arc<Upstream>, interval: Duration) {
        let counted = self.metrics().probes(upstream.name());
        loop {
            sleep(around(interval)).await;
            let answered = timeout(interval.min(PROBE_TIMEOUT), probe(upstream)).await;
            let answered = answered.is_ok_and(|answered| answered.unwrap_or(false));
            counted.probed(answered);
            self.healths().probed(upstream.name(), answered);
            tracing::debug!(upstream = upstream.name(), answered, "probe");
        }
    }
}

/// Whether it answers, and not with an error of its own. What it says of the request, the key or a
/// limit shows that it is there.
async fn probe(upstream: &Arc<Upstream>) -> Result<bool, UpstreamError> {
    let path = upstream.spec().probe_path.as_deref();
    let request = Request {
        method: "GET",
        path: path.unwrap_or_else(|| models_path(upstream.spec().dialect)),
        headers: &[("accept", "application/json")],
        body: None,
    };
    let mut response = upstream.send(request).await?;
    let mut size = 0;
    // Read to its end, the answer leaves its connection to the next request.
    while let Some(piece) = response.body.read().await? {
        size += piece.len();
        if size > UPSTREAM_MODELS_BYTES {
            break;
        }
    }
    Ok(response.head.status < 500)
}

/// A time near `interval`, so that many gateways do not ask in step.
fn around(interval: Duration) -> Duration {
    let thousandths = 900 + random::u64().unwrap_or_default() % 200;
    interval * u32::try_from(thousandths).unwrap_or(1_000) / 1_000
}
