use proptest::prelude::*;

use super::*;

fn folded(surface: Surface, events: &[Value]) -> Value {
    let events: Vec<_> = events.iter().map(Value::to_string).collect();
    let events = events
        .iter()
        .map(String::as_bytes)
        .chain([b"[DONE]".as_slice()]);
    serde_json::from_slice(&fold(surface, events).unwrap()).unwrap()
}

fn chat(choices: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "system_fingerprint": "fp", "service_tier": "default", "choices": choices})
}

fn choice(index: u64, delta: &Value) -> Value {
    chat(&json!([{"index": index, "delta": delta, "finish_reason": null}]))
}

#[test]
fn a_chat_becomes_one_body() {
    let events = [
        choice(
            0,
            &json!({"role": "assistant", "content": "", "refusal": null}),
        ),
        choice(1, &json!({"role": "assistant", "reasoning_content": "hm"})),
        choice(0, &json!({"content": "Hel"})),
        choice(1, &json!({"reasoning_content": "m", "content": "B"})),
        choice(0, &json!({"content": "lo"})),
        chat(&json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
        chat(&json!([{"index": 1, "delta": {}, "finish_reason": "length", "stop_reason": 7}])),
        json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        json!({"choices": [], "usage": null}),
    ];
    let expected = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "system_fingerprint": "fp", "service_tier": "default",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "choices": [
            {"index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": "Hello", "refusal": null}},
            {"index": 1, "finish_reason": "length", "logprobs": null, "stop_reason": 7,
                "message": {"role": "assistant", "content": "B", "reasoning_content": "hmm"}},
        ],
    });
    assert_eq!(folded(Surface::ChatCompletions, &events), expected);
}

#[test]
fn tool_calls_are_put_together_by_index() {
    let call = |call: Value| choice(0, &json!({"tool_calls": [call]}));
    let events = [
        choice(0, &json!({"role": "assistant", "content": null})),
        call(
            json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}),
        ),
        call(
            json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\""}}),
        ),
        call(json!({"index": 1, "function": {"arguments": "{}"}})),
        // Some providers repeat what does not change.
        call(
            json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ":1}"}}),
        ),
        call(json!({"index": 0, "id": "", "function": {"name": "", "arguments": null}})),
    ];
    let message = &folded(Surface::ChatCompletions, &events)["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert_eq!(
        message["tool_calls"],
        json!([
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ])
    );
}

#[test]
fn other_parts_are_kept() {
    let events = [
        choice(
            0,
            &json!({"function_call": {"name": "f", "arguments": "{"}, "audio": {"id": "x", "data": "aa"}}),
        ),
        choice(
            0,
            &json!({"function_call": {"arguments": "}"}, "audio": {"data": "bb", "expires_at": 9}}),
        ),
        choice(
            0,
            &json!({"novel": "a", "count": 1, "list": [1], "reasoning_details": [{"index": 0, "text": "x"}]}),
        ),
        choice(
            0,
            &json!({"novel": "b", "count": 2, "list": [2], "reasoning_details": [{"index": 0, "text": "y"}]}),
        ),
        choice(
            0,
            &json!({"tool_calls": [{"id": "a", "function": {"name": "f"}}]}),
        ),
        choice(
            0,
            &json!({"tool_calls": [{"id": "b", "function": {"name": "g"}}]}),
        ),
    ];
    let body = folded(Surface::ChatCompletions, &events);
    assert_eq!(
        body["choices"][0]["message"],
        json!({
            "role": "assistant", "content": null,
            "function_call": {"name": "f", "arguments": "{}"},
            "audio": {"id": "x", "data": "aabb", "expires_at": 9},
            "novel": "ab", "count": 2, "list": [2],
            "reasoning_details": [{"index": 0, "text": "xy"}],
            "tool_calls": [{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"name": "g"}}],
        })
    );
}

#[test]
fn logprobs_are_joined() {
    let part = |token: &str| {
        chat(
            &json!([{"index": 0, "delta": {"content": token}, "finish_reason": null,
            "logprobs": {"content": [{"token": token}], "refusal": null}}]),
        )
    };
    let end = chat(&json!([{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": null}]));
    let body = folded(Surface::ChatCompletions, &[part("a"), part("b"), end]);
    assert_eq!(
        body["choices"][0]["logprobs"],
        json!({"content": [{"token": "a"}, {"token": "b"}], "refusal": null})
    );
}

#[test]
fn completions_are_put_together() {
    let part = |text: &str, finish: Value| {
        json!({"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": text,
            "finish_reason": finish, "logprobs": {"tokens": [text], "text_offset": [0]}}]})
    };
    let body = folded(
        Surface::Completions,
        &[
            part("a", json!(null)),
            part("a", json!(null)),
            part("", json!("stop")),
        ],
    );
    let expected = json!({"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "aa",
        "finish_reason": "stop", "logprobs": {"tokens": ["a", "a", ""], "text_offset": [0, 0, 0]}}]});
    assert_eq!(body, expected);
}

#[test]
fn known_usage_stands_in_for_a_chunk_that_was_not_shown() {
    let known = Usage {
        input_tokens: 7,
        output_tokens: 5,
        cached_tokens: 2,
        ..Usage::default()
    };
    let known = usage_event(&known);
    let content = br#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}"#;
    let own = br#"{"choices":[],"usage":{"prompt_tokens":1,"x_cost":2}}"#;
    let usage = |events: &[&[u8]]| {
        let body = fold(Surface::ChatCompletions, events.iter().copied()).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["usage"].take()
    };
    assert_eq!(
        usage(&[&known, content]),
        json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 0}})
    );
    assert_eq!(
        usage(&[&known, content, own]),
        json!({"prompt_tokens": 1, "x_cost": 2})
    );
}

#[test]
fn what_is_no_answer_is_refused() {
    let code = |events: &[&[u8]]| {
        fold(Surface::ChatCompletions, events.iter().copied()).map_err(|error| error.code)
    };
    assert_eq!(code(&[]), Err(ErrorCode::UpstreamInvalid));
    assert_eq!(code(&[b"[DONE]"]), Err(ErrorCode::UpstreamInvalid));
    assert_eq!(code(&[b"{\"choices\":["]), Err(ErrorCode::UpstreamInvalid));
    assert_eq!(code(&[b"[]"]), Err(ErrorCode::UpstreamInvalid));
    assert_eq!(
        code(&[b"{\"error\":{\"message\":\"x\"}}"]),
        Err(ErrorCode::UpstreamError)
    );
    assert!(code(&[b"{\"choices\":[1,{\"delta\":1,\"logprobs\":{\"a\":1}},{\"logprobs\":{\"a\":[]}}],\"error\":null}"]).is_ok());
}

/// Cuts `text` into pieces between characters.
fn pieces(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
    at.extend([0, chars.len()]);
    at.sort_unstable();
    at.windows(2)
        .map(|pair| chars[pair[0]..pair[1]].iter().collect())
        .collect()
}

proptest! {
    #[test]
    fn how_the_text_was_cut_does_not_matter(
        content in "\\PC{0,40}",
        reasoning in "\\PC{0,40}",
        arguments in "\\PC{0,40}",
        cuts: [prop::sample::Index; 5],
    ) {
        let stream = |cuts: &[prop::sample::Index]| {
            let mut events = vec![choice(0, &json!({"role": "assistant", "content": "", "reasoning_content": "",
                "tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}))];
            events.extend(pieces(&reasoning, cuts).iter().map(|part| choice(0, &json!({"reasoning_content": part}))));
            events.extend(pieces(&content, cuts).iter().map(|part| choice(0, &json!({"content": part}))));
            events.extend(pieces(&arguments, cuts).iter().map(|part| {
                choice(0, &json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
            }));
            folded(Surface::ChatCompletions, &events)
        };
        let message = &stream(&cuts)["choices"][0]["message"];
        prop_assert_eq!(&message["content"], &json!(content));
        prop_assert_eq!(&message["reasoning_content"], &json!(reasoning));
        prop_assert_eq!(&message["tool_calls"][0]["function"]["arguments"], &json!(arguments));
        prop_assert_eq!(stream(&cuts), stream(&[]));
    }
}
