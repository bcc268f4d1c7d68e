//! Walking over JSON without building a tree: the parts are slices of the text, so that their
//! places in it are known. Every member and element is checked to be valid JSON on the way, and
//! nesting costs no stack.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object.
pub(super) struct Member<'a> {
    /// Its name, with escapes resolved; with its quotes if they cannot be.
    pub(super) key: Cow<'a, str>,
    /// Where the name starts in the text, at its quote.
    pub(super) start: usize,
    /// The value's text.
    pub(super) value: &'a str,
    /// Where the value lies in the text.
    pub(super) span: Range<usize>,
}

/// Calls `visit` for each member of the object that `text` is, in order; repeated names come
/// repeatedly. The first error of `visit` ends the walk.
pub(super) fn for_each_member<'a, E: From<serde_json::Error>>(
    text: &'a [u8],
    visit: impl FnMut(Member<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut stopped = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let walk = Members {
        base: text.as_ptr().addr(),
        visit,
        stopped: &mut stopped,
    };
    let walked = deserializer
        .deserialize_map(walk)
        .and_then(|()| deserializer.end());
    match stopped {
        Some(error) => Err(error),
        None => Ok(walked?),
    }
}

/// Calls `visit` for the text of each element of the array that `text` is.
pub(super) fn for_each_element<'a>(
    text: &'a str,
    visit: impl FnMut(&'a str),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_seq(Elements(visit))?;
    deserializer.end()
}

struct Members<'e, F, E> {
    base: usize,
    visit: F,
    stopped: &'e mut Option<E>,
}

impl<'de, F, E> Visitor<'de> for Members<'_, F, E>
where
    F: FnMut(Member<'de>) -> Result<(), E>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let (key, value) = (key.get(), value.get());
            let start = value.as_ptr().addr() - self.base;
            let member = Member {
                // A name with half of a surrogate pair is no text, and no name that anybody seeks.
                key: text_of(key).unwrap_or(Cow::Borrowed(key)),
                start: key.as_ptr().addr() - self.base,
                value,
                span: start..start + value.len(),
            };
            if let Err(error) = (self.visit)(member) {
                *self.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}

/// What a JSON string says; borrowed unless it has escapes.
pub(super) fn text_of(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}
