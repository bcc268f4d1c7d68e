//! What the dialects share for reading events into typed values and for writing them.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::frame::sse::SseEvent;

/// Room for the events of a few reads. What is handed out keeps its block alive, so that a larger
/// one would hold more memory than it saves allocations.
const BLOCK_BYTES: usize = 4 << 10;

/// A text in JSON, borrowed unless it has escapes. `serde` borrows into a plain `Cow` only, not into
/// one within an `Option` or a list.
#[derive(Debug, Default)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(StrVisitor)
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Str(Cow::Owned(text)))
    }
}

/// The text of a member that may be absent, null or empty, which is all the same.
pub(super) fn said(text: Option<Str<'_>>) -> Option<Cow<'_, str>> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

/// A count that some providers write in floating point, and others as null. What is no count is as
/// good as absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figure(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FigureVisitor)
    }
}

struct FigureVisitor;

impl<'de> Visitor<'de> for FigureVisitor {
    type Value = Figure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Figure, E> {
        Ok(Figure(Some(count)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Figure, E> {
        Ok(Figure(None))
    }

    fn visit_f64<E>(self, count: f64) -> Result<Figure, E> {
        // A cast of a float saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "only whole numbers that are not negative are cast"
        )]
        let whole = (count >= 0.0 && count.fract() == 0.0).then_some(count as u64);
        Ok(Figure(whole))
    }

    fn visit_unit<E>(self) -> Result<Figure, E> {
        Ok(Figure(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Figure, E> {
        Ok(Figure(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Figure, E> {
        Ok(Figure(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Figure, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Figure(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Figure, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Figure(None))
    }
}

/// Writes events one behind the other into shared blocks of memory.
#[derive(Debug, Default)]
pub(super) struct EventWriter(BytesMut);

impl EventWriter {
    /// An event whose data is `value` as JSON on one line.
    pub(super) fn event(&mut self, name: &'static str, value: &impl Serialize) -> SseEvent {
        if self.0.capacity() < BLOCK_BYTES / 8 {
            self.0.reserve(BLOCK_BYTES);
        }
        // Fails only for maps with keys that are not text, and what is passed here has none.
        let _infallible = serde_json::to_writer((&mut self.0).writer(), value);
        SseEvent {
            name: Bytes::from_static(name.as_bytes()),
            data: self.0.split().freeze(),
        }
    }
}
