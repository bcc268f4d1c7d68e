use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::fixtures::{frame, frame_of, message};
use super::{AwsDecoder, AwsError, EXCEPTION};
use crate::frame::sse::SseEvent;

const LIMIT: usize = 1 << 10;

fn event(name: &str, data: &str) -> SseEvent {
    SseEvent {
        name: Bytes::copy_from_slice(name.as_bytes()),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

fn decode(chunks: &[&[u8]]) -> (Vec<SseEvent>, Result<(), AwsError>) {
    let mut decoder = AwsDecoder::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        let result = decoder.push(&Bytes::copy_from_slice(chunk), &mut events);
        if result.is_err() {
            return (events, result);
        }
        assert!(decoder.buffered() < LIMIT + 200, "{}", decoder.buffered());
    }
    decoder.finish();
    (events, Ok(()))
}

/// A message of the specification's own test suite, `payload_one_str_header`.
#[test]
fn a_published_frame_is_read() {
    let bytes = frame(&[("content-type", "application/json")], b"{'foo':'bar'}");
    assert_eq!(&bytes[..12], [0, 0, 0, 61, 0, 0, 0, 32, 7, 253, 131, 150]);
    assert_eq!(bytes[57..], [141, 156, 8, 177]);
    // It says nothing of what it is.
    assert_eq!(decode(&[&bytes]), (Vec::new(), Ok(())));
}

#[test]
fn events_exceptions_and_errors_have_their_names() {
    let bytes = [
        message("event", "messageStart", r#"{"role":"assistant"}"#),
        message("exception", "throttlingException", r#"{"message":"a"}"#),
        frame(
            &[
                (":message-type", "error"),
                (":error-code", "InternalFailure"),
                (":error-message", "It \"broke\""),
            ],
            b"",
        ),
        frame(&[(":message-type", "something-new")], b"x"),
    ];
    let expected = vec![
        event("messageStart", r#"{"role":"assistant"}"#),
        event(
            &format!("{EXCEPTION}throttlingException"),
            r#"{"message":"a"}"#,
        ),
        event(
            &format!("{EXCEPTION}InternalFailure"),
            r#"{"message":"It \"broke\""}"#,
        ),
    ];
    assert_eq!(decode(&[&bytes.concat()]), (expected, Ok(())));
}

#[test]
fn headers_of_every_type_are_passed_over() {
    let text = |name: &str, value: &str| {
        let name_len = u8::try_from(name.len()).unwrap();
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [
            &[name_len],
            name.as_bytes(),
            &[7],
            &length,
            value.as_bytes(),
        ]
        .concat()
    };
    let values: [(u8, &[u8]); 9] = [
        (0, &[]),
        (1, &[]),
        (2, &[0; 1]),
        (3, &[0; 2]),
        (4, &[0; 4]),
        (5, &[0; 8]),
        (6, &[0, 3, 1, 2, 3]),
        (8, &[0; 8]),
        (9, &[0; 16]),
    ];
    let mut block = text(":message-type", "event");
    for (kind, value) in values {
        block.extend([1, b'h', kind]);
        block.extend(value);
    }
    block.extend(text(":event-type", "e"));
    let expected = (vec![event("e", "{}")], Ok(()));
    assert_eq!(decode(&[&frame_of(&block, b"{}")]), expected);
    block.extend([1, b'h', 10]);
    let refused = AwsError::Malformed("a header of no known type");
    assert_eq!(decode(&[&frame_of(&block, b"")]).1, Err(refused));
    for cut in [
        &[5, b'h'][..],
        &[1, b'h'],
        &[1, b'h', 7, 0],
        &[1, b'h', 7, 0, 2, 1],
    ] {
        let refused = AwsError::Malformed("headers that are cut");
        assert_eq!(decode(&[&frame_of(cut, b"")]).1, Err(refused));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let bytes = message("event", "e", "{\"a\":1}");
    for bit in 0..8 * bytes.len() {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (events, result) = decode(&[&bytes]);
        assert!(events.is_empty(), "{bit}");
        assert!(
            matches!(result, Err(AwsError::Checksum(_))),
            "{bit}: {result:?}"
        );
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_prelude() {
    let fits = message("event", "e", &"a".repeat(LIMIT));
    assert_eq!(decode(&[&fits]).0.len(), 1);
    let large = message("event", "e", &"a".repeat(LIMIT + 1));
    let refused = Err(AwsError::EventTooLarge { limit: LIMIT });
    assert_eq!(decode(&[&large[..12]]).1, refused);
    let headers = frame_of(&vec![0; (128 << 10) + 1], b"");
    let refused = Err(AwsError::Malformed("too many headers"));
    assert_eq!(decode(&[&headers[..12]]).1, refused);
    let mut lie = [[0, 0, 0, 15], [0; 4]].concat();
    lie.extend(crc32fast::hash(&lie).to_be_bytes());
    let refused = Err(AwsError::Malformed("a length that cannot be"));
    assert_eq!(decode(&[&lie]).1, refused);
}

proptest! {
    #[test]
    fn the_cut_makes_no_difference(
        payloads in vec("\\PC{0,12}", 0..4),
        cuts in vec(any::<proptest::sample::Index>(), 0..5),
        torn in 0..12usize,
    ) {
        let frames = payloads.iter().map(|payload| message("event", "e", payload));
        let mut bytes = frames.collect::<Vec<_>>().concat();
        let expected: Vec<_> = payloads.iter().map(|payload| event("e", payload)).collect();
        // The start of a frame whose end never comes.
        bytes.extend(&message("event", "e", "{}")[..torn]);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut start = 0;
        for cut in cuts {
            chunks.push(&bytes[start..cut]);
            start = cut;
        }
        chunks.push(&bytes[start..]);
        prop_assert_eq!(decode(&chunks), (expected.clone(), Ok(())));
        let bytewise: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(decode(&bytewise), (expected, Ok(())));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in vec(any::<u8>(), 0..64), headers in vec(any::<u8>(), 0..40)) {
        let _ = decode(&[&bytes]);
        let _ = decode(&[&frame_of(&headers, &bytes)]);
    }
}

#[test]
fn a_wrong_prelude_is_told_with_its_last_byte() {
    let mut decoder = AwsDecoder::new(64);
    let mut out = Vec::new();
    for _ in 0..11 {
        assert_eq!(decoder.push(&Bytes::from_static(b"x"), &mut out), Ok(()));
    }
    let told = decoder.push(&Bytes::from_static(b"x"), &mut out);
    assert_eq!(told, Err(AwsError::Checksum("first checksum")));
}
