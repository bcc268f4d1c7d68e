use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

fn accepts(text: &[u8]) -> bool {
    let value = scan(text, |scanner| {
        scanner.peek()?;
        let start = scanner.position();
        let value = scanner.value()?;
        assert_eq!(scanner.position() - start, value.len());
        Some(value)
    });
    if let Some(value) = value {
        assert_eq!(value.as_bytes(), text.trim_ascii());
    }
    value.is_some()
}

fn is_json(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// As `accepts`, but looks at each member and element.
fn walk(scanner: &mut Scanner<'_>) -> Option<Value> {
    match scanner.peek()? {
        b'{' => {
            let mut members = serde_json::Map::new();
            scanner.members(|name, scanner| {
                members.insert(name.text.into_owned(), walk(scanner)?);
                Some(())
            })?;
            Some(members.into())
        }
        b'[' => {
            let mut elements = Vec::new();
            scanner.elements(|scanner| {
                elements.push(walk(scanner)?);
                Some(())
            })?;
            Some(elements.into())
        }
        _ => {
            let scalar = scanner.value()?;
            // What a number stands for, and half of a pair, is not the scanner's to judge.
            Some(serde_json::from_str(scalar).unwrap_or_default())
        }
    }
}

fn assert_same(text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    assert_eq!(accepts(text), is_json(text), "{shown}");
    assert_eq!(scan(text, walk).is_some(), is_json(text), "{shown}");
}

/// Pieces that make JSON, and nearly make it.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"a\"",
    "\"\\u00e9\"",
    "\\u",
    "\\ud800",
    "\"é😀\"",
    "\u{1}",
    "\u{7f}",
    "\u{feff}",
    " ",
    "\n",
    "\t",
    "\r",
    "\u{c}",
    "\u{a0}",
    "/",
    "//",
    "'",
    "null",
    "nul",
    "true",
    "false",
    "NaN",
    "0",
    "1",
    "9",
    "-",
    "+",
    ".",
    "e",
    "E",
    "01",
    "-0",
    "0.5",
    "1e9",
    "1E+2",
    "{}",
    "[]",
    "[1]",
    "{\"a\":1}",
    "\"a\":",
    "\"\\\"\"",
    "long enough for several words ",
];

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "null|true|false|0|-0|-?[1-9][0-9]{0,20}(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
        any::<f64>().prop_map(|number| Value::from(number).to_string()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "\"([ !#-\\[\\]-~é😀]|\\\\([\"\\\\/bfnrt]|u[0-9a-fA-F]{4})){0,20}\"",
    ];
    let space = "[ \t\r\n]{0,2}";
    scalar.prop_recursive(6, 24, 4, move |inner| {
        let spaced = (space, inner, space).prop_map(|(a, value, b)| a + &value + &b);
        let name = "[ \n]?\"([a-z\u{e9}]|\\\\n|\\\\u00[0-7][0-9]){0,9}\"[ \t]?";
        let member = (name, spaced.clone()).prop_map(|(name, value)| name + ":" + &value);
        prop_oneof![
            (space, prop::collection::vec(spaced, 1..4))
                .prop_map(|(_, elements)| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 1..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            space.prop_map(|space| format!("[{space}]")),
            space.prop_map(|space| format!("{{{space}}}")),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_accepted_whole_and_at_no_cut(text in json()) {
        prop_assert!(accepts(text.as_bytes()), "{}", text);
        for cut in 0..text.len() {
            assert_same(&text.as_bytes()[..cut]);
            assert_same(&text.as_bytes()[cut..]);
        }
    }

    #[test]
    fn what_is_read_is_what_is_written(text in json()) {
        // Numbers beyond any and halves of pairs are no values.
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(scan(text.as_bytes(), walk), Some(value));
        }
    }

    #[test]
    fn changed_json_is_judged_as_by_serde_json(
        text in json(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..3),
    ) {
        let mut text = text.into_bytes();
        for (at, byte, change) in changes {
            let at = at.index(text.len() + 1);
            match change {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        assert_same(&text);
    }

    #[test]
    fn near_json_is_judged_as_by_serde_json(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12),
    ) {
        assert_same(pieces.concat().as_bytes());
    }

    #[test]
    fn any_bytes_are_judged_as_by_serde_json(text: Vec<u8>) {
        assert_same(&text);
    }
}

#[test]
fn every_byte_in_every_place_of_a_word_is_judged_as_by_serde_json() {
    for byte in 0..=u8::MAX {
        for at in 1..18 {
            let mut text = *b"\"aaaaaaaaaaaaaaaaa\" ";
            text[at] = byte;
            assert_eq!(accepts(&text), is_json(&text), "{byte:#x} at {at}");
        }
        assert_eq!(accepts(&[byte]), is_json(&[byte]), "{byte:#x}");
    }
}

#[test]
fn nesting_is_known_at_any_depth() {
    for depth in [1, 63, 64, 65, 127, 128, 129, 1000] {
        for (open, close, wrong) in [
            ("[", "]", "}"),
            ("{\"a\":", "}", "]"),
            ("[{\"\":", "}]", "]}"),
        ] {
            let inside = open.repeat(depth) + "1";
            assert!(
                accepts((inside.clone() + &close.repeat(depth)).as_bytes()),
                "{depth} {open}"
            );
            for part in [0, depth / 2, depth - 1] {
                let text =
                    inside.clone() + &close.repeat(part) + wrong + &close.repeat(depth - part - 1);
                assert_eq!(
                    accepts(text.as_bytes()),
                    is_json(text.as_bytes()),
                    "{depth} {text}"
                );
                let text = inside.clone() + &close.repeat(part);
                assert!(!accepts(text.as_bytes()), "{text}");
            }
        }
    }
}

#[test]
fn a_fault_is_told_with_its_place() {
    let fault = |text: &[u8]| {
        for_each_member(text, |_| Ok::<_, serde_json::Error>(())).map_err(|error| error.to_string())
    };
    assert_eq!(fault(b"{}"), Ok(()));
    for (text, place) in [
        (&b"{\"a\":1,\n\"b\" 2}"[..], "line 2 column 5"),
        (b"{\"a\":[1,2}", "line 1 column 10"),
        (b"{\"a\":1", "line 1 column 6"),
        (b"{\"a\":\"\xff\"}", "line 1"),
        (b"{} {}", "line 1 column 4"),
        (b"[1]", "line 1"),
        (b"", "line 1"),
    ] {
        let told = fault(text).expect_err("a fault");
        assert!(told.contains(place), "{told}");
    }
}
