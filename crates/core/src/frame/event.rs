//! The events of a streamed answer, whichever way an upstream frames them.

use bytes::Bytes;

use super::aws_event_stream::{AwsDecoder, AwsError};
use super::sse::{SseDecoder, SseError, SseEvent};

/// How an API tells one event from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// AWS event-stream frames.
    AwsEventStream,
}

impl Framing {
    /// The media type of such a stream.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::AwsEventStream => "application/vnd.amazon.eventstream",
        }
    }
}

/// Takes a provider's bytes, cut anywhere, and gives its events.
#[derive(Debug)]
pub enum EventDecoder {
    /// Of server-sent events.
    Sse(SseDecoder),
    /// Of AWS event-stream frames.
    Aws(AwsDecoder),
}

/// Why a stream cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// An event is larger than the limit.
    #[error("an event is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It is not framed as it has to be.
    #[error("{0}")]
    Malformed(AwsError),
}

impl EventDecoder {
    /// A decoder at the start of a stream, that refuses events of more than `max_event_bytes`.
    pub fn new(framing: Framing, max_event_bytes: usize) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseDecoder::new(max_event_bytes)),
            Framing::AwsEventStream => Self::Aws(AwsDecoder::new(max_event_bytes)),
        }
    }

    /// Takes the next bytes and appends the events that they complete to `out`.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<SseEvent>) -> Result<(), EventError> {
        match self {
            Self::Sse(decoder) => decoder.push(chunk, out).map_err(EventError::from),
            Self::Aws(decoder) => decoder.push(chunk, out).map_err(EventError::from),
        }
    }

    /// Takes the end of the stream, where an event may be whole but for its end mark.
    pub fn finish(&mut self, out: &mut Vec<SseEvent>) -> Result<(), EventError> {
        match self {
            Self::Sse(decoder) => decoder.finish(out).map_err(EventError::from),
            Self::Aws(decoder) => {
                decoder.finish();
                Ok(())
            }
        }
    }
}

impl From<SseError> for EventError {
    fn from(error: SseError) -> Self {
        match error {
            SseError::EventTooLarge { limit } => Self::TooLarge { limit },
        }
    }
}

impl From<AwsError> for EventError {
    fn from(error: AwsError) -> Self {
        match error {
            AwsError::EventTooLarge { limit } => Self::TooLarge { limit },
            error => Self::Malformed(error),
        }
    }
}
