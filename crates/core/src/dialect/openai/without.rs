use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::dialect::json::for_each_member;

/// An object without one of its members; the rest of its bytes are the same. What is no object is
/// left alone.
pub(in crate::dialect) fn without(body: &Bytes, name: &str) -> Bytes {
    let mut place: Option<Range<usize>> = None;
    // Where the member before ended; then its own place is open until the next one begins.
    let (mut before, mut open) = (None, false);
    let walked = for_each_member(body, |member| {
        if open && let Some(place) = &mut place {
            place.end = member.start;
            open = false;
        }
        if member.key == name && place.is_none() {
            place = Some(member.start..member.span.end);
            open = true;
        } else if place.is_none() {
            before = Some(member.span.end);
        }
        Ok::<_, serde_json::Error>(())
    });
    let Some(mut place) = place.filter(|_| walked.is_ok()) else {
        return body.clone();
    };
    if open && let Some(before) = before {
        place.start = before;
    }
    let mut rest = BytesMut::with_capacity(body.len());
    rest.put_slice(&body[..place.start]);
    rest.put_slice(&body[place.end..]);
    rest.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_leaves_with_its_comma() {
        for (body, rest) in [
            (r#"{"a":1,"x":{"b":2},"c":3}"#, r#"{"a":1,"c":3}"#),
            (r#"{ "x" : 1 , "c":3}"#, r#"{ "c":3}"#),
            (r#"{"a":1 , "x":1 }"#, r#"{"a":1 }"#),
            (r#"{"x":1}"#, "{}"),
            (r#"{"a":{"x":1}}"#, r#"{"a":{"x":1}}"#),
            ("[]", "[]"),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(without(&body, "x"), rest, "{body:?}");
        }
    }
}
