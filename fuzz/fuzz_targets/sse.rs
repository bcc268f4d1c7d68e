//! The framers: cuts must not matter, and what is rendered must be decoded again. The first byte of
//! the input says how the rest is cut. It comes as server-sent events, and as frames of AWS's, once as
//! it is and once in a frame with lengths and checksums that are right: what is behind them would
//! hardly ever be reached otherwise.
#![no_main]

use bytes::{Bytes, BytesMut};
use everstream_core::event::Event;
use everstream_core::frame::event::{EventDecoder, EventError, Framing};
use everstream_core::frame::sse::{SseEvent, render};
use everstream_core::id::{Seq, StreamId, UnixMillis};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some((&size, input)) = input.split_first() else {
        return;
    };
    let size = usize::from(size).max(1);
    let input = Bytes::copy_from_slice(input);
    for frames in [input.clone(), framed(&input)] {
        whole(Framing::AwsEventStream, &frames, size).ok();
    }
    let Ok(events) = whole(Framing::Sse, &input, size) else {
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
    let again = decode(Framing::Sse, &frames.freeze(), 7, 4 * LIMIT);
    assert_eq!(again, Ok(events));
});

/// The events of the input, which are the same in pieces of this size.
fn whole(framing: Framing, input: &Bytes, size: usize) -> Result<Vec<SseEvent>, EventError> {
    let whole = decode(framing, input, input.len().max(1), LIMIT);
    assert_eq!(decode(framing, input, size, LIMIT), whole);
    whole
}

fn decode(
    framing: Framing,
    input: &Bytes,
    size: usize,
    limit: usize,
) -> Result<Vec<SseEvent>, EventError> {
    let mut decoder = EventDecoder::new(framing, limit);
    let mut events = Vec::new();
    for at in (0..input.len()).step_by(size) {
        decoder.push(&input.slice(at..input.len().min(at + size)), &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}

/// A frame of AWS's, and the start of another. Of the content that follows its first byte so much is
/// headers as that byte says.
fn framed(content: &[u8]) -> Bytes {
    let Some((&headers, content)) = content.split_first() else {
        return Bytes::new();
    };
    let number = |number: usize| {
        u32::try_from(number)
            .expect("inputs are small")
            .to_be_bytes()
    };
    let headers = usize::from(headers).min(content.len());
    let mut frame = [number(16 + content.len()), number(headers)].concat();
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(content);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_within(..8);
    frame.into()
}
