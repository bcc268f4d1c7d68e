//! What a stream is made of: events, and the words for its state.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dialect::ProviderDialect;
use crate::id::{ProjectId, Seq, StreamId, UnixMillis};

/// One event as every reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, dense from 1.
    pub seq: Seq,
    /// When it was logged.
    pub time: UnixMillis,
    /// The name in the SSE `event:` field; empty when the dialect names none. UTF-8, one line.
    pub name: Bytes,
    /// The payload, the upstream's own bytes. UTF-8.
    pub data: Bytes,
}

impl Event {
    /// The name of an event that is a piece of a body which is not streamed.
    pub const PIECE: &'static str = "response.part";

    /// Whether it is one.
    pub fn is_piece(&self) -> bool {
        &*self.name == Self::PIECE.as_bytes()
    }
}

/// The API a stream was opened through; it decides the dialect of the stream's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1beta/models/{model}:generateContent`, and `:streamGenerateContent`
    GenerateContent,
}

impl Surface {
    /// The name that the JSON form and `surface:` in a list query use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::GenerateContent => "generate_content",
        }
    }

    /// Whether the events of an upstream of `provider` go through as they are.
    pub fn passes_through(self, provider: ProviderDialect) -> bool {
        self.native() == provider
    }

    /// Whether the path of a request names the model and says whether the answer is streamed.
    pub const fn is_addressed(self) -> bool {
        matches!(self, Self::GenerateContent)
    }

    /// Whether it is one of OpenAI's two that complete something, and know `stream_options`.
    pub const fn is_completion(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }
}

/// What the upstream was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Server-sent events; each becomes an event of the stream.
    Stream,
    /// One JSON body. It is logged as one event, or as several consecutive pieces when it is
    /// larger than [`limits::UNARY_PIECE_BYTES`](crate::limits::UNARY_PIECE_BYTES).
    Unary,
}

/// The state of a generation. Exactly one of the last four is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted, no upstream called yet.
    Queued,
    /// An upstream is being asked.
    Running,
    /// The provider's own terminal event was logged.
    Completed,
    /// An error ended it; what was delivered is not the whole answer.
    Failed,
    /// A client or a policy stopped it.
    Cancelled,
    /// The gateway lost the upstream and could not re-attach.
    Interrupted,
}

impl Status {
    /// The name in JSON and in `status:` of a list query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Tokens used, as the provider counted them, or an estimate that says so. The details are parts of
/// the two totals, whatever a provider includes in its own: Anthropic's `input_tokens`, for one,
/// leaves out what was read from or written to its cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// Completion tokens, reasoning included.
    pub output_tokens: u64,
    /// The part of the input that came from the provider's prompt cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// The part of the input that was written to the provider's prompt cache, where that is counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
    /// The part of the input that was sound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_input_tokens: u64,
    /// The part of the output that was sound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_output_tokens: u64,
    /// The part of the output that was reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// True when the provider gave no figures and these were counted from the events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// How many tokens so many bytes are taken for where nobody counts: four bytes each, which is the usual
/// rule of thumb for English text, rounded up.
pub const fn tokens_of(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

impl Usage {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_write_tokens: self
                .cache_write_tokens
                .saturating_add(other.cache_write_tokens),
            audio_input_tokens: self
                .audio_input_tokens
                .saturating_add(other.audio_input_tokens),
            audio_output_tokens: self
                .audio_output_tokens
                .saturating_add(other.audio_output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            estimated: self.estimated || other.estimated,
        }
    }

    /// What is left of it without `other`, a part of it.
    #[must_use]
    pub const fn less(&self, other: &Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            cached_tokens: self.cached_tokens.saturating_sub(other.cached_tokens),
            cache_write_tokens: self
                .cache_write_tokens
                .saturating_sub(other.cache_write_tokens),
            audio_input_tokens: self
                .audio_input_tokens
                .saturating_sub(other.audio_input_tokens),
            audio_output_tokens: self
                .audio_output_tokens
                .saturating_sub(other.audio_output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_sub(other.reasoning_tokens),
            estimated: self.estimated,
        }
    }

    /// Whether anything was used.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.input_tokens == 0 && self.output_tokens == 0
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A stream as the list and the head of a page show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamInfo {
    /// The stream.
    pub id: StreamId,
    /// Its owner.
    pub project: ProjectId,
    /// Its state.
    pub status: Status,
    /// The API it was opened through.
    pub surface: Surface,
    /// Streamed or one body.
    pub mode: Mode,
    /// The model as the client named it.
    pub model: String,
    /// The upstream that answers or answered, once one was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// When it was accepted.
    pub created_at: UnixMillis,
    /// When its terminal record was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMillis>,
    /// The newest event.
    pub last_seq: Seq,
    /// Why it ended, as a short code, unless it completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it used, once it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}
