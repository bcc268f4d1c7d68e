use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use proptest::prelude::*;

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

/// Input, and the events' names and data. The numbers are those of PROTOCOL.md, section 6.
const FIXTURES: &[(&str, &[u8], &[(&str, &str)])] = &[
    ("nothing", b"", &[]),
    ("1 LF", b"data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]),
    ("1 CR", b"data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]),
    (
        "1 CRLF",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        &[("", "a"), ("", "b")],
    ),
    (
        "1 mixed",
        b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r",
        &[("", "a\nb\nc"), ("", "d")],
    ),
    (
        "1 LF CR is two ends",
        b"data: a\n\rdata: b\n\r",
        &[("", "a"), ("", "b")],
    ),
    ("2 BOM", b"\xef\xbb\xbfdata: a\n\n", &[("", "a")]),
    (
        "2 BOM before a comment",
        b"\xef\xbb\xbf: hi\ndata: a\n\n",
        &[("", "a")],
    ),
    (
        "2 two BOMs",
        b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
        &[("", "b")],
    ),
    (
        "2 BOM later",
        b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
        &[("", "a")],
    ),
    (
        "2 BOM in data",
        b"data: \xef\xbb\xbfa\n\n",
        &[("", "\u{feff}a")],
    ),
    ("2 BOM after a line", b"\n\xef\xbb\xbfdata: a\n\n", &[]),
    (
        "3 UTF-8",
        "data: h\u{e9}\u{4f60}\u{1f600}\n\n".as_bytes(),
        &[("", "h\u{e9}\u{4f60}\u{1f600}")],
    ),
    (
        "3 invalid",
        b"data: a\xff\xe4\xbdb\nevent: \xc3\n\n",
        &[("\u{fffd}", "a\u{fffd}\u{fffd}b")],
    ),
    (
        "3 lone surrogate",
        b"data: \xed\xa0\x80\n\n",
        &[("", "\u{fffd}\u{fffd}\u{fffd}")],
    ),
    (
        "4 no line ends",
        "data: a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f\0g\n\n".as_bytes(),
        &[("", "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f\0g")],
    ),
    ("5 no space", b"data:x\n\n", &[("", "x")]),
    ("5 two spaces", b"data:  x\n\n", &[("", " x")]),
    ("5 tab", b"data:\tx\n\n", &[("", "\tx")]),
    ("5 colons", b"data:x:y: z\n\n", &[("", "x:y: z")]),
    (
        "5 many lines",
        b"data: a\ndata\ndata:\ndata: b\n\n",
        &[("", "a\n\n\nb")],
    ),
    ("5 empty line first", b"data\ndata: b\n\n", &[("", "\nb")]),
    (
        "6 event",
        b"event: e\ndata: a\n\ndata: b\n\n",
        &[("e", "a"), ("", "b")],
    ),
    (
        "6 event after data",
        b"data: a\nevent: e\n\n",
        &[("e", "a")],
    ),
    (
        "6 last event counts",
        b"event: e\nevent: f\ndata: a\n\n",
        &[("f", "a")],
    ),
    ("6 event alone", b"event: e\n\ndata: a\n\n", &[("", "a")]),
    (
        "6 unknown",
        b"foo: 1\nDATA: b\n data: c\ndatax: d\ndata: a\n\n",
        &[("", "a")],
    ),
    (
        "6 id and retry",
        b"id: 1\0\nretry: x\ndata: a\nid: 2\nretry: 10\n\n",
        &[("", "a")],
    ),
    ("7 id alone", b"id: 1\n\nretry: 3\n\n\n\n", &[]),
    ("7 unfinished", b"data: a\n\ndata: b\n", &[("", "a")]),
    ("7 unfinished line", b"data: a\n\ndata: b", &[("", "a")]),
    ("7 cut JSON", b"data: {\"a\":{\"b\":1}\n", &[]),
    ("7 a number could go on", b"data: 12", &[]),
    ("7 text could go on", b"data: [DONE", &[]),
    (
        "7 DONE",
        b"data: a\n\ndata: [DONE]",
        &[("", "a"), ("", "[DONE]")],
    ),
    (
        "7 DONE with one end",
        b"data: [DONE]\r\n",
        &[("", "[DONE]")],
    ),
    (
        "7 DONE with spaces",
        b"data:  [DONE] \n",
        &[("", " [DONE] ")],
    ),
    (
        "7 whole JSON",
        b"event: e\ndata: {\"a\":1}",
        &[("e", "{\"a\":1}")],
    ),
    (
        "7 whole JSON on two lines",
        b"data: {\ndata: }\n",
        &[("", "{\n}")],
    ),
    (
        "7 a name that may be cut",
        b"event: e\ndata: {}\nevent: fo",
        &[("e", "{}")],
    ),
    (
        "7 BOM and DONE",
        b"\xef\xbb\xbfdata: [DONE]",
        &[("", "[DONE]")],
    ),
    (
        "8 comments",
        b": ping\n\n:\ndata: a\n: ping\ndata: b\n:x\n\n",
        &[("", "a\nb")],
    ),
    ("8 comment glued", b": ping\ndata: a\n\n", &[("", "a")]),
    (
        "8 heartbeats",
        b"data:\n\ndata: \n\ndata: : keepalive\n\ndata::\n\nevent: e\ndata\n\n",
        &[],
    ),
    ("8 blank lines", b"data\ndata\n\ndata: a\n\n", &[("", "a")]),
];

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
