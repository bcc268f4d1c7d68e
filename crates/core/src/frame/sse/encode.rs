use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

use crate::event::Event;
use crate::id::{Seq, StreamId};

/// What a reader gets in silence. One newline only: a blank line would close a block without
/// data, at which openai-python raises once it has seen an id. Only for borders between frames.
pub const HEARTBEAT: &[u8] = b": ping\n";

/// The fields' names, line ends, an id and a retry.
const FRAME_OVERHEAD: usize = 96;

/// Appends an event's frame to `out`, and says where in `out` the data lies if it is one line;
/// data of several lines gives an empty range.
///
/// All readers get an event through this function, so they get the same bytes: the name if there
/// is one, `retry` in the first event only, the data, and the id as the last line, because some
/// clients act on an id before the event is whole.
pub fn render(stream: StreamId, event: &Event, out: &mut BytesMut) -> Range<usize> {
    out.reserve(event.name.len() + event.data.len() + FRAME_OVERHEAD);
    if !event.name.is_empty() {
        put_field(out, b"event: ", &event.name);
    }
    if event.seq == Seq::ZERO.next() {
        put_number(out, b"retry: ", retry_millis(stream));
        out.put_u8(b'\n');
    }
    let data = put_lines(out, b"data: ", &event.data);
    out.put_slice(b"id: ");
    out.put_slice(&stream.text());
    put_number(out, b".", event.seq.get());
    out.put_slice(b"\n\n");
    data
}

/// Appends an event's data alone, on one line: `data` is JSON, which has no line breaks but between
/// its tokens. For Google's own surface, some of whose clients take every line that does not begin
/// with `data: ` for JSON.
pub fn render_bare(data: &[u8], out: &mut BytesMut) {
    put_field(out, b"data: ", data);
    out.put_u8(b'\n');
}

/// One server-sent event, for a program that serves an event stream of its own.
///
/// ```
/// # use everstream_core::frame::sse::SseMessage;
/// let message = SseMessage::new().event("price").data("12\n13").id("7");
/// assert_eq!(message.to_bytes(), "event: price\ndata: 12\ndata: 13\nid: 7\n\n");
/// assert_eq!(SseMessage::new().comment("ping").to_bytes(), ": ping\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseMessage {
    comment: Option<String>,
    event: Option<String>,
    retry: Option<Duration>,
    data: Option<Bytes>,
    id: Option<String>,
}

impl SseMessage {
    /// A message with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The data, in UTF-8. Each of its lines becomes a `data` field; the format has only one kind
    /// of line end, so CR and CRLF arrive as LF.
    #[must_use]
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The event's name. A line break in it becomes a space.
    #[must_use]
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// The id that a client sends back as `Last-Event-ID`. A line break or NUL in it becomes a
    /// space: clients ignore an id with a NUL.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into().replace('\0', " "));
        self
    }

    /// How long a client waits before it connects again, in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// A comment, which clients skip; a line of it for each of its lines.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The message's bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }

    /// Appends the message to `out`.
    ///
    /// Without data there is no event: the comment, `retry` and `id` are written without the blank
    /// line at which some clients fail, the name is left out, and an id counts from the next event
    /// on.
    pub fn write(&self, out: &mut BytesMut) {
        if let Some(comment) = &self.comment {
            put_lines(out, b": ", comment.as_bytes());
        }
        if let (Some(event), Some(_)) = (&self.event, &self.data) {
            put_field(out, b"event: ", event.as_bytes());
        }
        if let Some(retry) = self.retry {
            let millis = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
            put_number(out, b"retry: ", millis);
            out.put_u8(b'\n');
        }
        if let Some(data) = &self.data {
            put_lines(out, b"data: ", data);
        }
        if let Some(id) = &self.id {
            put_field(out, b"id: ", id.as_bytes());
        }
        if self.data.is_some() {
            out.put_u8(b'\n');
        }
    }
}

/// 500 to 1,500 ms, from the id: the readers of many streams that were cut at one instant do not
/// all come back at one instant, and a stream's first frame is the same whenever it is rendered.
fn retry_millis(stream: StreamId) -> u64 {
    let mixed = stream.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    500 + (mixed >> 32) % 1001
}

/// A field that holds one line: breaks in `value` become spaces.
fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    let start = out.len();
    out.put_slice(value);
    if memchr2(b'\r', b'\n', value).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    out.put_u8(b'\n');
}

/// A field for each line of `value`. Gives where the value lies when it is one line.
fn put_lines(out: &mut BytesMut, name: &[u8], value: &[u8]) -> Range<usize> {
    let mut rest = value;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        put_line(out, name, &rest[..end]);
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    let start = put_line(out, name, rest);
    if rest.len() == value.len() {
        start..start + value.len()
    } else {
        0..0
    }
}

fn put_line(out: &mut BytesMut, name: &[u8], line: &[u8]) -> usize {
    out.put_slice(name);
    let start = out.len();
    out.put_slice(line);
    out.put_u8(b'\n');
    start
}

fn put_number(out: &mut BytesMut, before: &[u8], mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(before);
    out.put_slice(&digits[at..]);
}
