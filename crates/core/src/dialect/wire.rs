//! What the dialects share for reading events into typed values and for writing them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::frame::sse::SseEvent;

/// Room for the events of a few reads. What is handed out keeps its block alive, so that a larger
/// one would hold more memory than it saves allocations.
const BLOCK_BYTES: usize = 4 << 10;

/// Reads an event. Its texts are checked for UTF-8 all at once, which is faster than one by one.
pub(super) fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, serde_json::Error> {
    match str::from_utf8(data) {
        Ok(text) => serde_json::from_str(text),
        // Its error says where.
        Err(_) => serde_json::from_slice(data),
    }
}

/// A list that mostly has one member, and room for no more than there are; null is an empty one.
pub(super) fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let Some(first) = seq.next_element()? else {
            return Ok(Vec::new());
        };
        let mut list = vec![first];
        while let Some(next) = seq.next_element()? {
            list.push(next);
        }
        Ok(list)
    }
}

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
pub(super) struct EventWriter {
    block: BytesMut,
    /// Where an event is put together, as JSON is written in many small pieces and a plain `Vec`
    /// takes them fastest.
    scratch: Vec<u8>,
}

impl EventWriter {
    /// An event whose data is `value` as JSON on one line.
    pub(super) fn event(&mut self, name: &'static str, value: &impl Serialize) -> SseEvent {
        self.scratch.clear();
        // Fails only for maps with keys that are not text, and what is passed here has none.
        let _infallible = serde_json::to_writer(&mut self.scratch, value);
        if self.scratch.len() > BLOCK_BYTES {
            let data = std::mem::take(&mut self.scratch).into();
            return SseEvent {
                name: Bytes::from_static(name.as_bytes()),
                data,
            };
        }
        if self.block.capacity() < self.scratch.len() {
            self.block.reserve(BLOCK_BYTES);
        }
        self.block.extend_from_slice(&self.scratch);
        SseEvent {
            name: Bytes::from_static(name.as_bytes()),
            data: self.block.split().freeze(),
        }
    }
}
