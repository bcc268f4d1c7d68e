//! The framer: cuts must not matter, and what is rendered must be decoded again. The first byte of
//! the input says how the rest is cut.
#![no_main]

use bytes::{Bytes, BytesMut};
use everstream_core::event::Event;
use everstream_core::frame::sse::{SseDecoder, SseError, SseEvent, render};
use everstream_core::id::{Seq, StreamId, UnixMillis};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some((&size, input)) = input.split_first() else {
        return;
    };
    let input = Bytes::copy_from_slice(input);
    let whole = decode(&input, input.len().max(1), LIMIT);
    assert_eq!(decode(&input, usize::from(size).max(1), LIMIT), whole);

    let Ok(events) = whole else {
        return;
    };
    let mut frames = BytesMut::new();
    for (seq, SseEvent { name, data }) in (1..).zip(events.iter().cloned()) {
        let event = Event {
            seq: Seq::new(seq),
            time: UnixMillis(0),
            name,
            data,
        };
        render(StreamId::from_bits(seq), &event, &mut frames);
    }
    assert_eq!(decode(&frames.freeze(), 7, 4 * LIMIT), Ok(events));
});

fn decode(input: &Bytes, size: usize, limit: usize) -> Result<Vec<SseEvent>, SseError> {
    let mut decoder = SseDecoder::new(limit);
    let mut events = Vec::new();
    for at in (0..input.len()).step_by(size) {
        decoder.push(&input.slice(at..input.len().min(at + size)), &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}
