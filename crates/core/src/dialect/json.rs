//! Reading JSON without building a tree: the parts are slices of the text, so that their places in
//! it are known. All of it is checked on the way, exactly as strictly as `serde_json` does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::Error as _;
use serde_json::value::RawValue;

mod scan;

pub(super) use scan::{Scanner, scan};

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
    mut visit: impl FnMut(Member<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut stopped = None;
    let walked = scan(text, |scanner| {
        scanner.members(|name, scanner| {
            let value = scanner.value()?;
            let end = scanner.position();
            let member = Member {
                key: name.text,
                start: name.start,
                value,
                span: end - value.len()..end,
            };
            stopped = visit(member).err();
            stopped.is_none().then_some(())
        })
    });
    match (stopped, walked) {
        (Some(error), _) => Err(error),
        (None, Some(())) => Ok(()),
        (None, None) => Err(fault_of(text).into()),
    }
}

/// Why `text` is no object, and where.
fn fault_of(text: &[u8]) -> serde_json::Error {
    match serde_json::from_slice::<BTreeMap<String, &RawValue>>(text) {
        Err(fault) => fault,
        Ok(_) => serde_json::Error::custom("it is not an object"),
    }
}

/// Calls `visit` for each element of the array that `text` is, in order.
pub(super) fn for_each_element<'a>(
    text: &'a str,
    mut visit: impl FnMut(&'a str),
) -> Result<(), serde_json::Error> {
    let walked = scan(text.as_bytes(), |scanner| {
        scanner.elements(|scanner| {
            visit(scanner.value()?);
            Some(())
        })
    });
    walked.ok_or_else(|| serde_json::Error::custom("it is not an array"))
}

/// What a JSON string says; borrowed unless it has escapes.
pub(super) fn text_of(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests;
