//! The two lists of dialects, and what each has to be able to do.

use bytes::Bytes;

use super::traits::Traits;
use super::{anthropic, bedrock, cohere, gemini, openai_chat, openai_responses};
use crate::answer::{Answer, Broken, Delta, Fold, Start};
use crate::ask::{Ask, Field};
use crate::content::Json;
use crate::error::Error;
use crate::event::Surface;
use crate::fault::Fault;
use crate::frame::event::Framing;
use crate::frame::sse::SseEvent;
use crate::id::StreamId;
use crate::record::Accepted;

/// An API that clients speak to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientDialect {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// OpenAI's responses.
    OpenAiResponses,
}

/// An API that providers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderDialect {
    /// OpenAI's chat completions, and whoever speaks like it.
    OpenAiChat,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// OpenAI's responses.
    OpenAiResponses,
    /// AWS Bedrock's Converse.
    Bedrock,
    /// Cohere's chat, version 2.
    Cohere,
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
#[derive(Clone, Debug, Default)]
pub struct ReplyHead {
    /// The answer's id: the stream's.
    pub id: String,
    /// The model that answers; as the client named it, where that is not known.
    pub model: String,
    /// When it was asked, in seconds since 1970.
    pub created: u64,
    /// The client asked for usage in its events, or its API always shows it.
    pub show_usage: bool,
    /// For OpenAI's responses: what of the request they repeat, as [`openai_responses::echo`] gives it.
    pub echo: Bytes,
}

/// The place in a stream at which an error is told, for the API whose last event repeats its answer.
#[derive(Clone, Debug)]
pub struct Place {
    /// How many events come before.
    pub before: u64,
    /// What the gateway knows of the answer.
    pub head: ReplyHead,
    /// The items so far, as a list of OpenAI's responses; without, none is told.
    pub output: Option<Json<'static>>,
}

/// Why a provider's events are no answer.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// An event is not JSON, or has something else where its dialect has a text or a list. Nothing
    /// of it is quoted: it may hold what nobody else is to see.
    #[error("an event is not of its API, from its byte {column} on")]
    Malformed {
        /// Where, from 1; 0 if that is not known.
        column: usize,
    },
    /// It has more of something than is ever asked for.
    #[error("the answer has too many {0}")]
    TooMany(&'static str),
    /// It ended before its end. The words follow "the upstream".
    #[error("the upstream {0}")]
    Cut(&'static str),
    /// A whole answer is an error, whatever its status said.
    #[error("the upstream failed: {}", .0.message)]
    Failed(Fault),
}

impl ReplyHead {
    /// What is known of the answer of a logged stream.
    pub fn of(stream: StreamId, accepted: &Accepted) -> Self {
        Self {
            id: stream.to_string(),
            model: accepted.model.clone(),
            created: accepted.created_at.0 / 1000,
            show_usage: accepted.include_usage,
            echo: match accepted.surface {
                Surface::Responses => openai_responses::echo(&accepted.request),
                _ => Bytes::new(),
            },
        }
    }

    /// Takes what the provider says over what the gateway would.
    pub(super) fn take(&mut self, start: &Start<'_>) {
        if !start.id.is_empty() {
            start.id.as_ref().clone_into(&mut self.id);
        }
        if !start.model.is_empty() {
            start.model.as_ref().clone_into(&mut self.model);
        }
        self.created = start.created.unwrap_or(self.created);
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed {
            column: error.column(),
        }
    }
}

/// The answer that a whole body was folded into.
pub(super) fn whole(fold: Fold) -> Result<Answer, DecodeError> {
    fold.finish().map_err(|broken| match broken {
        Broken::Fault(fault) => DecodeError::Failed(fault),
        Broken::Cut => DecodeError::Cut("sent an answer without an end"),
    })
}

impl ClientDialect {
    /// Its name, as in [`Extra::dialect`](crate::answer::Extra::dialect).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => openai_chat::NAME,
            Self::Anthropic => anthropic::NAME,
            Self::Gemini => gemini::NAME,
            Self::OpenAiResponses => openai_responses::NAME,
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// `InvalidJson`, `MissingField` and `InvalidValue` for one that is wrong by itself;
    /// `Untranslatable` for a field that only this API knows. All name the field.
    pub fn read_request(self, body: &[u8]) -> Result<Ask<'_>, Error> {
        match self {
            Self::OpenAiChat => openai_chat::read_request(body),
            Self::Anthropic => anthropic::read_request(body),
            Self::Gemini => gemini::read_request(body),
            Self::OpenAiResponses => openai_responses::read_request(body),
        }
    }

    /// Where a field is in a request of this dialect.
    pub fn path(self, field: Field) -> String {
        match self {
            Self::OpenAiChat => openai_chat::path(field),
            Self::Anthropic => anthropic::path(field),
            Self::Gemini => gemini::path(field),
            Self::OpenAiResponses => openai_responses::path(field),
        }
    }

    /// The body of an answer that is not streamed.
    pub fn write_answer(self, answer: &Answer, head: &ReplyHead) -> Bytes {
        match self {
            Self::OpenAiChat => openai_chat::write_answer(answer, head),
            Self::Anthropic => anthropic::write_answer(answer, head),
            Self::Gemini => gemini::write_answer(answer, head),
            Self::OpenAiResponses => openai_responses::write_answer(answer, head),
        }
    }

    /// The body of a response with an error status.
    pub fn write_error(self, fault: &Fault) -> Bytes {
        match self {
            // One error object for all of OpenAI's API.
            Self::OpenAiChat | Self::OpenAiResponses => openai_chat::write_error(fault),
            Self::Anthropic => anthropic::write_error(fault),
            Self::Gemini => gemini::write_error(fault),
        }
    }

    /// The event for an error in the middle of a stream, its last one.
    pub fn error_event(self, fault: &Fault, place: &Place) -> SseEvent {
        let name = match self {
            Self::OpenAiResponses => return openai_responses::failed(fault, place),
            Self::OpenAiChat | Self::Gemini => "",
            Self::Anthropic => "error",
        };
        SseEvent {
            name: Bytes::from_static(name.as_bytes()),
            data: self.write_error(fault),
        }
    }
}

impl ProviderDialect {
    /// Its name, as in [`Extra::dialect`](crate::answer::Extra::dialect).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => openai_chat::NAME,
            Self::Anthropic => anthropic::NAME,
            Self::Gemini => gemini::NAME,
            Self::OpenAiResponses => openai_responses::NAME,
            Self::Cohere => cohere::NAME,
            Self::Bedrock => bedrock::NAME,
        }
    }

    /// How it tells one event of a stream from the next.
    pub const fn framing(self) -> Framing {
        match self {
            Self::Bedrock => Framing::AwsEventStream,
            _ => Framing::Sse,
        }
    }

    /// Writes a request.
    ///
    /// # Errors
    /// `Untranslatable` names the field that the provider cannot express.
    pub fn write_request(self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Bytes, Error> {
        match self {
            Self::OpenAiChat => openai_chat::write_request(ask, target),
            Self::Anthropic => anthropic::write_request(ask, target),
            Self::Gemini => gemini::write_request(ask, target),
            Self::OpenAiResponses => openai_responses::write_request(ask, target),
            Self::Cohere => cohere::write_request(ask, target),
            Self::Bedrock => bedrock::write_request(ask, target),
        }
    }

    /// Reads the body of an answer that is not streamed. `id` stands for the answer's where the
    /// provider gives none.
    pub fn read_answer(self, body: &[u8], id: &str) -> Result<Answer, DecodeError> {
        match self {
            Self::OpenAiChat => openai_chat::read_answer(body, id),
            Self::Anthropic => anthropic::read_answer(body, id),
            Self::Gemini => gemini::read_answer(body, id),
            Self::OpenAiResponses => openai_responses::read_answer(body, id),
            Self::Cohere => cohere::read_answer(body, id),
            Self::Bedrock => bedrock::read_answer(body, id),
        }
    }

    /// Reads the body of a response with an error status.
    pub fn read_error(self, status: u16, body: &[u8]) -> Fault {
        match self {
            // One error object for all of OpenAI's API.
            Self::OpenAiChat | Self::OpenAiResponses => openai_chat::read_error(status, body),
            Self::Anthropic => anthropic::read_error(status, body),
            Self::Gemini => gemini::read_error(status, body),
            Self::Cohere => cohere::read_error(status, body),
            Self::Bedrock => bedrock::read_error(status, body),
        }
    }
}

/// Turns a provider's events into deltas. It owns no socket and no time.
#[derive(Debug)]
pub enum Decoder {
    /// OpenAI's chat completions.
    OpenAiChat(openai_chat::Decoder),
    /// Anthropic's messages.
    Anthropic(anthropic::Decoder),
    /// Google's `generateContent`.
    Gemini(gemini::Decoder),
    /// OpenAI's responses.
    OpenAiResponses(openai_responses::Decoder),
    /// Cohere's chat, version 2.
    Cohere(cohere::Decoder),
    /// AWS Bedrock's Converse.
    Bedrock(bedrock::Decoder),
}

impl Decoder {
    /// A decoder at the start of an answer. `id` stands for the answer's where the provider gives
    /// none, and makes ids of tool calls that lack one.
    pub fn new(dialect: ProviderDialect, id: &str) -> Self {
        match dialect {
            ProviderDialect::OpenAiChat => Self::OpenAiChat(openai_chat::Decoder::new(id)),
            ProviderDialect::Anthropic => Self::Anthropic(anthropic::Decoder::new(id)),
            ProviderDialect::Gemini => Self::Gemini(gemini::Decoder::new(id)),
            ProviderDialect::OpenAiResponses => {
                Self::OpenAiResponses(openai_responses::Decoder::new(id))
            }
            ProviderDialect::Cohere => Self::Cohere(cohere::Decoder::new(id)),
            ProviderDialect::Bedrock => Self::Bedrock(bedrock::Decoder::new(id)),
        }
    }

    /// Takes one event: its name, empty if it has none, and its data.
    pub fn push(
        &mut self,
        name: &[u8],
        data: &[u8],
        out: &mut dyn FnMut(&Delta<'_>),
    ) -> Result<(), DecodeError> {
        match self {
            Self::OpenAiChat(decoder) => decoder.push(name, data, out),
            Self::Anthropic(decoder) => decoder.push(name, data, out),
            Self::Gemini(decoder) => decoder.push(name, data, out),
            Self::OpenAiResponses(decoder) => decoder.push(name, data, out),
            Self::Cohere(decoder) => decoder.push(name, data, out),
            Self::Bedrock(decoder) => decoder.push(name, data, out),
        }
    }

    /// Takes the end of the stream. An answer that is whole but for its end mark gets it.
    pub fn finish(&mut self, out: &mut dyn FnMut(&Delta<'_>)) -> Result<(), DecodeError> {
        match self {
            Self::OpenAiChat(decoder) => decoder.finish(out),
            Self::Anthropic(decoder) => decoder.finish(out),
            Self::Gemini(decoder) => decoder.finish(out),
            Self::OpenAiResponses(decoder) => decoder.finish(out),
            Self::Cohere(decoder) => decoder.finish(out),
            Self::Bedrock(decoder) => decoder.finish(out),
        }
    }
}

/// Turns deltas into a client's events, blocks opened and closed as its API says.
#[derive(Debug)]
pub enum Renderer {
    /// OpenAI's chat completions.
    OpenAiChat(openai_chat::Renderer),
    /// Anthropic's messages.
    Anthropic(anthropic::Renderer),
    /// Google's `generateContent`.
    Gemini(gemini::Renderer),
    /// OpenAI's responses.
    OpenAiResponses(openai_responses::Renderer),
}

impl Renderer {
    /// A renderer at the start of an answer.
    pub fn new(dialect: ClientDialect, head: ReplyHead) -> Self {
        match dialect {
            ClientDialect::OpenAiChat => Self::OpenAiChat(openai_chat::Renderer::new(head)),
            ClientDialect::Anthropic => Self::Anthropic(anthropic::Renderer::new(head)),
            ClientDialect::Gemini => Self::Gemini(gemini::Renderer::new(head)),
            ClientDialect::OpenAiResponses => {
                Self::OpenAiResponses(openai_responses::Renderer::new(head))
            }
        }
    }

    /// The items so far, for the [`Place`] of an error.
    pub fn output(&self) -> Option<Json<'static>> {
        match self {
            Self::OpenAiResponses(renderer) => renderer.output(),
            Self::OpenAiChat(_) | Self::Anthropic(_) | Self::Gemini(_) => None,
        }
    }

    /// Takes one delta and pushes the events that it makes.
    pub fn push(&mut self, delta: &Delta<'_>, out: &mut Vec<SseEvent>) {
        match self {
            Self::OpenAiChat(renderer) => renderer.push(delta, out),
            Self::Anthropic(renderer) => renderer.push(delta, out),
            Self::Gemini(renderer) => renderer.push(delta, out),
            Self::OpenAiResponses(renderer) => renderer.push(delta, out),
        }
    }
}
