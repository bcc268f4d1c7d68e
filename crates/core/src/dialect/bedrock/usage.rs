use serde::Deserialize;

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of an answer. `inputTokens` leaves out what the cache had or got.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageIn {
    #[serde(default)]
    input_tokens: Figure,
    #[serde(default)]
    output_tokens: Figure,
    #[serde(default)]
    cache_read_input_tokens: Figure,
    #[serde(default)]
    cache_write_input_tokens: Figure,
}

impl From<&UsageIn> for Usage {
    fn from(usage: &UsageIn) -> Self {
        let figure = |figure: Figure| figure.0.unwrap_or_default();
        let cached = figure(usage.cache_read_input_tokens);
        let written = figure(usage.cache_write_input_tokens);
        let fresh = figure(usage.input_tokens);
        Self {
            input_tokens: fresh.saturating_add(cached).saturating_add(written),
            output_tokens: figure(usage.output_tokens),
            cached_tokens: cached,
            cache_write_tokens: written,
            ..Self::default()
        }
    }
}
