use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use proptest::prelude::*;

use super::fixtures::FIXTURES;
use super::*;
use crate::event::Event;
use crate::id::{Seq, StreamId, UnixMillis};

const LIMIT: usize = 1 << 20;

type Decoded = Result<Vec<SseEvent>, SseError>;

fn decode<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = SseDecoder::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(&Bytes::copy_from_slice(chunk), &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}

/// Decodes whole, cut in two at every place, and byte by byte; all must agree.
fn decode_at_every_split(limit: usize, input: &[u8]) -> Decoded {
    let whole = decode(limit, [input]);
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        assert_eq!(decode(limit, [head, tail]), whole, "cut at {at}");
    }
    assert_eq!(decode(limit, input.chunks(1)), whole, "byte by byte");
    whole
}

fn event(name: &str, data: &str) -> SseEvent {
    SseEvent {
        name: Bytes::copy_from_slice(name.as_bytes()),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

#[test]
fn fixtures_decode_at_every_split() {
    for (name, input, expected) in FIXTURES {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, data)| event(name, data))
            .collect();
        assert_eq!(decode_at_every_split(LIMIT, input), Ok(expected), "{name}");
    }
}

#[test]
fn data_whole_in_a_chunk_is_not_copied() {
    let chunk = Bytes::from_static("event: n\ndata: {\"text\":\"caf\u{e9}\"}\n\n".as_bytes());
    let mut events = Vec::new();
    SseDecoder::new(LIMIT).push(&chunk, &mut events).unwrap();
    let memory = chunk.as_ptr_range();
    assert!(memory.contains(&events[0].data.as_ptr()));
    assert!(memory.contains(&events[0].name.as_ptr()));
}

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    let fits = format!("event: e\ndata: {}\n\n", "x".repeat(99));
    assert_eq!(
        decode_at_every_split(100, fits.as_bytes()).map(|e| e.len()),
        Ok(1)
    );
    let too_large = Err(SseError::EventTooLarge { limit: 100 });
    for input in [
        format!("event: e\ndata: {}\n\n", "x".repeat(100)),
        format!("event: {}\ndata: xx\n\n", "e".repeat(99)),
        format!("{}\n", "data: xxxx\n".repeat(21)),
        "data\n".repeat(102),
        format!(": {}\n", "x".repeat(200)),
        "x".repeat(200),
    ] {
        assert_eq!(
            decode_at_every_split(100, input.as_bytes()),
            too_large,
            "{input}"
        );
    }
    // Each invalid byte grows to three.
    let mut invalid = b"data: ".to_vec();
    invalid.extend([0xff; 40]);
    invalid.extend(b"\n\n");
    assert_eq!(decode(100, [invalid.as_slice()]), too_large);
}

#[test]
fn an_endless_line_costs_no_more_than_the_limit() {
    let mut decoder = SseDecoder::new(LIMIT);
    let mut events = Vec::new();
    let chunk = Bytes::from(vec![b'x'; 16 << 10]);
    let mut taken = 0;
    while decoder.push(&chunk, &mut events).is_ok() {
        taken += chunk.len();
        assert!(taken <= LIMIT + chunk.len());
        assert!(decoder.buffered() <= 2 * LIMIT, "{}", decoder.buffered());
    }
    assert!(events.is_empty());
}

#[test]
fn nothing_is_held_between_events() {
    let mut decoder = SseDecoder::new(LIMIT);
    let mut events = Vec::new();
    let long = format!("data: {}\n\n", "x".repeat(LIMIT / 2));
    for half in long.as_bytes().chunks(LIMIT / 4) {
        decoder
            .push(&Bytes::copy_from_slice(half), &mut events)
            .unwrap();
    }
    assert_eq!(events.len(), 1);
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn a_decoder_can_be_used_again_after_the_end() {
    let mut decoder = SseDecoder::new(LIMIT);
    let mut events = Vec::new();
    for _ in 0..2 {
        let cut = Bytes::from_static(b"\xef\xbb\xbfdata: a\n\nevent: e\ndata: b\r");
        decoder.push(&cut, &mut events).unwrap();
        decoder.finish(&mut events).unwrap();
    }
    assert_eq!(events, [event("", "a"), event("", "a")]);
}

#[test]
fn json_on_several_lines_becomes_one() {
    let json = Bytes::from_static(b"{\"a\":\n1,\r\n\"b\":2}");
    let line = one_line(json.clone());
    assert_eq!(line, "{\"a\": 1,  \"b\":2}");
    let values =
        [&json, &line].map(|text| serde_json::from_slice::<serde_json::Value>(text).unwrap());
    assert_eq!(values[0], values[1]);
    assert_eq!(one_line(line.clone()).as_ptr(), line.as_ptr());
}

fn logged(seq: u64, name: &str, data: &str) -> Event {
    Event {
        seq: Seq::new(seq),
        time: UnixMillis(0),
        name: Bytes::copy_from_slice(name.as_bytes()),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

#[test]
fn a_frame_has_the_id_last_and_retry_only_first() {
    let stream = StreamId::from_bits(42);
    let mut out = BytesMut::from("before\n");
    let data = render(stream, &logged(17, "", "{\"a\":1}"), &mut out);
    assert_eq!(
        out,
        format!("before\ndata: {{\"a\":1}}\nid: {stream}.17\n\n")
    );
    assert_eq!(&out[data], b"{\"a\":1}");

    let mut out = BytesMut::new();
    let data = render(stream, &logged(1, "message_start", "{}"), &mut out);
    let text = str::from_utf8(&out).unwrap();
    let retry: u64 = text
        .split("retry: ")
        .nth(1)
        .unwrap()
        .split('\n')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((500..=1500).contains(&retry));
    let expected = format!("event: message_start\nretry: {retry}\ndata: {{}}\nid: {stream}.1\n\n");
    assert_eq!(text, expected);
    assert_eq!(&out[data], b"{}");

    let mut out = BytesMut::new();
    assert!(render(stream, &logged(2, "", "a\r\nb\rc\n"), &mut out).is_empty());
    assert_eq!(
        out,
        format!("data: a\ndata: b\ndata: c\ndata: \nid: {stream}.2\n\n")
    );
}

#[test]
fn retry_spreads_the_readers_of_many_streams() {
    let retry = |bits| {
        let mut out = BytesMut::new();
        render(StreamId::from_bits(bits), &logged(1, "", "x"), &mut out);
        out.freeze().slice(..11)
    };
    let distinct: std::collections::HashSet<_> = (0..1000).map(retry).collect();
    assert!(distinct.len() > 400, "{}", distinct.len());
}

#[test]
fn a_message_writes_only_what_is_safe() {
    let message = SseMessage::new()
        .comment("a\nb")
        .event("x\r\ny")
        .retry(Duration::from_secs(2))
        .data("1\r\n2\r3")
        .id("4\n5\0");
    let expected = ": a\n: b\nevent: x  y\nretry: 2000\ndata: 1\ndata: 2\ndata: 3\nid: 4 5 \n\n";
    assert_eq!(message.to_bytes(), expected);
    assert_eq!(SseMessage::new().to_bytes(), "");
    assert_eq!(SseMessage::new().data("").to_bytes(), "data: \n\n");
    let no_data = SseMessage::new()
        .event("e")
        .retry(Duration::from_millis(5))
        .id("7");
    assert_eq!(no_data.to_bytes(), "retry: 5\nid: 7\n");
    assert_eq!(SseMessage::new().comment("ping").to_bytes(), HEARTBEAT);
}

/// Cuts `input` at the places that `cuts` stand for.
fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

/// Text made mostly of what means something in an event stream.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "data", "data:", "data: ", "event: ", "id: ", "retry: ", ": ", "\n", "\n\n", "\r",
            "\r\n", "\r\n\r\n", "\u{feff}", "{}", "[DONE]", "x", " ", ":", "\u{4f60}", "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cuts_do_not_matter(input in soup(), cuts: [prop::sample::Index; 6], limit in 0usize..60) {
        let pieces = cut(&input, &cuts);
        prop_assert_eq!(decode(limit, pieces), decode(limit, [input.as_slice()]));
    }

    #[test]
    fn what_is_rendered_is_decoded(
        events in prop::collection::vec(("[a-z_]{0,8}", "[^\\s:][^\r]{0,60}"), 0..8),
        cuts: [prop::sample::Index; 6],
        heartbeats: [bool; 8],
    ) {
        let mut out = BytesMut::new();
        for ((seq, (name, data)), heartbeat) in (1..).zip(&events).zip(heartbeats) {
            if heartbeat {
                out.extend_from_slice(HEARTBEAT);
            }
            render(StreamId::from_bits(7), &logged(seq, name, data), &mut out);
        }
        let expected: Vec<_> = events.iter().map(|(name, data)| event(name, data)).collect();
        prop_assert_eq!(decode(LIMIT, cut(&out, &cuts)), Ok(expected));
    }

    #[test]
    fn a_message_is_decoded_as_one_event(name in "\\PC{0,9}", data in "[^\\s:](?s:.{0,40})", id in "(?s:.{0,9})") {
        let message = SseMessage::new().event(name).data(data.clone()).id(id).to_bytes();
        let events = decode(LIMIT, [&*message]).unwrap();
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(events.len(), 1);
        prop_assert_eq!(&events[0].data, data.as_bytes());
    }

    #[test]
    fn another_decoder_agrees(input in soup(), cuts: [prop::sample::Index; 4]) {
        // It refuses what is not UTF-8, and does not take a last event without its blank line.
        let text = String::from_utf8_lossy(&input).into_owned() + "\n\n";
        let pieces = cut(text.as_bytes(), &cuts);
        prop_assert_eq!(decode(LIMIT, pieces.iter().copied()), Ok(others(&pieces)));
    }
}

/// What the crate `sseer` makes of it, without the heartbeats that ours drops.
fn others(chunks: &[&[u8]]) -> Vec<SseEvent> {
    struct Chunks(VecDeque<Bytes>);
    impl Stream for Chunks {
        type Item = Result<Bytes, Infallible>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }
    let chunks = chunks
        .iter()
        .map(|chunk| Bytes::copy_from_slice(chunk))
        .collect();
    let mut stream = Box::pin(sseer::EventStream::new(Chunks(chunks)));
    let mut context = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    while let Poll::Ready(Some(found)) = stream.as_mut().poll_next(&mut context) {
        let found = found.expect("its input is UTF-8");
        let name = if &*found.event == "message" {
            ""
        } else {
            &*found.event
        };
        if !matches!(
            found.data.trim_ascii_start().as_bytes().first(),
            None | Some(b':')
        ) {
            events.push(event(name, &found.data));
        }
    }
    events
}
