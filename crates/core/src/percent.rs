//! Names in the paths of URLs.

use std::fmt::Write as _;

/// `text` as one segment of a path (RFC 3986, section 2.3), so that it cannot leave its place.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => {
                let _infallible = write!(segment, "%{byte:02X}");
            }
        }
    }
    segment
}
