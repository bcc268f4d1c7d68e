//! The two lists of dialects, and what each has to be able to do.

use super::{anthropic, openai_chat};
use crate::ask::Field;

/// An API that clients speak to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientDialect {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// Anthropic's messages.
    Anthropic,
}

/// An API that providers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderDialect {
    /// OpenAI's chat completions, and whoever speaks like it.
    OpenAiChat,
    /// Anthropic's messages.
    Anthropic,
}

/// How a provider differs from the one that its dialect comes from: a part of its row in the table
/// of providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// `openai_chat`: the limit of tokens is named `max_tokens`, as at all but OpenAI itself, which
    /// takes `max_completion_tokens` for all of its models.
    pub max_tokens: bool,
    /// `openai_chat`: takes `top_k`.
    pub top_k: bool,
    /// `openai_chat`: the member of an assistant's message in which it wants its reasoning back.
    pub reasoning_member: Option<&'static str>,
    /// `openai_chat`: takes `reasoning_details` back, with their seals (OpenRouter).
    pub reasoning_details: bool,
    /// `openai_chat`: takes `cache_control` on parts (OpenRouter, DashScope).
    pub cache_control: bool,
    /// `openai_chat`: a last message of the assistant's is the beginning of the answer.
    pub prefill: bool,
    /// `anthropic`: the model knows `thinking.type: adaptive` and `output_config.effort` (from 4.6
    /// on); else an effort is sent as a budget.
    pub adaptive_thinking: bool,
    /// `anthropic`: the `max_tokens`, which it has to have, for a request without one.
    pub default_max_tokens: u64,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            max_tokens: false,
            top_k: false,
            reasoning_member: None,
            reasoning_details: false,
            cache_control: false,
            prefill: false,
            adaptive_thinking: true,
            default_max_tokens: 8_192,
        }
    }
}

/// What of a request to a provider is not in the client's.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// Whether the answer is to be streamed. Usage is then asked for in any case.
    pub stream: bool,
    /// How the provider differs.
    pub traits: &'a Traits,
}

/// What of an answer the gateway says where the provider says nothing.
#[derive(Clone, Debug)]
pub struct ReplyHead {
    /// The answer's id: the stream's.
    pub id: String,
    /// The model, as the client named it.
    pub model: String,
    /// When it was asked, in seconds since 1970.
    pub created: u64,
    /// The client asked for usage in its events, or its API always shows it.
    pub show_usage: bool,
}

/// Why a provider's events are no answer.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// An event is not what the dialect says. Nothing of the event is quoted.
    #[error("an event is not of the API: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It ended before its end. The words follow "the upstream".
    #[error("the upstream {0}")]
    Cut(&'static str),
}

impl ClientDialect {
    /// Its name, as in [`Extra::dialect`](crate::answer::Extra::dialect).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => openai_chat::NAME,
            Self::Anthropic => anthropic::NAME,
        }
    }

    /// Where a field is in a request of this dialect.
    pub fn path(self, field: Field) -> String {
        match self {
            Self::OpenAiChat => openai_chat::path(field),
            Self::Anthropic => anthropic::path(field),
        }
    }
}
