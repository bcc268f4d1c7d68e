use serde::{Deserialize, Serialize};

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of an answer, under all the names that providers have for them. The totals include
/// the details.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageIn {
    #[serde(default)]
    prompt_tokens: Figure,
    #[serde(default)]
    completion_tokens: Figure,
    /// DeepSeek's.
    #[serde(default)]
    prompt_cache_hit_tokens: Figure,
    /// Moonshot's.
    #[serde(default)]
    cached_tokens: Figure,
    prompt_tokens_details: Option<DetailsIn>,
    completion_tokens_details: Option<DetailsIn>,
}

#[derive(Debug, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct DetailsIn {
    #[serde(default)]
    cached_tokens: Figure,
    #[serde(default)]
    cache_write_tokens: Figure,
    #[serde(default)]
    audio_tokens: Figure,
    #[serde(default)]
    reasoning_tokens: Figure,
}

impl UsageIn {
    /// `None` when there is no total.
    pub(super) fn read(self) -> Option<Usage> {
        self.prompt_tokens.0.or(self.completion_tokens.0)?;
        let input = self.prompt_tokens_details.unwrap_or_default();
        let output = self.completion_tokens_details.unwrap_or_default();
        let cached = input.cached_tokens.0;
        let cached = cached.or(self.prompt_cache_hit_tokens.0);
        Some(Usage {
            input_tokens: self.prompt_tokens.0.unwrap_or(0),
            output_tokens: self.completion_tokens.0.unwrap_or(0),
            cached_tokens: cached.or(self.cached_tokens.0).unwrap_or(0),
            cache_write_tokens: input.cache_write_tokens.0.unwrap_or(0),
            audio_input_tokens: input.audio_tokens.0.unwrap_or(0),
            audio_output_tokens: output.audio_tokens.0.unwrap_or(0),
            reasoning_tokens: output.reasoning_tokens.0.unwrap_or(0),
            estimated: false,
        })
    }
}

/// Usage as a client sees it.
#[derive(Debug, Serialize)]
pub(super) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: InputDetails,
    completion_tokens_details: OutputDetails,
    /// These are no figures of a provider's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
    audio_tokens: u64,
}

#[derive(Debug, Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

impl From<&Usage> for UsageOut {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: InputDetails {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: usage.cache_write_tokens,
                audio_tokens: usage.audio_input_tokens,
            },
            completion_tokens_details: OutputDetails {
                reasoning_tokens: usage.reasoning_tokens,
                audio_tokens: usage.audio_output_tokens,
            },
            estimated: usage.estimated,
        }
    }
}
