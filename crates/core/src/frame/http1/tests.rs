use super::*;
use crate::limits::{
    UPSTREAM_CHUNK_EXTENSION_BYTES, UPSTREAM_HEAD_BYTES, UPSTREAM_HEADERS, UPSTREAM_TRAILER_BYTES,
};
use proptest::prelude::*;

/// What a whole exchange came to.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    keep_alive: bool,
    body: Vec<u8>,
    state: BodyState,
    end: Result<(), Http1Error>,
    surplus: bool,
}

/// Feeds the pieces one by one, as so many reads, and then the end of the connection.
fn decode(method: &str, pieces: &[&[u8]]) -> Result<Answer, Http1Error> {
    let mut heads = HeadDecoder::new(method);
    let mut parts: Option<(ResponseHead, BodyDecoder)> = None;
    let mut body = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        if parts.is_none() {
            let Some(found) = heads.push(&piece)? else {
                continue;
            };
            piece = found.rest;
            parts = Some((found.head, found.body));
        }
        if let Some((_, decoder)) = &mut parts {
            body.extend_from_slice(decoder.push(&mut piece));
        }
    }
    let Some((head, decoder)) = parts else {
        return Err(heads.finish().expect("something was sent"));
    };
    Ok(Answer {
        status: head.status,
        keep_alive: head.keep_alive,
        body,
        state: decoder.state(),
        end: decoder.finish(),
        surplus: decoder.surplus(),
    })
}

fn get(text: &str) -> Result<Answer, Http1Error> {
    decode("GET", &[text.as_bytes()])
}

fn whole(body: &str) -> Answer {
    Answer {
        status: 200,
        keep_alive: true,
        body: body.into(),
        state: BodyState::Done,
        end: Ok(()),
        surplus: false,
    }
}

const FIXTURES: [&str; 9] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n\
     0002;a=b;c=\"d\"\r\nhe\r\n3 \r\nllo\r\n0\r\nDigest: x\r\nb: y\r\n\r\n",
    "\r\n\r\nHTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
     HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 Caf\u{e9}\r\nx-empty:\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n00000\r\n\r\n",
];

#[test]
fn a_fixture_is_the_same_at_every_split_and_byte_by_byte() {
    for fixture in FIXTURES {
        let bytes = fixture.as_bytes();
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(
                decode("GET", &[a, b]),
                Ok(whole("hello")),
                "{fixture:?} at {cut}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode("GET", &single), Ok(whole("hello")), "{fixture:?}");
    }
}

#[test]
fn every_proper_prefix_is_truncated() {
    for fixture in FIXTURES {
        let bytes = fixture.as_bytes();
        for cut in 1..bytes.len() {
            let end = decode("GET", &[&bytes[..cut]]).and_then(|answer| answer.end);
            assert!(
                matches!(end, Err(Http1Error::Truncated(_))),
                "{fixture:?} at {cut}: {end:?}"
            );
        }
    }
}

#[test]
fn chunks_of_one_read_come_out_together_and_the_first_stays_in_place() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut heads = HeadDecoder::new("POST");
    let mut decoder = heads.push(head).expect("valid").expect("whole").body;
    let mut input = *b"3\r\nabc\r\n2\r\nde\r\n4\r\nfg";
    let body = decoder.push(&mut input);
    assert_eq!(body, b"abcdefg");
    let body = body.as_ptr().addr();
    assert_eq!(body, input.as_ptr().addr() + 3);
    assert_eq!(decoder.state(), BodyState::Open);
}

#[test]
fn what_came_before_a_broken_chunk_is_still_given() {
    let answer = get("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    let answer = answer.expect("the head is fine");
    assert_eq!(answer.body, b"abc");
    assert_eq!(
        answer.state,
        BodyState::Failed(Http1Error::Chunk("a chunk size is not a number"))
    );
    assert_eq!(
        answer.end,
        Err(Http1Error::Chunk("a chunk size is not a number"))
    );
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let answer = get("HTTP/1.1 200 OK\r\n\r\nhello").expect("valid");
    assert_eq!(answer.state, BodyState::Open);
    assert_eq!((answer.end, answer.keep_alive), (Ok(()), false));
    assert_eq!(answer.body, b"hello");
}

#[test]
fn some_answers_have_no_body_whatever_their_headers_say() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
    ] {
        let answer = decode(method, &[head.as_bytes()]).expect("valid");
        assert_eq!(
            (answer.state, answer.keep_alive),
            (BodyState::Done, true),
            "{head:?}"
        );
    }
}

#[test]
fn bytes_after_the_end_are_noticed_and_not_given() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nx",
    ] {
        let answer = get(text).expect("valid");
        assert_eq!(answer.body, b"hello");
        assert!(answer.surplus, "{text:?}");
    }
}

#[test]
fn the_connection_header_decides_on_keep_alive() {
    for (head, keep_alive) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n",
            false,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, close\r\n\r\n",
            false,
        ),
    ] {
        assert_eq!(get(head).expect("valid").keep_alive, keep_alive, "{head:?}");
    }
}

#[test]
fn an_unclear_length_is_refused() {
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: +5",
        "content-length: -1",
        "content-length: 5 5",
        "content-length: 5,",
        "content-length:",
        "content-length: 0x5",
        "content-length: 18446744073709551616",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding:",
    ] {
        let result = get(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nhello"));
        assert!(
            matches!(result, Err(Http1Error::Framing(_))),
            "{headers:?}: {result:?}"
        );
    }
    let old = get("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(matches!(old, Err(Http1Error::Framing(_))));
}

#[test]
fn broken_chunked_framing_is_refused() {
    for body in [
        "\r\n",
        ";a\r\n",
        "-5\r\n",
        "0x5\r\n",
        "5g\r\n",
        "5\nhello\r\n",
        "5;a\nhello\r\n",
        "5\rhello",
        "00000000000000005\r\nhello",
        "5\r\nhelloo",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rx",
        "0\r\n\n",
        "0\r\na: b\n\r\n",
        "0\r\n\rx",
        "0\r\na\rb",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let end = get(&text).and_then(|answer| answer.end);
        assert!(
            matches!(end, Err(Http1Error::Chunk(_))),
            "{body:?}: {end:?}"
        );
    }
}

#[test]
fn endless_lines_are_cut_off() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = "e".repeat(UPSTREAM_CHUNK_EXTENSION_BYTES + 1);
    let trailers = "t: x\r\n".repeat(UPSTREAM_TRAILER_BYTES / 3);
    for text in [
        format!("{chunked}5;{extension}"),
        format!("{chunked}0\r\n{trailers}"),
    ] {
        let end = get(&text).and_then(|answer| answer.end);
        assert!(matches!(end, Err(Http1Error::Chunk(_))), "{end:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(UPSTREAM_HEAD_BYTES));
    assert_eq!(get(&endless), Err(Http1Error::HeadTooLarge));
    let finished = format!("{endless}\r\n\r\n");
    assert_eq!(get(&finished), Err(Http1Error::HeadTooLarge));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(UPSTREAM_HEAD_BYTES / 20);
    assert_eq!(get(&interim), Err(Http1Error::HeadTooLarge));
    let many = "x: y\r\n".repeat(UPSTREAM_HEADERS + 1);
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    assert_eq!(get(&many), Err(Http1Error::TooManyHeaders));
}

#[test]
fn what_is_no_http_is_told_at_the_first_byte_that_shows_it() {
    for bytes in [
        &b"\x15\x03\x03\x00\x02\x02\x16"[..],
        b"HTTP/2",
        b"SSH-2.0",
        b"<html>",
    ] {
        assert_eq!(decode("GET", &[bytes]), Err(Http1Error::NotHttp));
    }
    assert_eq!(get("HTTP/1.2 200 OK\r\n\r\n"), Err(Http1Error::NotHttp));
    for head in [
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 101 Switching Protocols",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 200 OK\r\na b: c",
        "HTTP/1.1 200 OK\r\na : c",
        "HTTP/1.1 200 OK\r\na: b\r\n folded",
        "HTTP/1.1 200 OK\r\na: \0",
    ] {
        let result = get(&format!("{head}\r\n\r\n"));
        assert!(
            matches!(result, Err(Http1Error::Head(_))),
            "{head:?}: {result:?}"
        );
    }
}

#[test]
fn headers_are_found_in_any_case_and_debug_shows_no_values() {
    let text =
        b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nset-cookie: canary\r\nX: \r\nx: b\r\n\r\n";
    let head = HeadDecoder::new("GET")
        .push(text)
        .expect("valid")
        .expect("whole")
        .head;
    assert_eq!((head.status, head.get_str("retry-after")), (429, Some("7")));
    assert_eq!(head.get("x"), Some(&b""[..]));
    assert_eq!(head.get("absent"), None);
    assert_eq!(head.iter().count(), 4);
    assert!(!format!("{head:?}").contains("canary"));
}

#[test]
fn a_request_head_has_the_lines_it_was_given() {
    let mut shared = Fields::default();
    shared.push("host", "api.example").expect("valid");
    let mut own = Fields::default();
    own.push("accept", "text/event-stream").expect("valid");
    let head =
        request_head("POST", "/v1/x?y=z", &[&shared, &own], BodyLength::Known(2)).expect("valid");
    let expected = "POST /v1/x?y=z HTTP/1.1\r\nhost: api.example\r\naccept: text/event-stream\r\n\
                    content-length: 2\r\n\r\n";
    assert_eq!(String::from_utf8(head).expect("ASCII"), expected);
    let bare = request_head("GET", "/", &[], BodyLength::None).expect("valid");
    assert_eq!(bare, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn nothing_can_be_smuggled_into_a_request() {
    let mut fields = Fields::default();
    for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\u{7f}"] {
        let error = fields.push("x-key", bad).expect_err("refused");
        assert_eq!(error, RequestError::Value("x-key".into()));
        assert!(fields.push(&format!("x{bad}"), "v").is_err());
        assert!(request_head("GET", &format!("/{bad}"), &[], BodyLength::None).is_err());
        assert!(request_head(bad, "/", &[], BodyLength::None).is_err());
    }
    for reserved in ["Content-Length", "transfer-encoding", "CONNECTION"] {
        assert_eq!(
            fields.push(reserved, "1"),
            Err(RequestError::Reserved(reserved.into()))
        );
    }
    for target in ["", "x", "http://a/", "/a b", "/\u{e9}"] {
        assert_eq!(
            request_head("GET", target, &[], BodyLength::None),
            Err(RequestError::Target)
        );
    }
    assert_eq!(
        request_head("GET", "/", &[&fields], BodyLength::None),
        Ok(b"GET / HTTP/1.1\r\n\r\n".into())
    );
}

fn cut(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}

proptest! {
    #[test]
    fn chunks_come_out_as_they_went_in(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            text.extend(format!("{:X}\r\n", chunk.len()).bytes());
            text.extend(chunk);
            text.extend(b"\r\n");
        }
        text.extend(b"0\r\n\r\n");
        let pieces = cut(&text, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let answer = decode("GET", &pieces).expect("valid");
        prop_assert_eq!(answer.body, chunks.concat());
        prop_assert_eq!((answer.state, answer.end, answer.surplus), (BodyState::Done, Ok(()), false));
    }

    #[test]
    fn any_bytes_at_any_split_give_one_and_the_same_result(
        start in prop::sample::select(vec![
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ]),
        tail in prop::collection::vec(
            prop::sample::select(b"\r\n\r\n0129af;: hx-HTP/\0\xff".to_vec()), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let text = [start.as_bytes(), &tail].concat();
        let pieces = cut(&text, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(decode("GET", &pieces), decode("GET", &[&text]));
    }
}
