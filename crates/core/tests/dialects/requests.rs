//! Golden requests of clients, as each provider of another dialect gets them.

use std::fs;

use everstream_core::dialect::{ClientDialect, ProviderDialect, Target, Traits};
use everstream_core::error::ErrorCode;
use serde_json::{Value, json};

use crate::snapshot::{check, inputs};
use crate::transcripts::{CLIENTS, PROVIDERS};

pub(crate) fn send(
    client: ClientDialect,
    provider: ProviderDialect,
    body: &[u8],
    traits: &Traits,
) -> String {
    let target = Target {
        model: "model-there",
        stream: true,
        traits,
    };
    let sent = client
        .read_request(body)
        .and_then(|ask| provider.write_request(&ask, &target));
    match sent {
        Ok(body) => {
            let value: Value = serde_json::from_slice(&body).unwrap();
            serde_json::to_string_pretty(&value).unwrap() + "\n"
        }
        Err(error) => {
            let param = error.param.as_deref().unwrap_or_default();
            format!("{} at {param}: {}\n", error.code, error.message)
        }
    }
}

#[test]
fn every_provider_gets_the_request_or_the_client_a_reason() {
    for client in CLIENTS {
        let folder = format!("{}/requests", client.as_str());
        for path in inputs(&folder, ".json") {
            let body = fs::read(&path).unwrap();
            for provider in PROVIDERS {
                let snapshot = path.with_extension(format!("to_{}.json", provider.as_str()));
                let sent = send(client, provider, &body, &Traits::default());
                check(&snapshot, &sent);
            }
        }
    }
}

fn chat(member: &str, value: &Value) -> String {
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    request[member] = value.clone();
    request.to_string()
}

#[test]
fn what_anthropic_has_no_word_for_is_refused_by_name() {
    let cases = [
        ("n", json!(2), "n"),
        ("seed", json!(1), "seed"),
        ("logprobs", json!(true), "logprobs"),
        ("logit_bias", json!({"1": 2}), "logit_bias"),
        ("frequency_penalty", json!(0.5), "frequency_penalty"),
        ("presence_penalty", json!(-1), "presence_penalty"),
        ("temperature", json!(1.5), "temperature"),
        ("verbosity", json!("low"), "verbosity"),
        ("service_tier", json!("flex"), "service_tier"),
        (
            "response_format",
            json!({"type": "json_object"}),
            "response_format",
        ),
        ("modalities", json!(["text", "audio"]), "modalities"),
        ("prediction", json!({"type": "content"}), "prediction"),
        ("web_search_options", json!({}), "web_search_options"),
        ("functions", json!([]), "functions"),
        ("something_new", json!(1), "something_new"),
        ("stream_options", json!({"new": 1}), "stream_options.new"),
        (
            "tools",
            json!([{"type": "custom", "custom": {}}]),
            "tools[0].type",
        ),
        (
            "messages",
            json!([{"role": "user", "content": "x", "name": "Ann"}]),
            "messages[0]",
        ),
        (
            "messages",
            json!([{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "x", "new": 1}]}]),
            "messages[1].content[0].new",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}]),
            "messages[0].content[1]",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]),
            "messages[0].content[0]",
        ),
        (
            "messages",
            json!([{"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a"}}]}]),
            "messages[0].content[0]",
        ),
    ];
    for (member, value, path) in cases {
        let sent = send(
            ClientDialect::OpenAiChat,
            ProviderDialect::Anthropic,
            chat(member, &value).as_bytes(),
            &Traits::default(),
        );
        let expected = format!("{} at {path}: ", ErrorCode::Untranslatable);
        assert!(sent.starts_with(&expected), "{member}: {sent}");
    }
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    let cases = [
        ("n", json!(1)),
        ("seed", Value::Null),
        ("logprobs", json!(false)),
        ("logit_bias", json!({})),
        ("frequency_penalty", json!(0)),
        ("presence_penalty", json!(0.0)),
        ("service_tier", json!("auto")),
        ("response_format", json!({"type": "text"})),
        ("modalities", json!(["text"])),
        ("store", json!(false)),
        ("something_new", Value::Null),
        ("prompt_cache_key", json!("k")),
        ("metadata", json!({"a": "b"})),
    ];
    for (member, value) in cases {
        let sent = send(
            ClientDialect::OpenAiChat,
            ProviderDialect::Anthropic,
            chat(member, &value).as_bytes(),
            &Traits::default(),
        );
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let expected = json!({
            "model": "model-there", "max_tokens": 8192, "stream": true,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        });
        assert_eq!(sent, expected, "{member}");
    }
}

#[test]
fn what_is_wrong_by_itself_says_where() {
    let cases = [
        ("{", ErrorCode::InvalidJson, ""),
        ("[]", ErrorCode::InvalidValue, ""),
        ("{}", ErrorCode::MissingField, "model"),
        (r#"{"model":1}"#, ErrorCode::InvalidValue, "model"),
        (
            r#"{"model":"m","max_tokens":1,"messages":{}}"#,
            ErrorCode::InvalidValue,
            "messages",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#,
            ErrorCode::MissingField,
            "messages[0].content",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":1}]}]}"#,
            ErrorCode::InvalidValue,
            "messages[0].content[0].text",
        ),
        (
            r#"{"model":"m","max_tokens":-1,"messages":[]}"#,
            ErrorCode::InvalidValue,
            "max_tokens",
        ),
    ];
    for client in [ClientDialect::OpenAiChat, ClientDialect::Anthropic] {
        for (body, code, param) in cases {
            let error = client.read_request(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}: {error}");
            assert_eq!(error.param.as_deref().unwrap_or_default(), param, "{body}");
        }
    }
}

/// A provider that goes by other names than OpenAI gets them.
#[test]
fn a_provider_gets_what_its_row_says() {
    let body = json!({
        "model": "m", "max_tokens": 9, "top_k": 5, "metadata": {"user_id": "u"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "b"},
            ]},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        ],
    });
    let traits = Traits {
        max_tokens: true,
        lacks: &[],
        reasoning_member: Some("reasoning_content"),
        reasoning_details: true,
        cache_control: true,
        prefill: true,
        hints: false,
        ..Traits::default()
    };
    let body = body.to_string();
    let sent = send(
        ClientDialect::Anthropic,
        ProviderDialect::OpenAiChat,
        body.as_bytes(),
        &traits,
    );
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let details = json!([{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}]);
    let expected = json!({
        "model": "model-there", "stream": true, "stream_options": {"include_usage": true},
        "max_tokens": 9, "top_k": 5,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"role": "assistant", "content": "b", "reasoning_content": "hm", "reasoning_details": details},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        ],
    });
    assert_eq!(sent, expected);
    let sent = send(
        ClientDialect::Anthropic,
        ProviderDialect::OpenAiChat,
        body.as_bytes(),
        &Traits {
            prefill: false,
            ..traits
        },
    );
    assert!(sent.contains(" at messages[3]: "), "{sent}");
}

#[test]
fn an_effort_is_a_budget_for_models_that_know_no_effort() {
    let traits = Traits {
        adaptive_thinking: false,
        ..Traits::default()
    };
    let ask = |effort: &str, limit: u64| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        body["reasoning_effort"] = effort.into();
        body["max_completion_tokens"] = limit.into();
        send(
            ClientDialect::OpenAiChat,
            ProviderDialect::Anthropic,
            body.to_string().as_bytes(),
            &traits,
        )
    };
    let thinking = |sent: String| serde_json::from_str::<Value>(&sent).unwrap()["thinking"].clone();
    let enabled = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    assert_eq!(thinking(ask("high", 64_000)), enabled(16_384));
    assert_eq!(thinking(ask("high", 6_000)), enabled(3_000));
    assert_eq!(thinking(ask("low", 1_100)), enabled(1_024));
    assert_eq!(thinking(ask("none", 9)), json!({"type": "disabled"}));
    assert!(ask("low", 1_024).contains(" at reasoning_effort: "));
}
