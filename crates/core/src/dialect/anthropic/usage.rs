use serde::{Deserialize, Serialize};

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of an event. `input_tokens` leaves out what the cache had or got.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageIn {
    #[serde(default)]
    input_tokens: Figure,
    #[serde(default)]
    output_tokens: Figure,
    #[serde(default)]
    cache_read_input_tokens: Figure,
    #[serde(default)]
    cache_creation_input_tokens: Figure,
    output_tokens_details: Option<DetailsIn>,
}

#[derive(Debug, Default, Deserialize)]
struct DetailsIn {
    #[serde(default)]
    thinking_tokens: Figure,
}

/// The figures so far: `message_start` has those of the input, `message_delta` those of the output
/// and at times all.
#[derive(Debug, Default)]
pub(super) struct Totals {
    fresh: u64,
    cached: u64,
    written: u64,
    output: u64,
    thinking: u64,
}

impl Totals {
    /// Takes what an event says; `None` if that is nothing.
    pub(super) fn take(&mut self, usage: &UsageIn) -> Option<Usage> {
        let details = usage.output_tokens_details.as_ref();
        let news = [
            (&mut self.fresh, usage.input_tokens.0),
            (&mut self.cached, usage.cache_read_input_tokens.0),
            (&mut self.written, usage.cache_creation_input_tokens.0),
            (&mut self.output, usage.output_tokens.0),
            (
                &mut self.thinking,
                details.and_then(|details| details.thinking_tokens.0),
            ),
        ];
        let mut any = false;
        for (total, new) in news {
            if let Some(new) = new {
                *total = new;
                any = true;
            }
        }
        let input = self.fresh.saturating_add(self.cached);
        any.then(|| Usage {
            input_tokens: input.saturating_add(self.written),
            output_tokens: self.output,
            cached_tokens: self.cached,
            cache_write_tokens: self.written,
            reasoning_tokens: self.thinking,
            ..Usage::default()
        })
    }
}

/// Usage as a client sees it.
#[derive(Debug, Default, Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<DetailsOut>,
    /// These are no figures of a provider's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

#[derive(Debug, Serialize)]
struct DetailsOut {
    thinking_tokens: u64,
}

impl From<&Usage> for UsageOut {
    fn from(usage: &Usage) -> Self {
        let cache = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
        let details = DetailsOut {
            thinking_tokens: usage.reasoning_tokens,
        };
        Self {
            input_tokens: usage.input_tokens.saturating_sub(cache),
            cache_creation_input_tokens: usage.cache_write_tokens,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            output_tokens_details: (usage.reasoning_tokens > 0).then_some(details),
            estimated: usage.estimated,
        }
    }
}
