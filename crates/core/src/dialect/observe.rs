//! What is read of an answer that goes through as it is: how it gets on, and when it is whole.
//!
//! All APIs but OpenAI's chat completions, which have [`openai::observe`](super::openai::observe).

use bytes::Bytes;

use super::translate::ProviderDialect;
use super::{anthropic, gemini, openai_responses};
use crate::event::Usage;
use crate::fault::Fault;
use crate::frame::sse::SseEvent;
use crate::id::StreamId;

/// What an event, or a body, of an upstream's answer means to a gateway that passes it through.
#[derive(Debug)]
pub struct Observation {
    /// What it is.
    pub kind: Kind,
    /// How many choices it says the end of.
    pub finished: u32,
    /// The figures so far, if it has any.
    pub usage: Option<Usage>,
}

/// What an event is.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// The API's own end of a whole answer.
    Done,
    /// The upstream lives, and says nothing.
    Ping,
    /// Nothing that a reader would miss if another upstream had to answer instead.
    Preamble,
    /// A part of the answer, or the reason for its end.
    Content,
    /// The upstream reports a failure.
    Error(Fault),
    /// The API's own end of an answer that is not whole. The words follow "the upstream".
    Cut(&'static str),
    /// Not one whole JSON object.
    Malformed,
}

/// How an upstream that is done with its stream leaves an answer.
#[derive(Debug, PartialEq)]
pub enum Closing {
    /// Whole, as the API marks no end.
    Whole,
    /// Whole but for the API's end mark, which this is.
    Lacks(SseEvent),
    /// Cut. The words follow "the upstream".
    Cut(&'static str),
}

/// Looks at the events of one answer, in order.
#[derive(Debug)]
pub enum Observer {
    /// Anthropic's messages.
    Anthropic(anthropic::Observer),
    /// OpenAI's responses.
    OpenAiResponses(openai_responses::Observer),
    /// Google's `generateContent`.
    Gemini(gemini::Observer),
}

impl Observer {
    /// An observer at the start of the answer of a stream; `echo` is [`ReplyHead::echo`]. `None` for the
    /// API that has its own, and for those that no client speaks.
    ///
    /// [`ReplyHead::echo`]: super::ReplyHead::echo
    pub fn new(provider: ProviderDialect, stream: StreamId, echo: &[u8]) -> Option<Self> {
        match provider {
            ProviderDialect::Anthropic => Some(Self::Anthropic(anthropic::Observer::default())),
            ProviderDialect::OpenAiResponses => {
                let observer = openai_responses::Observer::new(stream, echo);
                Some(Self::OpenAiResponses(observer))
            }
            ProviderDialect::Gemini => Some(Self::Gemini(gemini::Observer::default())),
            ProviderDialect::OpenAiChat | ProviderDialect::Bedrock | ProviderDialect::Cohere => {
                None
            }
        }
    }

    /// Looks at an event, and gives it the name that its readers know it by.
    pub fn observe(&mut self, event: &mut SseEvent) -> Observation {
        match self {
            Self::Anthropic(observer) => observer.observe(event),
            Self::OpenAiResponses(observer) => observer.observe(event),
            Self::Gemini(observer) => observer.observe(event),
        }
    }

    /// Looks at the whole body of an answer that is not streamed.
    pub fn observe_body(&mut self, body: &[u8]) -> Observation {
        match self {
            Self::Anthropic(observer) => observer.observe_body(body),
            Self::OpenAiResponses(_) => openai_responses::Observer::observe_body(body),
            Self::Gemini(observer) => observer.observe_body(body),
        }
    }

    /// The whole body as the client gets it: with the id that the gateway has for it, where clients
    /// come back by that.
    pub fn name_body(&self, body: Bytes) -> Bytes {
        match self {
            Self::OpenAiResponses(observer) => observer.name_body(body),
            Self::Anthropic(_) | Self::Gemini(_) => body,
        }
    }

    /// Whether the whole body is needed before any of it can be passed on.
    pub const fn needs_whole(&self) -> bool {
        matches!(self, Self::OpenAiResponses(_))
    }

    /// What the proper end of the upstream's stream makes of the answer.
    pub fn close(&self) -> Closing {
        match self {
            Self::Anthropic(observer) => observer.close(),
            Self::OpenAiResponses(_) => openai_responses::Observer::close(),
            Self::Gemini(observer) => observer.close(),
        }
    }

    /// The choices that go on.
    pub fn unfinished(&self) -> Vec<u32> {
        match self {
            Self::Gemini(observer) => observer.unfinished(),
            Self::Anthropic(_) | Self::OpenAiResponses(_) => vec![0],
        }
    }

    /// The content block of Anthropic's that is open.
    pub const fn open_block(&self) -> Option<u64> {
        match self {
            Self::Anthropic(observer) => observer.open_block(),
            Self::OpenAiResponses(_) | Self::Gemini(_) => None,
        }
    }

    /// What a connection that breaks makes of it, given how many choices it was asked for.
    pub fn abandon(&self, choices: u32) -> Closing {
        match self {
            Self::Anthropic(observer) => observer.close(),
            Self::OpenAiResponses(_) => openai_responses::Observer::close(),
            Self::Gemini(observer) => observer.abandon(choices),
        }
    }
}

impl From<Kind> for Observation {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            finished: 0,
            usage: None,
        }
    }
}
