use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn look(data: &str) -> Observation {
    observe(data.as_bytes())
}

fn chunk(choices: &Value) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "choices": choices}).to_string()
}

fn delta(delta: &Value) -> String {
    chunk(&json!([{"index": 0, "delta": delta, "finish_reason": null, "logprobs": null}]))
}

#[test]
fn done_is_seen_with_spaces() {
    for data in ["[DONE]", " [DONE]  "] {
        assert_eq!(look(data).kind, Kind::Done);
    }
}

#[test]
fn a_role_or_an_empty_delta_is_preamble() {
    for data in [
        delta(&json!({"role": "assistant"})),
        delta(&json!({"role": "assistant", "content": "", "refusal": null, "tool_calls": []})),
        delta(&json!({})),
        delta(&json!(null)),
        chunk(&json!([])),
        chunk(&json!(null)),
        r#"{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}]}"#.to_owned(),
        r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#.to_owned(),
        r#"{"type":"keepalive"}"#.to_owned(),
        "{}".to_owned(),
    ] {
        assert_eq!(look(&data).kind, Kind::Preamble, "{data}");
    }
}

#[test]
fn any_part_of_an_answer_is_content() {
    for data in [
        delta(&json!({"content": "x"})),
        delta(&json!({"content": " "})),
        delta(&json!({"role": "assistant", "content": "x"})),
        delta(&json!({"reasoning_content": "x"})),
        delta(&json!({"reasoning": "x"})),
        delta(&json!({"refusal": "x"})),
        delta(&json!({"tool_calls": [{"index": 0}]})),
        delta(&json!({"function_call": {"name": "f"}})),
        delta(&json!({"audio": {"id": "a"}})),
        delta(&json!({"never_heard_of": 0})),
        r#"{"choices":[{"text":"x","index":0}]}"#.to_owned(),
        delta(&json!({"content": [{"type": "thinking", "thinking": []}]})),
    ] {
        assert_eq!(look(&data).kind, Kind::Content, "{data}");
    }
}

#[test]
fn finishes_are_counted() {
    let data = chunk(&json!([
        {"index": 0, "delta": {}, "finish_reason": "stop"},
        {"index": 1, "delta": {"content": "x"}, "finish_reason": null},
        {"index": 2, "delta": {}, "finish_reason": "length"},
    ]));
    let seen = look(&data);
    assert_eq!((seen.kind, seen.choices.finished()), (Kind::Content, 2));
    assert!(!seen.choices.all_finished());
    let spaced = "{\"choices\" : [{\"finish_reason\" \n:\t\"stop\"}]}";
    assert!(look(spaced).choices.all_finished());
}

#[test]
fn each_choice_that_has_begun_has_to_be_finished() {
    let of = |index: u64, finish: Option<&str>| {
        let choice = json!([{"index": index, "delta": {}, "finish_reason": finish}]);
        look(&chunk(&choice)).choices
    };
    let mut marks = Marks::default();
    assert!(!marks.all_finished());
    assert_eq!(marks.take(of(0, None)), 0);
    assert_eq!(marks.take(of(1, Some("stop"))), 1);
    assert_eq!(marks.take(of(1, Some("stop"))), 0);
    assert!(!marks.all_finished());
    assert_eq!(marks.take(of(0, Some("length"))), 1);
    // Figures that come behind the end, with a choice of no content.
    assert_eq!(marks.take(of(0, None)), 0);
    assert!(marks.all_finished());
    marks.take(of(1 << 40, None));
    marks.take(of(5_000, None));
    assert!(!marks.all_finished());
}

#[test]
fn choices_of_another_shape_are_malformed() {
    for data in [
        chunk(&json!("x")),
        chunk(&json!(1)),
        chunk(&json!({})),
        chunk(&json!(["x"])),
        chunk(&json!([null])),
        delta(&json!("x")),
        delta(&json!([1])),
        delta(&json!({"content": 5})),
        delta(&json!({"content": true})),
        delta(&json!({"content": {"text": "x"}})),
        chunk(&json!([{"index": 0, "text": 1}])),
        chunk(&json!([{"index": 0, "delta": {}, "finish_reason": 1}])),
        chunk(&json!([{"index": 0, "delta": {}, "finish_reason": {"type": "stop"}}])),
    ] {
        assert_eq!(look(&data), Kind::Malformed.into(), "{data}");
        assert_eq!(observe_body(data.as_bytes()).kind, Kind::Malformed);
    }
}

#[test]
fn usage_is_found_wherever_it_comes() {
    let expected = Usage {
        input_tokens: 9,
        output_tokens: 12,
        cached_tokens: 4,
        reasoning_tokens: 5,
        ..Usage::default()
    };
    let usage = json!({
        "prompt_tokens": 9, "completion_tokens": 12.0, "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 5},
    });
    for (choices, only) in [
        (json!([]), true),
        (json!(null), true),
        (
            json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
            false,
        ),
        (
            json!([{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]),
            false,
        ),
        (json!([{"index": 0, "delta": {"content": ""}}]), false),
    ] {
        let data = json!({"choices": choices, "usage": usage}).to_string();
        let seen = look(&data);
        assert_eq!(seen.usage.as_ref(), Some(&expected), "{data}");
        assert_eq!(seen.usage_only, only, "{data}");
    }
    let alone = json!({ "usage": usage }).to_string();
    assert!(look(&alone).usage_only);
}

#[test]
fn odd_usage_is_read_as_far_as_it_goes() {
    let usage = |usage: Value| look(&json!({"choices": [], "usage": usage}).to_string()).usage;
    assert_eq!(usage(json!(null)), None);
    assert_eq!(usage(json!({})), None);
    assert_eq!(usage(json!("9")), None);
    assert_eq!(usage(json!({"total_tokens": 3})), None);
    let zero = usage(
        json!({"prompt_tokens": 0, "completion_tokens": null, "prompt_tokens_details": null}),
    );
    assert_eq!(zero, Some(Usage::default()));
    let odd =
        usage(json!({"prompt_tokens": -1, "completion_tokens": 2, "prompt_cache_hit_tokens": 1}));
    assert_eq!(
        odd,
        Some(Usage {
            output_tokens: 2,
            cached_tokens: 1,
            ..Usage::default()
        })
    );
}

#[test]
fn errors_are_seen_in_any_form() {
    for data in [
        r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#,
        r#"{"error" : "overloaded"}"#,
        r#"{"choices":[],"error":{"message":"overloaded"}}"#,
        r#"{"object":"error","message":"overloaded","type":"x","code":503}"#,
    ] {
        let seen = look(data);
        let Kind::Error(fault) = seen.kind else {
            panic!("{data}: {seen:?}");
        };
        assert_eq!(fault.message, "overloaded", "{data}");
    }
    let null = r#"{"error":null,"choices":[{"delta":{"content":"x"}}]}"#;
    assert_eq!(look(null).kind, Kind::Content);
}

#[test]
fn words_in_a_text_are_only_words() {
    for text in [
        r#""error": {"message": "x"}, "usage": {"prompt_tokens": 1}, "finish_reason": "stop""#,
        "error",
        "usage",
        "finish_reason",
        "[DONE]",
    ] {
        let data =
            delta(&json!({"content": text, "tool_calls": [{"function": {"arguments": text}}]}));
        assert_eq!(look(&data).kind, Kind::Content, "{data}");
        // Names further in are not the answer's.
        let nested =
            delta(&json!({"content": "x", "y": {"usage": {"prompt_tokens": 1}, "error": "e"}}));
        let seen = look(&nested);
        assert_eq!((seen.kind, seen.usage), (Kind::Content, None));
    }
}

#[test]
fn a_repeated_or_escaped_member_hides_nothing() {
    let data = r#"{"usage":{"prompt_tokens":1},"usage":null,"choices":[{"finish_reason":"stop"}]}"#;
    let seen = look(data);
    assert!(seen.choices.all_finished());
    assert_eq!(seen.usage.map(|usage| usage.input_tokens), Some(1));
    let escaped = r#"{"\u0065rror":"x"}"#;
    assert!(matches!(look(escaped).kind, Kind::Error(_)));
}

#[test]
fn what_is_not_one_object_is_malformed() {
    let deep = "[".repeat(100_000);
    for data in [
        "",
        "hello",
        "<html></html>",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{\"a\":}",
        "{\"error\":",
        "{\"choices\":[}",
        "{'a':1}",
        "\u{1}\u{2}",
        &deep,
    ] {
        assert_eq!(look(data), Kind::Malformed.into(), "{data}");
    }
}

#[test]
fn nesting_costs_no_stack() {
    let data = format!(
        "{{\"choices\":[{{\"delta\":{{\"x\":{}{}}}}}]}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(look(&data).kind, Kind::Content);
}

#[test]
fn bodies_are_content_or_an_error() {
    let chat = observe_body(
        br#" {"object":"chat.completion","choices":[{"message":{"role":"assistant","content":null},
            "finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":0}} "#,
    );
    assert_eq!((chat.kind, chat.choices.finished()), (Kind::Content, 1));
    assert_eq!(chat.usage.map(|usage| usage.input_tokens), Some(3));

    let embeddings = observe_body(
        br#"{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
    );
    assert_eq!(
        (embeddings.kind, embeddings.usage_only),
        (Kind::Content, false)
    );
    assert_eq!(embeddings.usage.map(|usage| usage.input_tokens), Some(8));

    let error = observe_body(br#"{"error":{"message":"no","code":"x"}}"#);
    assert!(matches!(error.kind, Kind::Error(fault) if fault.code.as_deref() == Some("x")));
    for body in ["<html>", "", "{\"choices\":[", "[1]", "[DONE]"] {
        assert_eq!(
            observe_body(body.as_bytes()).kind,
            Kind::Malformed,
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn every_cut_event_is_malformed(content in "\\PC{0,30}", finish: bool, at: prop::sample::Index) {
        let finish = if finish { json!("stop") } else { json!(null) };
        let data = chunk(&json!([{"delta": {"content": content}, "finish_reason": finish}]));
        let cut = &data.as_bytes()[..at.index(data.len())];
        prop_assert_eq!(observe(cut).kind, Kind::Malformed);
        prop_assert_eq!(observe_body(cut).kind, Kind::Malformed);
    }

    #[test]
    fn what_is_put_into_an_event_is_seen(
        content in "\\PC{1,30}",
        finish in prop::option::of("[a-z]{1,8}"),
        tokens in prop::option::of(any::<u32>()),
        error in prop::option::of("[a-z]{1,8}"),
    ) {
        let usage = tokens.map(|tokens| json!({"prompt_tokens": tokens, "completion_tokens": 1}));
        let data = json!({
            "choices": [{"delta": {"content": content}, "finish_reason": finish}],
            "usage": usage,
            "error": error,
        });
        let seen = look(&data.to_string());
        if let Kind::Error(fault) = &seen.kind {
            prop_assert_eq!(Some(&fault.message), error.as_ref());
            return Ok(());
        }
        prop_assert_eq!((&seen.kind, error), (&Kind::Content, None));
        prop_assert_eq!(seen.choices.finished(), u32::from(finish.is_some()));
        prop_assert_eq!(seen.usage.map(|usage| usage.input_tokens), tokens.map(u64::from));
        prop_assert!(!seen.usage_only);
    }

    #[test]
    fn no_data_panics(data: Vec<u8>) {
        observe(&data);
        observe_body(&data);
    }
}
