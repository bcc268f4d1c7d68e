/// What it shows (with its number in PROTOCOL.md, section 6), the input, the events' names and data.
pub(super) type Fixture = (
    &'static str,
    &'static [u8],
    &'static [(&'static str, &'static str)],
);

pub(super) const FIXTURES: &[Fixture] = &[
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
