use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::json;

use super::header::{Header, headers};
use crate::frame::sse::{SseEvent, utf8};
use crate::limits::AWS_HEADERS_BYTES;

/// The name of an event that is an exception begins so; its type follows.
pub const EXCEPTION: &str = "exception:";

/// Lengths of the frame and of its headers, and the checksum of these two.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// What a frame has around its headers and its payload.
const OVERHEAD: usize = PRELUDE + CHECKSUM;

/// An incremental decoder of event-stream frames.
///
/// The bytes may be cut anywhere; the events are the same. Both checksums of every frame are checked.
/// An event has the frame's `:event-type` as its name and the payload as its data. An exception is an
/// event whose name begins with [`EXCEPTION`]; one that the API does not model, which has its words
/// in headers, has them in JSON as others do.
///
/// Memory is bounded: by `max_event_bytes` for a payload, and by a fixed bound for its headers; what a
/// frame announces is believed only after its checksum. After an error the decoder is of no more use;
/// the events before it were given.
#[derive(Debug)]
pub struct AwsDecoder {
    max_event_bytes: usize,
    /// The start of a frame whose end has not come yet.
    partial: BytesMut,
}

/// Why a stream of frames cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// A payload is larger than the limit.
    #[error("an event is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit.
        limit: usize,
    },
    /// What came is not what was sent, or no frames at all.
    #[error("a frame's {0} does not match")]
    Checksum(&'static str),
    /// Its lengths or its headers are none that a frame can have.
    #[error("a frame has {0}")]
    Malformed(&'static str),
}

impl AwsDecoder {
    /// A decoder at the start of a stream. Frames with more than `max_event_bytes` of payload are
    /// refused.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            partial: BytesMut::new(),
        }
    }

    /// Takes the next bytes and appends the events that they complete to `out`. A payload that lies
    /// whole in `chunk` is not copied but shares its memory.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<SseEvent>) -> Result<(), AwsError> {
        let mut rest = chunk.clone();
        while !rest.is_empty() {
            if self.partial.is_empty() {
                match self.length(&rest)? {
                    Some(length) if length <= rest.len() => {
                        out.extend(event(&rest.split_to(length))?);
                    }
                    _ => {
                        self.partial.extend_from_slice(&rest);
                        break;
                    }
                }
                continue;
            }
            let length = self.length(&self.partial)?;
            let missing = length.unwrap_or(PRELUDE) - self.partial.len();
            let more = rest.split_to(missing.min(rest.len()));
            self.partial.extend_from_slice(&more);
            // Again, as a prelude that is whole only now may be a wrong one.
            if self.length(&self.partial)? == Some(self.partial.len()) {
                let frame = std::mem::take(&mut self.partial).freeze();
                out.extend(event(&frame)?);
            }
        }
        Ok(())
    }

    /// Takes the end of the stream. An unfinished frame is dropped: nothing vouches for it. The
    /// decoder is then at the start of a new stream.
    pub fn finish(&mut self) {
        self.partial = BytesMut::new();
    }

    /// Bytes that are held for the frame in progress.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// The length of the frame that begins here; `None` until its prelude is there.
    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, AwsError> {
        let Some(mut prelude) = bytes.get(..PRELUDE) else {
            return Ok(None);
        };
        let checksum = crc32fast::hash(&prelude[..PRELUDE - CHECKSUM]);
        let (length, headers) = (size(prelude.get_u32()), size(prelude.get_u32()));
        if prelude.get_u32() != checksum {
            return Err(AwsError::Checksum("first checksum"));
        }
        if headers > AWS_HEADERS_BYTES {
            return Err(AwsError::Malformed("too many headers"));
        }
        let payload = length.checked_sub(OVERHEAD + headers);
        let payload = payload.ok_or(AwsError::Malformed("a length that cannot be"))?;
        if payload > self.max_event_bytes {
            let limit = self.max_event_bytes;
            return Err(AwsError::EventTooLarge { limit });
        }
        Ok(Some(length))
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The event of a whole frame, whose prelude was checked. None for a frame of a kind that is not known.
fn event(frame: &Bytes) -> Result<Option<SseEvent>, AwsError> {
    let body = frame.slice(..frame.len() - CHECKSUM);
    if (&frame[body.len()..]).get_u32() != crc32fast::hash(&body) {
        return Err(AwsError::Checksum("last checksum"));
    }
    let headers_end = PRELUDE + size((&frame[4..]).get_u32());
    let mut message = Message::default();
    headers(
        &body.slice(PRELUDE..headers_end),
        |Header { name, text }| {
            let known = match &*name {
                b":message-type" => &mut message.kind,
                b":event-type" => &mut message.event,
                b":exception-type" => &mut message.exception,
                b":error-code" => &mut message.code,
                b":error-message" => &mut message.words,
                _ => return,
            };
            *known = utf8(text);
        },
    )?;
    Ok(message.into_event(body.slice(headers_end..)))
}

/// The headers that say what a frame is.
#[derive(Default)]
struct Message {
    kind: Bytes,
    event: Bytes,
    exception: Bytes,
    code: Bytes,
    words: Bytes,
}

impl Message {
    fn into_event(self, payload: Bytes) -> Option<SseEvent> {
        let exception = |kind: &Bytes| [EXCEPTION.as_bytes(), kind].concat().into();
        let (name, data) = match &*self.kind {
            b"event" => (self.event, utf8(payload)),
            b"exception" => (exception(&self.exception), utf8(payload)),
            b"error" => (exception(&self.code), words(&self.words)),
            _ => return None,
        };
        Some(SseEvent { name, data })
    }
}

/// An error's words as the payload of an exception has them.
fn words(text: &Bytes) -> Bytes {
    let message = str::from_utf8(text).unwrap_or_default();
    json!({ "message": message }).to_string().into()
}
