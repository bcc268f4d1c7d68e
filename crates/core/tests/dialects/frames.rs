//! AWS event-stream frames from a text that people can read.

#[path = "../../src/frame/aws_event_stream/fixtures.rs"]
mod fixtures;

/// Two lines for each frame, its kind and its name, then its payload, and a blank line:
///
/// ```text
/// event messageStart
/// {"role":"assistant"}
///
/// exception throttlingException
/// {"message":"Too many requests"}
/// ```
pub(crate) fn from_text(text: &str) -> Vec<u8> {
    let blocks = text.split("\n\n").map(str::trim);
    let frames = blocks.filter(|block| !block.is_empty()).map(|block| {
        let (head, payload) = block.split_once('\n').unwrap();
        let (kind, name) = head.split_once(' ').unwrap();
        fixtures::message(kind, name, payload)
    });
    frames.collect::<Vec<_>>().concat()
}
