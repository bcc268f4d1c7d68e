//! The forms in which an answer is streamed.

use bytes::{Bytes, BytesMut};
use everstream_core::frame::json_array;
use everstream_core::frame::sse::{HEARTBEAT, SseEvent, SseMessage, render_bare};
use everstream_core::id::Seq;

use crate::generate::live::Batch;

/// How a client gets the events of a stream, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events with ids, and comments in silence.
    Frames,
    /// Google's server-sent events: nothing but data and blank lines, as its SDK for Python takes
    /// any other line for JSON. Ids are at the stream's own address.
    Bare,
    /// One JSON array, as Google's API has it where no server-sent events are asked for.
    Array {
        /// It has an element.
        begun: bool,
    },
}

impl Form {
    /// The media type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Frames | Self::Bare => "text/event-stream",
            Self::Array { .. } => "application/json",
        }
    }

    /// The events of a batch after `before`.
    pub(super) fn events(&mut self, batch: &Batch, before: Seq) -> Bytes {
        if *self == Self::Frames {
            return batch.frames_after(before);
        }
        let mut out = BytesMut::new();
        for event in batch.events_after(before) {
            self.put(&event.data, &mut out);
        }
        out.freeze()
    }

    /// An event that is not logged, and the end.
    pub(super) fn last(&mut self, event: &SseEvent) -> Bytes {
        if *self == Self::Frames {
            let message = SseMessage::new().data(event.data.clone());
            return match str::from_utf8(&event.name) {
                Ok(name) if !name.is_empty() => message.event(name).to_bytes(),
                _ => message.to_bytes(),
            };
        }
        let mut out = BytesMut::new();
        self.put(&event.data, &mut out);
        out.extend_from_slice(&self.end().unwrap_or_default());
        out.freeze()
    }

    /// What follows the last event, if anything does.
    pub(super) fn end(self) -> Option<Bytes> {
        match self {
            Self::Frames | Self::Bare => None,
            Self::Array { begun } => Some(Bytes::from_static(json_array::end(begun).as_bytes())),
        }
    }

    /// What says in silence that the answer is still awaited. Only between events.
    pub(super) const fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Frames => HEARTBEAT,
            // A blank line closes no event there, and is white space in JSON.
            Self::Bare | Self::Array { .. } => b"\n",
        })
    }

    fn put(&mut self, data: &[u8], out: &mut BytesMut) {
        match self {
            Self::Array { begun } => {
                json_array::element(!*begun, data, out);
                *begun = true;
            }
            Self::Frames | Self::Bare => render_bare(data, out),
        }
    }
}
