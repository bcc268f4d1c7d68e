use serde::Deserialize;

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of an answer. `inputTokens` leaves out what the cache had or got.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageIn {
    #[serde(rename = "inputTokens", default)]
    fresh: Figure,
    #[serde(rename = "outputTokens", default)]
    output: Figure,
    #[serde(rename = "cacheReadInputTokens", default)]
    cached: Figure,
    #[serde(rename = "cacheWriteInputTokens", default)]
    written: Figure,
}

impl From<&UsageIn> for Usage {
    fn from(usage: &UsageIn) -> Self {
        let figure = |figure: Figure| figure.0.unwrap_or_default();
        let cached = figure(usage.cached);
        let written = figure(usage.written);
        let fresh = figure(usage.fresh);
        Self {
            input_tokens: fresh.saturating_add(cached).saturating_add(written),
            output_tokens: figure(usage.output),
            cached_tokens: cached,
            cache_write_tokens: written,
            ..Self::default()
        }
    }
}
