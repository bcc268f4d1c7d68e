//! What each surface's dialect says, and which of them an upstream understands as it is.

use std::borrow::Cow;

use bytes::Bytes;

use super::translate::{ClientDialect, Place, ProviderDialect, ReplyHead};
use super::{anthropic, bedrock, gemini, openai, openai_responses};
use crate::error::Error;
use crate::event::{Event, Mode, Surface, Usage};
use crate::fault::Fault;
use crate::frame::sse::SseEvent;
use crate::id::Seq;

impl Surface {
    /// The dialect by which it is translated for upstreams of other APIs; `None` for surfaces that
    /// only their own API has.
    pub const fn client(self) -> Option<ClientDialect> {
        match self {
            Self::ChatCompletions => Some(ClientDialect::OpenAiChat),
            Self::Messages => Some(ClientDialect::Anthropic),
            Self::Responses => Some(ClientDialect::OpenAiResponses),
            Self::GenerateContent => Some(ClientDialect::Gemini),
            Self::Completions | Self::Embeddings => None,
        }
    }

    /// The API whose upstreams get its requests, and give its answers, as they are.
    pub const fn native(self) -> ProviderDialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                ProviderDialect::OpenAiChat
            }
            Self::Messages => ProviderDialect::Anthropic,
            Self::Responses => ProviderDialect::OpenAiResponses,
            Self::GenerateContent => ProviderDialect::Gemini,
        }
    }

    /// An error of the gateway's own, as the body of a response.
    pub fn error_body(self, error: &Error) -> Bytes {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                openai::error_body(error)
            }
            Self::Messages => ClientDialect::Anthropic.write_error(&Fault::from(error)),
            Self::Responses => ClientDialect::OpenAiResponses.write_error(&Fault::from(error)),
            Self::GenerateContent => ClientDialect::Gemini.write_error(&Fault::from(error)),
        }
    }

    /// The same as the last event of a stream.
    pub fn error_event(self, error: &Error, place: &Place) -> SseEvent {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => SseEvent {
                name: Bytes::new(),
                data: openai::error_body(error),
            },
            Self::Messages => ClientDialect::Anthropic.error_event(&Fault::from(error), place),
            Self::Responses => {
                ClientDialect::OpenAiResponses.error_event(&Fault::from(error), place)
            }
            Self::GenerateContent => ClientDialect::Gemini.error_event(&Fault::from(error), place),
        }
    }

    /// An error that is no part of the stream: what `seen` is the end of is not over, but cannot be
    /// read any further here.
    pub fn lost_event(self, error: &Error, seen: Seq) -> SseEvent {
        if self == Self::Responses {
            return openai_responses::lost(&Fault::from(error), seen.get());
        }
        let place = Place {
            before: seen.get(),
            head: ReplyHead::default(),
            output: None,
        };
        self.error_event(error, &place)
    }

    /// The body of a response with this error status, from the one event of a stream that has nothing
    /// else.
    pub fn refusal(self, event: Bytes, status: u16) -> Bytes {
        match self {
            Self::Responses => openai_responses::refusal(event, status),
            _ => event,
        }
    }

    /// Whether these, the last events of a stream, at least two if it has so many, are the end of a
    /// whole answer to `request` in the dialect's own words.
    pub fn is_whole(self, request: &[u8], last: &[Event]) -> bool {
        match self {
            Self::GenerateContent => gemini::is_over(request, last),
            _ => last.last().is_some_and(|event| self.is_end(event)),
        }
    }

    /// Whether this is the dialect's own mark of an end.
    fn is_end(self, event: &Event) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                openai::is_done(&event.data)
            }
            Self::Messages => &*event.name == anthropic::END.as_bytes(),
            Self::Responses => {
                matches!(&*event.name, b"response.completed" | b"response.incomplete")
            }
            Self::GenerateContent => false,
        }
    }

    /// The body of an answer that is not streamed, from the events of one that was. `usage` is what
    /// the terminal record says; a client that asked for one body sees it in any case.
    ///
    /// # Errors
    /// `UpstreamInvalid` for an event that is not of the dialect, or when there is none;
    /// `UpstreamError` for an error event. Whether the answer is whole is not judged.
    pub fn fold(self, usage: &Usage, events: &[Bytes]) -> Result<Bytes, Error> {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                let shown = (!usage.estimated).then(|| openai::usage_event(usage));
                openai::fold(self, shown.iter().chain(events).map(AsRef::as_ref))
            }
            Self::Messages => anthropic::fold(events.iter().map(AsRef::as_ref)),
            Self::Responses => openai_responses::fold(events),
            Self::GenerateContent => gemini::fold(events.iter().map(AsRef::as_ref)),
        }
    }
}

impl ProviderDialect {
    /// Where an upstream takes the requests of a surface, below its base URL, which ends in the
    /// version of the API.
    pub fn path(self, surface: Surface, model: &str, mode: Mode) -> Cow<'static, str> {
        match (self, surface) {
            (Self::OpenAiChat, Surface::Completions) => "/completions".into(),
            (Self::OpenAiChat, Surface::Embeddings) => "/embeddings".into(),
            (Self::OpenAiChat, _) => "/chat/completions".into(),
            (Self::OpenAiResponses, _) => "/responses".into(),
            (Self::Anthropic, _) => "/messages".into(),
            (Self::Gemini, _) => gemini::url(model, mode).into(),
            (Self::Cohere, _) => "/v2/chat".into(),
            (Self::Bedrock, _) => bedrock::url(model, mode).into(),
        }
    }

    /// What the API is called, for a person.
    pub const fn title(self) -> &'static str {
        match self {
            Self::OpenAiChat => "OpenAI's API",
            Self::Anthropic => "Anthropic's API",
            Self::OpenAiResponses => "OpenAI's responses API",
            Self::Gemini => "Google's Gemini API",
            Self::Bedrock => "Bedrock's API",
            Self::Cohere => "Cohere's API",
        }
    }
}
