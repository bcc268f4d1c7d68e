use serde::{Deserialize, Serialize};

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of a response. The totals include the details.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageIn {
    #[serde(default)]
    input_tokens: Figure,
    #[serde(default)]
    output_tokens: Figure,
    input_tokens_details: Option<InputIn>,
    output_tokens_details: Option<OutputIn>,
}

#[derive(Debug, Default, Deserialize)]
struct InputIn {
    #[serde(default)]
    cached_tokens: Figure,
    #[serde(default)]
    cache_write_tokens: Figure,
}

#[derive(Debug, Default, Deserialize)]
struct OutputIn {
    #[serde(default)]
    reasoning_tokens: Figure,
}

impl UsageIn {
    /// `None` when there is no total.
    pub(super) fn read(self) -> Option<Usage> {
        self.input_tokens.0.or(self.output_tokens.0)?;
        let input = self.input_tokens_details.unwrap_or_default();
        let output = self.output_tokens_details.unwrap_or_default();
        Some(Usage {
            input_tokens: self.input_tokens.0.unwrap_or(0),
            output_tokens: self.output_tokens.0.unwrap_or(0),
            cached_tokens: input.cached_tokens.0.unwrap_or(0),
            cache_write_tokens: input.cache_write_tokens.0.unwrap_or(0),
            reasoning_tokens: output.reasoning_tokens.0.unwrap_or(0),
            ..Usage::default()
        })
    }
}

/// Usage as a client sees it.
#[derive(Debug, Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    input_tokens_details: InputOut,
    output_tokens: u64,
    output_tokens_details: OutputOut,
    total_tokens: u64,
    /// These are no figures of a provider's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

#[derive(Debug, Serialize)]
struct InputOut {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Debug, Serialize)]
struct OutputOut {
    reasoning_tokens: u64,
}

impl From<&Usage> for UsageOut {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            input_tokens_details: InputOut {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            },
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputOut {
                reasoning_tokens: usage.reasoning_tokens,
            },
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            estimated: usage.estimated,
        }
    }
}
