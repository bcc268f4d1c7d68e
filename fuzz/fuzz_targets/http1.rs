//! Responses of upstreams: cuts must not matter, except for which of several faults is told. The
//! first byte of the input says how the rest is cut.
#![no_main]

use everstream_core::frame::http1::{BodyState, HeadDecoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&size, input)) = input.split_first() else {
        return;
    };
    let whole = decode(input, input.len().max(1));
    assert_eq!(decode(input, usize::from(size).max(1)), whole);
});

/// Status, body, and whether it was whole.
type Answer = (u16, Vec<u8>, bool);

/// `None` when there is no whole head.
fn decode(input: &[u8], size: usize) -> Option<Answer> {
    let mut head = HeadDecoder::new("POST");
    let mut chunks = input.chunks(size);
    let decoded = loop {
        if let Some(decoded) = head.push(chunks.next()?).ok()? {
            break decoded;
        }
    };
    let mut body = decoded.body;
    let mut text = body.push(&mut decoded.rest.clone()).to_vec();
    for chunk in chunks {
        if body.state() == BodyState::Open {
            text.extend_from_slice(body.push(&mut chunk.to_vec()));
        }
    }
    Some((decoded.head.status, text, body.finish().is_ok()))
}
