//! A stream as one JSON array, as Google's API has it for clients that do not ask for server-sent
//! events: each event's data is an element, written as soon as it is there.

use bytes::{BufMut as _, BytesMut};

/// Appends one element, `data`, which is JSON: the bracket before the first one, and what parts it
/// from the one before. An error is an element too, the last.
pub fn element(first: bool, data: &[u8], out: &mut BytesMut) {
    let before: &[u8] = if first { b"[" } else { b",\r\n" };
    out.reserve(before.len() + data.len());
    out.put_slice(before);
    out.put_slice(data);
}

/// The end of an array, given whether it has elements.
pub const fn end(any: bool) -> &'static str {
    if any { "]\n" } else { "[]\n" }
}

#[cfg(test)]
mod tests {
    use super::{element, end};
    use bytes::BytesMut;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_elements_come_back(texts in vec("\\PC{0,9}", 0..4)) {
            let mut out = BytesMut::new();
            for (index, text) in texts.iter().enumerate() {
                element(index == 0, serde_json::to_string(text).unwrap().as_bytes(), &mut out);
            }
            out.extend_from_slice(end(!texts.is_empty()).as_bytes());
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&out).unwrap(), texts);
        }
    }
}
