use std::mem;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use serde::de::IgnoredAny;

const BOM: &[u8] = "\u{feff}".as_bytes();
/// What a line may have beside its value: a BOM, a field name, a colon, a space.
const LINE_OVERHEAD: usize = 16;

/// An incremental decoder of `text/event-stream`.
///
/// The bytes may be cut anywhere; the events are the same. It follows the standard with these
/// exceptions, which providers made necessary:
/// - An event whose data is blank, or starts with a colon (`data: : keepalive`), is a provider's
///   heartbeat: it is dropped, with its name.
/// - `id` and `retry` are dropped: the gateway gives its own.
/// - [`finish`](Self::finish) takes a last event that lacks its blank line if its data is whole.
///
/// Memory is bounded: by `max_event_bytes` for the event in progress, and as much again for a line
/// that was cut. After an error the decoder is of no more use; the events before it were given.
#[derive(Debug)]
pub struct SseDecoder {
    max_event_bytes: usize,
    /// The start of a line whose end has not come yet.
    partial: BytesMut,
    /// No line was complete yet, so a BOM may still come.
    at_start: bool,
    /// The last chunk ended in CR: an LF at the start of the next one belongs to it.
    after_cr: bool,
    name: Bytes,
    data: Data,
}

/// An event as a provider sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty when absent. UTF-8.
    pub name: Bytes,
    /// The `data` fields, joined by LF. UTF-8, not blank.
    pub data: Bytes,
}

/// Why an event stream cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event, or one line, is larger than the limit.
    #[error("an event is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit.
        limit: usize,
    },
}

impl SseDecoder {
    /// A decoder at the start of a stream. Events with more than `max_event_bytes` of name and data
    /// are refused.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            partial: BytesMut::new(),
            at_start: true,
            after_cr: false,
            name: Bytes::new(),
            data: Data::None,
        }
    }

    /// Takes the next bytes and appends the events that they complete to `out`. Data that lies
    /// whole in `chunk` is not copied but shares its memory.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let Some(&first) = chunk.first() else {
            return Ok(());
        };
        let mut at = usize::from(mem::take(&mut self.after_cr) && first == b'\n');
        while let Some(len) = memchr2(b'\r', b'\n', &chunk[at..]) {
            let end = at + len;
            if self.partial.is_empty() {
                self.line(chunk, at..end, out)?;
            } else {
                self.keep(&chunk[at..end])?;
                let line = mem::take(&mut self.partial).freeze();
                self.line(&line, 0..line.len(), out)?;
            }
            at = end + 1;
            if chunk[end] == b'\r' {
                match chunk.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
        self.keep(&chunk[at..])
    }

    /// Takes the end of the stream. An unfinished event is dropped unless its data is whole:
    /// `[DONE]`, or a JSON value that shows its own end. The decoder is then at the start of a new
    /// stream.
    pub fn finish(&mut self, out: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let rest = mem::take(&mut self.partial).freeze();
        if !rest.is_empty() {
            // A name could have been cut without a sign of it; data shows whether it is whole.
            let name = self.name.clone();
            self.line(&rest, 0..rest.len(), out)?;
            self.name = name;
        }
        if is_whole(self.data.as_slice()) {
            self.dispatch(out)?;
        }
        *self = Self::new(self.max_event_bytes);
        Ok(())
    }

    /// Bytes that are held for the event in progress.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.partial.capacity() + self.name.len() + self.data.as_slice().len()
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), SseError> {
        self.check(self.partial.len() + part.len(), LINE_OVERHEAD)?;
        self.partial.extend_from_slice(part);
        Ok(())
    }

    fn line(
        &mut self,
        source: &Bytes,
        mut range: Range<usize>,
        out: &mut Vec<SseEvent>,
    ) -> Result<(), SseError> {
        self.check(range.len(), LINE_OVERHEAD)?;
        if mem::take(&mut self.at_start) && source[range.clone()].starts_with(BOM) {
            range.start += BOM.len();
        }
        let line = &source[range.clone()];
        if line.is_empty() {
            return self.dispatch(out);
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => {
                let space = usize::from(line.get(colon + 1) == Some(&b' '));
                (&line[..colon], range.start + colon + 1 + space)
            }
            None => (line, range.end),
        };
        match field {
            b"data" => self.data.add(source.slice(value..range.end)),
            b"event" => self.name = source.slice(value..range.end),
            _ => return Ok(()),
        }
        self.check(self.name.len() + self.data.as_slice().len(), 0)
    }

    fn dispatch(&mut self, out: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let name = mem::take(&mut self.name);
        let data = mem::take(&mut self.data).into_bytes();
        if is_heartbeat(&data) {
            return Ok(());
        }
        let (name, data) = (utf8(name), utf8(data));
        self.check(name.len() + data.len(), 0)?;
        out.push(SseEvent { name, data });
        Ok(())
    }

    fn check(&self, size: usize, overhead: usize) -> Result<(), SseError> {
        let limit = self.max_event_bytes;
        if size > limit.saturating_add(overhead) {
            return Err(SseError::EventTooLarge { limit });
        }
        Ok(())
    }
}

/// JSON that came on several `data:` lines, on one line. Outside of its strings, where JSON allows
/// no line break, a line break is only white space. Without a line break nothing is copied.
pub fn one_line(data: Bytes) -> Bytes {
    if memchr2(b'\r', b'\n', &data).is_none() {
        return data;
    }
    let space = |&byte: &u8| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    };
    data.iter().map(space).collect()
}

/// The data of the event in progress. One line, the ordinary case, stays where it was read.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn add(&mut self, line: Bytes) {
        *self = match mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + 1 + line.len());
                lines.extend_from_slice(&first);
                Self::Many(lines).with(&line)
            }
            many @ Self::Many(_) => many.with(&line),
        };
    }

    fn with(mut self, line: &[u8]) -> Self {
        if let Self::Many(lines) = &mut self {
            lines.put_u8(b'\n');
            lines.extend_from_slice(line);
        }
        self
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::One(line) => line,
            Self::Many(lines) => lines,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(line) => line,
            Self::Many(lines) => lines.freeze(),
        }
    }
}

fn is_heartbeat(data: &[u8]) -> bool {
    matches!(data.trim_ascii_start().first(), None | Some(b':'))
}

/// Whether data that nothing follows is surely not the start of something longer. A number, for
/// one, could be.
fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]"
        || matches!(data.first(), Some(b'{' | b'[' | b'"'))
            && serde_json::from_slice::<IgnoredAny>(data).is_ok()
}

/// Invalid bytes become U+FFFD, only now that the event is whole: a character cut between two
/// reads is not invalid.
pub(in crate::frame) fn utf8(bytes: Bytes) -> Bytes {
    match str::from_utf8(&bytes) {
        Ok(_) => bytes,
        Err(_) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}
