//! What of requests the Responses API can say, and what it cannot.

use everstream_core::dialect::{ClientDialect, ProviderDialect, Traits};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Surface;
use everstream_core::fault::{Fault, FaultKind};
use everstream_core::id::Seq;
use serde_json::{Value, json};

use crate::requests::send;
use crate::transcripts::place;

#[test]
fn what_is_wrong_or_of_this_api_alone_says_where() {
    use ErrorCode::{InvalidValue, MissingField, Untranslatable};
    let with = |member: &str, value: Value| {
        let mut body = json!({"model": "m", "input": "x"});
        body[member] = value;
        body
    };
    let item = |item: Value| with("input", json!([{"role": "user", "content": "x"}, item]));
    let cases = [
        (json!({}), MissingField, "model"),
        (json!({"model": "m"}), MissingField, "input"),
        (with("input", json!(1)), InvalidValue, "input"),
        (
            item(json!({"role": "x", "content": "x"})),
            InvalidValue,
            "input[1].role",
        ),
        (
            item(json!({"type": "function_call", "name": "f"})),
            MissingField,
            "input[1].call_id",
        ),
        (
            item(json!({"type": "item_reference", "id": "x"})),
            Untranslatable,
            "input[1].type",
        ),
        (
            item(json!({"role": "user", "content": [{"type": "input_video"}]})),
            Untranslatable,
            "input[1].content[0].type",
        ),
        (
            with("tools", json!([{"type": "web_search"}])),
            Untranslatable,
            "tools[0].type",
        ),
        (
            with("tool_choice", json!({"type": "mcp"})),
            Untranslatable,
            "tool_choice.type",
        ),
        (
            with("truncation", json!("auto")),
            Untranslatable,
            "truncation",
        ),
        (
            with("conversation", json!("conv_1")),
            Untranslatable,
            "conversation",
        ),
        (with("prompt", json!({})), Untranslatable, "prompt"),
        (
            with("reasoning", json!({"effort": "x"})),
            InvalidValue,
            "reasoning.effort",
        ),
        (
            with("text", json!({"format": {"type": "grammar"}})),
            Untranslatable,
            "text.format.type",
        ),
        (
            with("something_new", json!(1)),
            Untranslatable,
            "something_new",
        ),
    ];
    for (body, code, path) in cases {
        let read = body.to_string();
        let error = ClientDialect::OpenAiResponses.read_request(read.as_bytes());
        let error = error.unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (code, Some(path)),
            "{body}"
        );
    }
}

#[test]
fn what_the_api_has_no_word_for_is_refused_by_name() {
    let cases = [
        ("stop", json!(["x"]), "stop"),
        ("seed", json!(1), "seed"),
        ("n", json!(2), "n"),
        ("logit_bias", json!({"1": 2}), "logit_bias"),
        ("presence_penalty", json!(1), "presence_penalty"),
        (
            "messages",
            json!([{"role": "user", "content": "x", "name": "Ann"}]),
            "messages[0]",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}]),
            "messages[0].content[0]",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]),
            "messages[0].content[0]",
        ),
    ];
    for (member, value, path) in cases {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        body[member] = value;
        let sent = send(
            ClientDialect::OpenAiChat,
            ProviderDialect::OpenAiResponses,
            body.to_string().as_bytes(),
            &Traits::default(),
        );
        let expected = format!("{} at {path}: ", ErrorCode::Untranslatable);
        assert!(sent.starts_with(&expected), "{member}: {sent}");
    }
}

#[test]
fn an_error_ends_a_response_as_its_api_says() {
    let fault = Fault::new(FaultKind::Overloaded, "Too much");
    let event = ClientDialect::OpenAiResponses.error_event(&fault, &place());
    assert_eq!(&*event.name, b"response.failed");
    let data: Value = serde_json::from_slice(&event.data).unwrap();
    assert_eq!(data["type"], "response.failed");
    assert_eq!(data["response"]["status"], "failed");
    assert_eq!(data["sequence_number"], 7);
    let error = json!({"code": "server_error", "message": "Too much"});
    assert_eq!(data["response"]["error"], error);
}

#[test]
fn an_error_of_delivery_has_the_number_of_the_last_event() {
    let error = Error::new(ErrorCode::StoreUnavailable, "Later.");
    for (seen, number) in [(0, 0), (1, 0), (7, 6)] {
        let event = Surface::Responses.lost_event(&error, Seq::new(seen));
        assert_eq!(&*event.name, b"error");
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let expected = json!({"type": "error", "sequence_number": number, "code": "store_unavailable",
            "message": "Later.", "param": null});
        assert_eq!(data, expected);
    }
}

#[test]
fn only_models_that_reason_are_asked_for_seals() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let sent = |sealed_reasoning: bool| {
        let traits = Traits {
            sealed_reasoning,
            ..Traits::default()
        };
        let provider = ProviderDialect::OpenAiResponses;
        let sent = send(
            ClientDialect::OpenAiChat,
            provider,
            body.as_bytes(),
            &traits,
        );
        serde_json::from_str::<Value>(&sent).unwrap()["include"].clone()
    };
    assert_eq!(sent(true), json!(["reasoning.encrypted_content"]));
    assert_eq!(sent(false), Value::Null);
}
