//! Events as they are shown.

use bytes::{Bytes, BytesMut};
use everstream_core::event::Event;
use everstream_core::frame::sse;
use everstream_core::id::{Seq, StreamId};

/// Consecutive events with their SSE frames, as one piece of memory.
#[derive(Debug)]
pub struct Batch {
    /// The events; the data of each is a slice of `frames` wherever it is one line.
    pub events: Vec<Event>,
    /// The frames, one after the other.
    pub frames: Bytes,
    /// Where each event's frame begins in `frames`.
    starts: Vec<usize>,
}

impl Batch {
    /// Renders `events` of `stream`, which must not be empty.
    pub fn render(stream: StreamId, mut events: Vec<Event>) -> Self {
        let size: usize = events
            .iter()
            .map(|e| e.data.len() + e.name.len() + 64)
            .sum();
        let mut frames = BytesMut::with_capacity(size);
        let mut starts = Vec::with_capacity(events.len());
        let mut data = Vec::with_capacity(events.len());
        for event in &events {
            starts.push(frames.len());
            data.push(sse::render(stream, event, &mut frames));
        }
        let frames = frames.freeze();
        for (event, range) in events.iter_mut().zip(data) {
            // Data of several lines does not lie in one piece there.
            if !range.is_empty() {
                event.data = frames.slice(range);
            }
        }
        Self {
            events,
            frames,
            starts,
        }
    }

    /// The newest event's seq.
    pub fn last(&self) -> Seq {
        self.events.last().map_or(Seq::ZERO, |event| event.seq)
    }

    /// The events after `seq`.
    pub fn events_after(&self, seq: Seq) -> &[Event] {
        &self.events[self.skip(seq)..]
    }

    /// The frames of the events after `seq`.
    pub fn frames_after(&self, seq: Seq) -> Bytes {
        let start = self
            .starts
            .get(self.skip(seq))
            .copied()
            .unwrap_or(self.frames.len());
        self.frames.slice(start..)
    }

    fn skip(&self, seq: Seq) -> usize {
        let first = self.events.first().map_or(0, |event| event.seq.get());
        let skip = (seq.get() + 1).saturating_sub(first);
        usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .min(self.events.len())
    }
}
