use serde::Deserialize;

use crate::dialect::wire::Figure;
use crate::event::Usage;

/// The figures of an answer. What is billed leaves out what Cohere adds to the prompt.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UsageIn {
    tokens: Option<TokensIn>,
    billed_units: Option<TokensIn>,
    #[serde(default)]
    cached_tokens: Figure,
}

#[derive(Debug, Default, Deserialize)]
struct TokensIn {
    #[serde(rename = "input_tokens", default)]
    input: Figure,
    #[serde(rename = "output_tokens", default)]
    output: Figure,
}

impl UsageIn {
    /// `None` where there are no figures.
    pub(super) fn read(self) -> Option<Usage> {
        let tokens = self.tokens.or(self.billed_units)?;
        Some(Usage {
            input_tokens: tokens.input.0.unwrap_or_default(),
            output_tokens: tokens.output.0.unwrap_or_default(),
            cached_tokens: self.cached_tokens.0.unwrap_or_default(),
            ..Usage::default()
        })
    }
}
