//! What each surface's dialect says, and which of them an upstream understands as it is.

use bytes::Bytes;

use super::translate::{ClientDialect, ProviderDialect};
use super::{anthropic, openai};
use crate::error::Error;
use crate::event::{Event, Surface, Usage};
use crate::fault::Fault;
use crate::frame::sse::SseEvent;

impl Surface {
    /// The dialect by which it is translated for upstreams of other APIs; `None` for surfaces that
    /// only their own API has.
    pub const fn client(self) -> Option<ClientDialect> {
        match self {
            Self::ChatCompletions => Some(ClientDialect::OpenAiChat),
            Self::Messages => Some(ClientDialect::Anthropic),
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
        }
    }

    /// An error of the gateway's own, as the body of a response.
    pub fn error_body(self, error: &Error) -> Bytes {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                openai::error_body(error)
            }
            Self::Messages => ClientDialect::Anthropic.write_error(&Fault::from(error)),
        }
    }

    /// The same as the last event of a stream.
    pub fn error_event(self, error: &Error) -> SseEvent {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => SseEvent {
                name: Bytes::new(),
                data: openai::error_body(error),
            },
            Self::Messages => ClientDialect::Anthropic.error_event(&Fault::from(error)),
        }
    }

    /// Whether this is the dialect's own end of a stream.
    pub fn is_end(self, event: &Event) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => {
                openai::is_done(&event.data)
            }
            Self::Messages => &*event.name == anthropic::END.as_bytes(),
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
        }
    }
}

impl ProviderDialect {
    /// Where an upstream takes the requests of a surface, below its base URL, which ends in `/v1`.
    pub const fn path(self, surface: Surface) -> &'static str {
        match (self, surface) {
            (Self::OpenAiChat, Surface::Completions) => "/completions",
            (Self::OpenAiChat, Surface::Embeddings) => "/embeddings",
            (Self::OpenAiChat, _) => "/chat/completions",
            (Self::Anthropic, _) => "/messages",
        }
    }

    /// What the API is called, for a person.
    pub const fn title(self) -> &'static str {
        match self {
            Self::OpenAiChat => "OpenAI's API",
            Self::Anthropic => "Anthropic's API",
        }
    }
}
