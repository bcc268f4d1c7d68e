//! Small changes to a JSON text, of which every other byte stays as it is.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{for_each_element, for_each_member};

/// What became of a value.
pub(super) enum Changed {
    Not,
    To(String),
    Gone,
}

/// Changes a member of an object. Where the member is gone, so is the object.
pub(super) fn member(object: &str, name: &str, change: impl Fn(&str) -> Changed) -> Changed {
    let mut found = None;
    let walked = for_each_member(object.as_bytes(), |member| {
        if member.key == name {
            found = Some((member.value, member.span));
        }
        Ok::<_, serde_json::Error>(())
    });
    let (Ok(()), Some((value, span))) = (walked, found) else {
        return Changed::Not;
    };
    match change(value) {
        Changed::To(text) => Changed::To(replace(object, span, &text)),
        other => other,
    }
}

/// Changes the elements of an array; those that are gone are left out.
pub(super) fn elements(array: &str, mut change: impl FnMut(&str) -> Changed) -> Changed {
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut changed = false;
    let walked = for_each_element(array, |element| {
        let what = change(element);
        changed |= !matches!(what, Changed::Not);
        match what {
            Changed::Not => kept.push(Cow::Borrowed(element)),
            Changed::To(text) => kept.push(Cow::Owned(text)),
            Changed::Gone => {}
        }
    });
    if walked.is_err() || !changed {
        return Changed::Not;
    }
    Changed::To(format!("[{}]", kept.join(",")))
}

pub(super) fn replace(text: &str, place: Range<usize>, by: &str) -> String {
    [&text[..place.start], by, &text[place.end..]].concat()
}

/// An object without the members of these names.
pub(super) fn without(object: &str, names: &[&str]) -> Changed {
    let mut kept = Vec::new();
    let mut found = false;
    let walked = for_each_member(object.as_bytes(), |member| {
        if names.contains(&&*member.key) {
            found = true;
        } else {
            kept.push(&object[member.start..member.span.end]);
        }
        Ok::<_, serde_json::Error>(())
    });
    if walked.is_err() || !found {
        return Changed::Not;
    }
    Changed::To(format!("{{{}}}", kept.join(",")))
}
