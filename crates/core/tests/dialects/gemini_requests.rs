//! What of requests Google's API can say, and what it cannot.

use everstream_core::ask::{Ask, ThinkingMode};
use everstream_core::content::{Content, ToolCall, ToolResult};
use everstream_core::dialect::{ClientDialect, ProviderDialect, Traits};
use everstream_core::error::ErrorCode;
use serde_json::{Value, json};

use crate::requests::send;

fn read(body: &Value) -> Result<(), (ErrorCode, String)> {
    let body = body.to_string();
    let read = ClientDialect::Gemini.read_request(body.as_bytes());
    read.map(|_| ())
        .map_err(|error| (error.code, error.param.unwrap_or_default()))
}

fn with(member: &str, value: &Value) -> Value {
    let mut body = json!({"contents": [{"parts": [{"text": "x"}]}]});
    body[member] = value.clone();
    body
}

#[test]
fn what_is_wrong_or_of_this_api_alone_says_where() {
    use ErrorCode::{InvalidValue, MissingField, Untranslatable};
    let config = |name: &str, value: Value| with("generationConfig", &json!({name: value}));
    let part = |value: Value| with("contents", &json!([{"parts": [{"text": "x"}, value]}]));
    let cases = [
        (json!({}), MissingField, "contents"),
        (with("contents", &json!({})), InvalidValue, "contents"),
        (
            with("contents", &json!([{}])),
            MissingField,
            "contents[0].parts",
        ),
        (
            with("contents", &json!([{"role": "x", "parts": []}])),
            InvalidValue,
            "contents[0].role",
        ),
        (
            part(json!({"text": 1})),
            InvalidValue,
            "contents[0].parts[1].text",
        ),
        (
            part(json!({"executable_code": {}})),
            Untranslatable,
            "contents[0].parts[1].executableCode",
        ),
        (
            part(json!({"text": "x", "video_metadata": {}})),
            Untranslatable,
            "contents[0].parts[1].videoMetadata",
        ),
        (
            part(json!({"inlineData": {"mimeType": "video/mp4", "data": "AA=="}})),
            Untranslatable,
            "contents[0].parts[1].inlineData.mimeType",
        ),
        (
            part(json!({"fileData": {"fileUri": "gs://b/o"}})),
            Untranslatable,
            "contents[0].parts[1].fileData.fileUri",
        ),
        (
            part(json!({"functionResponse": {"name": "f", "response": {}}})),
            InvalidValue,
            "contents[0].parts[1].functionResponse",
        ),
        (
            config("speechConfig", json!({})),
            Untranslatable,
            "generationConfig.speechConfig",
        ),
        (
            config("responseModalities", json!(["TEXT", "IMAGE"])),
            Untranslatable,
            "generationConfig.responseModalities",
        ),
        (
            config("responseMimeType", json!("text/x.enum")),
            Untranslatable,
            "generationConfig.responseMimeType",
        ),
        (
            config("responseSchema", json!({"type": "STRING"})),
            MissingField,
            "generationConfig.responseMimeType",
        ),
        (
            config("responseSchema", json!({"type": 1})),
            InvalidValue,
            "generationConfig.responseSchema",
        ),
        (
            config("maxOutputTokens", json!(-1)),
            InvalidValue,
            "generationConfig.maxOutputTokens",
        ),
        (
            config("topK", json!(1.5)),
            InvalidValue,
            "generationConfig.topK",
        ),
        (
            config("mediaResolution", json!("MEDIA_RESOLUTION_LOW")),
            Untranslatable,
            "generationConfig.mediaResolution",
        ),
        (
            config("thinkingConfig", json!({"thinkingBudget": -2})),
            InvalidValue,
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (
            config("thinkingConfig", json!({"thinkingLevel": "x"})),
            InvalidValue,
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            with("tools", &json!([{"urlContext": {}}])),
            Untranslatable,
            "tools[0].urlContext",
        ),
        (
            with(
                "toolConfig",
                &json!({"functionCallingConfig": {"mode": "x"}}),
            ),
            InvalidValue,
            "toolConfig.functionCallingConfig.mode",
        ),
        (
            with("safetySettings", &json!([{"threshold": "BLOCK_ONLY_HIGH"}])),
            Untranslatable,
            "safetySettings[0].threshold",
        ),
        (
            with("cachedContent", &json!("cachedContents/1")),
            Untranslatable,
            "cachedContent",
        ),
        (
            with("something_new", &json!(1)),
            Untranslatable,
            "somethingNew",
        ),
    ];
    for (body, code, path) in cases {
        assert_eq!(read(&body), Err((code, path.to_owned())), "{body}");
    }
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    for (member, value) in [
        (
            "safetySettings",
            json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
        ),
        (
            "generationConfig",
            json!({"responseModalities": ["TEXT"], "speechConfig": {}, "responseMimeType": "text/plain"}),
        ),
        (
            "generationConfig",
            json!({"mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED", "candidateCount": 1}),
        ),
        ("serviceTier", json!("standard")),
        ("labels", json!({"a": "b"})),
        ("cachedContent", Value::Null),
    ] {
        let body = with(member, &value).to_string();
        let traits = Traits::default();
        let sent = send(
            ClientDialect::Gemini,
            ProviderDialect::Anthropic,
            body.as_bytes(),
            &traits,
        );
        let expected = json!({
            "model": "model-there", "max_tokens": 8192, "stream": true,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        });
        assert_eq!(
            serde_json::from_str::<Value>(&sent).unwrap(),
            expected,
            "{member}"
        );
    }
}

#[test]
fn what_google_has_no_word_for_is_refused_by_name() {
    let message = |value: Value| ("messages", json!([value]));
    let cases = [
        (("logit_bias", json!({"1": 2})), "logit_bias"),
        (("verbosity", json!("low")), "verbosity"),
        (("service_tier", json!("scale")), "service_tier"),
        (("seed", json!(5_000_000_000_i64)), "seed"),
        (
            message(json!({"role": "user", "content": "x", "name": "Ann"})),
            "messages[0]",
        ),
        (
            message(
                json!({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
            ),
            "messages[0].content[0]",
        ),
        (
            message(json!({"role": "tool", "tool_call_id": "c", "content": "x"})),
            "messages[0].content[0]",
        ),
        (
            message(
                json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a"}}]}),
            ),
            "messages[0].content[0]",
        ),
    ];
    for ((member, value), path) in cases {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        body[member] = value;
        let sent = openai(&body, &Traits::default());
        let expected = format!("{} at {path}: ", ErrorCode::Untranslatable);
        assert!(sent.starts_with(&expected), "{member}: {sent}");
    }
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let body = json!({"model": "m", "messages": [], "tools": tool, "parallel_tool_calls": false});
    let sent = openai(&body, &Traits::default());
    assert!(sent.contains(" at parallel_tool_calls: "), "{sent}");
}

fn openai(body: &Value, traits: &Traits) -> String {
    let body = body.to_string();
    send(
        ClientDialect::OpenAiChat,
        ProviderDialect::Gemini,
        body.as_bytes(),
        traits,
    )
}

#[test]
fn an_effort_is_a_level_or_a_budget_as_the_model_knows_it() {
    let thinking = |effort: &str, gemini_3: bool| {
        let traits = Traits {
            gemini_3,
            ..Traits::default()
        };
        let messages = json!([{"role": "user", "content": "x"}]);
        let body = json!({"model": "m", "messages": messages, "reasoning_effort": effort});
        let sent: Value = serde_json::from_str(&openai(&body, &traits)).unwrap();
        sent["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(thinking("medium", true), json!({"thinkingLevel": "MEDIUM"}));
    assert_eq!(thinking("max", true), json!({"thinkingLevel": "HIGH"}));
    assert_eq!(thinking("medium", false), json!({"thinkingBudget": 8192}));
    assert_eq!(thinking("max", false), json!({"thinkingBudget": 24576}));
    assert_eq!(thinking("none", true), json!({"thinkingBudget": 0}));
}

#[test]
fn only_new_models_get_a_word_for_a_call_that_nobody_signed() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call("a"), call("b")]}]});
    let signatures = |gemini_3: bool| {
        let sent = openai(
            &body,
            &Traits {
                gemini_3,
                ..Traits::default()
            },
        );
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let parts = sent["contents"][0]["parts"].as_array().unwrap().clone();
        parts
            .into_iter()
            .map(|part| part["thoughtSignature"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        signatures(true),
        [json!("skip_thought_signature_validator"), Value::Null]
    );
    assert_eq!(signatures(false), [Value::Null, Value::Null]);
}

/// What a tool gave is the same text behind both APIs.
#[test]
fn a_tools_result_comes_back_as_it_went() {
    for (text, is_error) in [
        ("plain", false),
        ("", false),
        ("{\"a\":1}", false),
        ("[1]", false),
        ("{\"output\":\"x\"}", false),
        ("{\"error\":\"x\",\"b\":1}", false),
        ("it broke", true),
        ("{\"why\":1}", true),
    ] {
        let mut ask = Ask::new(ClientDialect::Anthropic);
        let call = Content::ToolCall(ToolCall {
            id: "c".into(),
            name: "f".into(),
            arguments: "{}".into(),
        });
        let result = Content::ToolResult(ToolResult {
            id: "c".into(),
            parts: vec![Content::Text(text.into()).into()],
            is_error,
        });
        for (role, content) in [
            (everstream_core::ask::Role::Assistant, call),
            (everstream_core::ask::Role::User, result),
        ] {
            ask.messages.push(everstream_core::ask::Message {
                role,
                name: None,
                parts: vec![content.into()],
            });
        }
        let target = everstream_core::dialect::Target {
            model: "m",
            stream: false,
            traits: &Traits {
                gemini_3: false,
                ..Traits::default()
            },
        };
        let sent = ProviderDialect::Gemini
            .write_request(&ask, &target)
            .unwrap();
        let again = ClientDialect::Gemini.read_request(&sent).unwrap();
        assert_eq!(again.messages, ask.messages, "{text}");
    }
}

#[test]
fn the_path_says_the_model_and_a_budget_says_whether_to_think() {
    let body = br#"{"model":"models/gemini-x","contents":[],"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}"#;
    let ask = ClientDialect::Gemini.read_request(body).unwrap();
    assert_eq!(ask.model, "gemini-x");
    assert_eq!(ask.thinking.mode, Some(ThinkingMode::Adaptive));
    let ask = ClientDialect::Gemini
        .read_request(br#"{"contents":[]}"#)
        .unwrap();
    assert_eq!(ask.model, "");
}

#[test]
fn what_a_tool_returns_is_told_in_its_description() {
    let schema = json!({"type": "integer"});
    for (member, value) in [
        ("responseJsonSchema", schema.clone()),
        ("response", json!({"type": "INTEGER"})),
    ] {
        for (description, told) in [
            (json!("Counts."), "Counts.\n\nReturns JSON of this schema: "),
            (Value::Null, "Returns JSON of this schema: "),
        ] {
            let tool = json!({"name": "f", "description": description, member: value});
            let body = with("tools", &json!([{"functionDeclarations": [tool]}])).to_string();
            let ask = ClientDialect::Gemini.read_request(body.as_bytes()).unwrap();
            let said = ask.tools[0].description.as_deref().unwrap();
            let returns = said.strip_prefix(told).unwrap_or_else(|| panic!("{said}"));
            assert_eq!(serde_json::from_str::<Value>(returns).unwrap(), schema);
        }
    }
}
