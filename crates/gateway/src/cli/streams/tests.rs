use proptest::prelude::*;
use serde_json::json;

use super::tail::{Lines, Printer};
use super::*;

const NOW: Duration = Duration::new(1_700_000_100, 0);

#[test]
fn a_list_is_an_aligned_table() {
    let list = json!({
        "page": 1, "total": 21, "data": [
            {"id": "0k3v9f2m7qx4c", "status": "running", "model": "gpt\u{1b}[2J",
             "last_seq": 3, "created_at": 1_700_000_099_500_u64},
            {"id": "0k3v9f2m7qx4d", "status": "completed", "model": "m", "upstream": "ollama",
             "last_seq": 1200, "created_at": 1_699_990_000_000_u64,
             "usage": {"input_tokens": 1, "output_tokens": 1198}},
        ]
    });
    let expected = "\
ID             STATUS     MODEL    UPSTREAM  EVENTS  TOKENS  AGE
0k3v9f2m7qx4c  running    gpt\u{fffd}[2J  -         3       -       500ms
0k3v9f2m7qx4d  completed  m        ollama    1200    1198    2h48m
2 of 21 streams, page 1
";
    assert_eq!(shown_list(&list, NOW), expected);
}

#[test]
fn a_stream_is_shown_line_by_line() {
    let info = json!({
        "id": "0k3v9f2m7qx4c", "project": "web", "status": "failed", "reason": "upstream_cut",
        "surface": "chat_completions", "mode": "stream", "model": "m", "upstream": "fake",
        "created_at": 1_700_000_000_000_u64, "ended_at": 1_700_000_002_345_u64, "last_seq": 9,
        "usage": {"input_tokens": 7, "output_tokens": 8, "cached_tokens": 2, "estimated": true},
        "events": [{"seq": 1, "time": 1_700_000_000_250_u64, "data": ""}],
    });
    let last = json!({"seq": 9, "time": 1_700_000_002_300_u64});
    let expected = "\
stream    0k3v9f2m7qx4c
status    failed: upstream_cut
project   web
surface   chat_completions, stream
model     m
upstream  fake
created   2023-11-14 22:13:20 UTC, 1m40s ago
ended     2023-11-14 22:13:22 UTC, after 2.345s
events    9: the first after 250ms, the last after 2.300s
usage     7 tokens in, 8 out, 2 cached (estimated: the provider gave no figures)
";
    assert_eq!(shown(&info, &last, NOW), expected);
    let bare = shown(&json!({"last_seq": 0}), &Value::Null, NOW);
    assert!(bare.contains("events    0\nusage     -\n"), "{bare}");
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, date) in [
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_399, "2000-02-28 23:59:59 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"),
        (951_868_800, "2000-03-01 00:00:00 UTC"),
        (1_735_689_599, "2024-12-31 23:59:59 UTC"),
        (4_107_542_400, "2100-03-01 00:00:00 UTC"),
    ] {
        assert_eq!(utc(Duration::from_secs(seconds)), date);
    }
}

/// What is printed of events with these data.
fn printed(raw: bool, guarded: bool, data: &[&str]) -> String {
    let mut out = Vec::new();
    let mut printer = Printer::new(raw, guarded, &mut out);
    for data in data {
        printer.event(&json!({ "data": data })).unwrap();
    }
    printer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_text_in_events_is_printed_and_nothing_else() {
    let chat = [
        r#"{"choices":[{"delta":{"role":"assistant"}}]}"#,
        r#"{"choices":[{"delta":{"content":"Hel"}}]}"#,
        r#"{"choices":[{"delta":{"content":"lo\n\u001b[2J"}}]}"#,
        r#"{"choices":[{"text":"!"}]}"#,
        r#"{"choices":[],"usage":{}}"#,
        r#"{"error":{"message":"no"}}"#,
        "[DONE]",
    ];
    assert_eq!(printed(false, false, &chat), "Hello\n\u{1b}[2J!\n");
    assert_eq!(printed(false, true, &chat), "Hello\n\u{fffd}[2J!\n");
    assert_eq!(printed(true, true, &chat), chat.join("\n") + "\n");
    let unary = r#"{"choices":[{"message":{"content":"Hi\n"}}]}"#;
    assert_eq!(printed(false, true, &[unary]), "Hi\n");
    let embedding = r#"{"object":"list","data":[]}"#;
    assert_eq!(
        printed(false, false, &[embedding]),
        format!("{embedding}\n")
    );
    assert_eq!(printed(false, false, &["{\"a\":", "1}"]), "{\"a\":1}\n");
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut(
        lines in prop::collection::vec("[a-z{}]{0,8}\n", 0..8),
        size in 1usize..9,
    ) {
        let text = lines.concat();
        let mut cut = Lines::default();
        let mut got = Vec::new();
        for part in text.as_bytes().chunks(size) {
            got.extend(cut.push(part).unwrap());
        }
        let expected = lines.iter().filter(|line| *line != "\n");
        let expected: Vec<Vec<u8>> = expected.map(|line| line.clone().into()).collect();
        prop_assert_eq!(got, expected);
    }
}
