//! What each provider of the table gets where it differs from OpenAI.

use everstream_core::dialect::{ClientDialect, ProviderDialect};
use everstream_core::provider;
use serde_json::{Value, json};

use crate::requests::send;

/// A chat request with these members, as `name` gets it.
fn sent(name: &str, members: &Value) -> String {
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    let members = members.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(members);
    let traits = provider::traits(provider::find(name), ProviderDialect::OpenAiChat, "m");
    assert!(provider::find(name).is_some(), "{name}");
    send(
        ClientDialect::OpenAiChat,
        ProviderDialect::OpenAiChat,
        request.to_string().as_bytes(),
        &traits,
    )
}

fn body(name: &str, members: &Value) -> Value {
    let sent = sent(name, members);
    serde_json::from_str(&sent).unwrap_or_else(|_| panic!("{name}: {members}: {sent}"))
}

fn tools() -> Value {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    json!([tool("f"), tool("g")])
}

#[test]
fn a_limit_of_tokens_has_the_providers_name() {
    let limit = json!({"max_completion_tokens": 9});
    for (name, member) in [
        ("openai", "max_completion_tokens"),
        ("azure", "max_completion_tokens"),
        ("groq", "max_completion_tokens"),
        ("xai", "max_completion_tokens"),
        ("moonshot", "max_completion_tokens"),
        ("deepseek", "max_tokens"),
        ("mistral", "max_tokens"),
        ("dashscope-cn", "max_tokens"),
        ("zai", "max_tokens"),
        ("ollama", "max_tokens"),
    ] {
        let body = body(name, &limit);
        assert_eq!(body[member], 9, "{name}");
        let names = ["max_tokens", "max_completion_tokens"];
        let named = names.iter().filter(|other| body.get(**other).is_some());
        assert_eq!(named.count(), 1, "{name}");
    }
}

#[test]
fn what_a_provider_has_no_word_for_is_refused_by_its_name() {
    let refused = [
        ("groq", json!({"logprobs": true}), "logprobs"),
        ("groq", json!({"logit_bias": {"1": 2}}), "logit_bias"),
        ("groq", json!({"n": 2}), "n"),
        ("mistral", json!({"logprobs": true}), "logprobs"),
        ("mistral", json!({"verbosity": "low"}), "verbosity"),
        ("mistral", json!({"service_tier": "flex"}), "service_tier"),
        ("deepseek", json!({"seed": 7}), "seed"),
        ("deepseek", json!({"n": 2}), "n"),
        (
            "zhipu",
            json!({"frequency_penalty": 0.5}),
            "frequency_penalty",
        ),
        (
            "zai",
            json!({"tools": tools(), "parallel_tool_calls": false}),
            "parallel_tool_calls",
        ),
        ("dashscope", json!({"logit_bias": {"1": 2}}), "logit_bias"),
        ("ollama", json!({"n": 2}), "n"),
        ("xai", json!({"logit_bias": {"1": 2}}), "logit_bias"),
    ];
    for (name, members, field) in refused {
        let sent = sent(name, &members);
        assert!(sent.contains(&format!(" at {field}: ")), "{name}: {sent}");
        let nobody = body("vllm", &members);
        assert!(nobody.get(field).is_some(), "{field}: {nobody}");
    }
    // What everybody does unasked is no demand.
    let body = body(
        "zai",
        &json!({"tools": tools(), "parallel_tool_calls": true, "n": 1}),
    );
    assert_eq!(
        (body.get("parallel_tool_calls"), body.get("n")),
        (None, None)
    );
}

#[test]
fn top_k_goes_to_who_knows_it() {
    let ask = json!({"model": "m", "max_tokens": 9, "top_k": 5,
        "messages": [{"role": "user", "content": "x"}]});
    let sent = |name: &str| {
        let traits = provider::traits(provider::find(name), ProviderDialect::OpenAiChat, "m");
        let (client, body) = (ClientDialect::Anthropic, ask.to_string());
        send(
            client,
            ProviderDialect::OpenAiChat,
            body.as_bytes(),
            &traits,
        )
    };
    for name in [
        "vllm",
        "sglang",
        "llama.cpp",
        "together",
        "fireworks",
        "dashscope",
    ] {
        assert!(sent(name).contains("\"top_k\": 5"), "{name}");
    }
    for name in [
        "openai", "deepseek", "groq", "mistral", "xai", "moonshot", "zai",
    ] {
        assert!(sent(name).contains(" at top_k: "), "{name}");
    }
}

#[test]
fn thinking_is_asked_for_in_the_providers_words() {
    let asked = |name: &str, effort: &str| {
        let mut body = body(name, &json!({"reasoning_effort": effort}));
        let members = body.as_object_mut().unwrap();
        members.retain(|member, _| member.contains("thinking") || member.contains("effort"));
        body
    };
    let switch = |kind: &str| json!({"thinking": {"type": kind}});
    assert_eq!(asked("openai", "none"), json!({"reasoning_effort": "none"}));
    assert_eq!(
        asked("mistral", "high"),
        json!({"reasoning_effort": "high"})
    );
    assert_eq!(asked("deepseek", "none"), switch("disabled"));
    assert_eq!(
        asked("deepseek", "max"),
        json!({"thinking": {"type": "enabled"}, "reasoning_effort": "max"})
    );
    for name in ["zai", "zhipu", "moonshot", "moonshot-cn"] {
        assert_eq!(asked(name, "none"), switch("disabled"), "{name}");
        assert_eq!(asked(name, "low"), switch("enabled"), "{name}");
    }
    assert_eq!(
        asked("dashscope", "none"),
        json!({"enable_thinking": false})
    );
    assert_eq!(
        asked("dashscope", "high"),
        json!({"enable_thinking": true, "thinking_budget": 16_384})
    );
    for name in ["deepseek", "zai", "dashscope"] {
        let silent = body(name, &json!({}));
        assert!(silent.get("thinking").is_none() && silent.get("enable_thinking").is_none());
    }
}

#[test]
fn a_choice_of_tools_is_what_the_provider_takes() {
    let ask = |choice: Value| json!({"tools": tools(), "tool_choice": choice});
    let one = json!({"type": "function", "function": {"name": "f"}});
    assert_eq!(
        body("mistral", &ask("required".into()))["tool_choice"],
        "required"
    );
    assert_eq!(body("dashscope", &ask(one.clone()))["tool_choice"], one);
    assert_eq!(
        body("dashscope", &ask("none".into()))["tool_choice"],
        "none"
    );
    for (name, choice) in [
        ("dashscope", json!("required")),
        ("zai", json!("required")),
        ("zai", json!("none")),
        ("zhipu", one),
    ] {
        let sent = sent(name, &ask(choice));
        assert!(sent.contains(" at tool_choice: "), "{name}: {sent}");
    }
    assert_eq!(body("zai", &ask("auto".into()))["tool_choice"], "auto");

    let some = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto",
        "tools": [{"type": "function", "function": {"name": "g"}}]}});
    assert_eq!(body("openai", &ask(some.clone()))["tool_choice"], some);
    let body = body("groq", &ask(some));
    assert_eq!(body["tool_choice"], "auto");
    let left = json!([{"type": "function", "function": {"name": "g"}}]);
    assert_eq!(body["tools"], left);
}

#[test]
fn a_schema_is_refused_where_there_is_only_json() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {}}});
    for name in ["deepseek", "zai", "zhipu"] {
        let sent = sent(name, &json!({"response_format": schema}));
        assert!(sent.contains(" at response_format: "), "{name}: {sent}");
        let object = json!({"response_format": {"type": "json_object"}});
        assert_eq!(
            body(name, &object)["response_format"],
            object["response_format"]
        );
    }
    let body = body("mistral", &json!({"response_format": schema}));
    assert_eq!(body["response_format"]["type"], "json_schema");
}

#[test]
fn vllm_and_sglang_go_on_from_a_beginning_only_if_the_turn_stays_open() {
    for name in ["vllm", "sglang"] {
        let user = json!({"role": "user", "content": "x"});
        let begun = json!({"role": "assistant", "content": "It is"});
        let open = body(name, &json!({"messages": [user, begun]}));
        assert_eq!(open["continue_final_message"], true, "{name}");
        assert_eq!(open["add_generation_prompt"], false, "{name}");
        let new = body(name, &json!({"messages": [user]}));
        assert_eq!(new.get("continue_final_message"), None, "{name}");
        assert_eq!(new.get("add_generation_prompt"), None, "{name}");
    }
}

#[test]
fn mistral_has_its_own_seed_and_ids_and_beginnings() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "y"});
    let members = json!({"seed": 7, "user": "u", "stream": true, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("toolu_01abc"), call("D681PevKs")]},
        result("toolu_01abc"),
        result("D681PevKs"),
        {"role": "user", "content": "z"},
        {"role": "assistant", "content": "It is"},
    ]});
    let body = body("mistral", &members);
    assert_eq!((&body["random_seed"], body.get("seed")), (&json!(7), None));
    for unknown in ["stream_options", "metadata", "safety_identifier"] {
        assert_eq!(body.get(unknown), None, "{unknown}");
    }
    let messages = &body["messages"];
    let id = messages[1]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        "{id}"
    );
    assert_eq!(messages[2]["tool_call_id"], id);
    assert_eq!(messages[1]["tool_calls"][1]["id"], "D681PevKs");
    assert_eq!(messages[3]["tool_call_id"], "D681PevKs");
    assert_eq!(
        messages[5],
        json!({"role": "assistant", "content": "It is", "prefix": true})
    );
}

#[test]
fn the_beginning_of_an_answer_is_marked_or_refused() {
    let members = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "It is"},
    ]});
    for name in ["moonshot", "dashscope"] {
        assert_eq!(
            body(name, &members)["messages"][1]["partial"],
            true,
            "{name}"
        );
    }
    for name in ["openai", "deepseek", "groq"] {
        assert!(sent(name, &members).contains(" at messages[1]: "), "{name}");
    }
}

#[test]
fn names_of_speakers_are_refused_where_they_are_unknown() {
    let members = json!({"messages": [{"role": "user", "content": "x", "name": "Ann"}]});
    for name in ["groq", "mistral"] {
        assert!(sent(name, &members).contains(" at messages[0]: "), "{name}");
    }
    assert_eq!(body("vllm", &members)["messages"][0]["name"], "Ann");
}

#[test]
fn reasoning_comes_back_where_it_is_wanted() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let members = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]});
    for (name, member) in [
        ("deepseek", Some("reasoning_content")),
        ("moonshot", Some("reasoning_content")),
        ("zai", Some("reasoning_content")),
        ("llama.cpp", Some("reasoning_content")),
        ("sglang", Some("reasoning_content")),
        ("ollama", Some("reasoning")),
        ("openai", None),
        ("groq", None),
        ("mistral", None),
    ] {
        let said = &body(name, &members)["messages"][1];
        for known in ["reasoning_content", "reasoning"] {
            let expected = (member == Some(known)).then_some("Hm.");
            assert_eq!(said[known].as_str(), expected, "{name}: {said}");
        }
    }
}

#[test]
fn vertex_gets_calls_and_results_without_ids() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let ask = json!({"model": "m", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]});
    for (name, id) in [("vertex", None), ("gemini", Some("c"))] {
        let traits = provider::traits(provider::find(name), ProviderDialect::Gemini, "gemini-2.5");
        let sent = send(
            ClientDialect::OpenAiChat,
            ProviderDialect::Gemini,
            ask.to_string().as_bytes(),
            &traits,
        );
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let call = &sent["contents"][1]["parts"][0]["functionCall"];
        let result = &sent["contents"][2]["parts"][0]["functionResponse"];
        assert_eq!(
            (call["name"].as_str(), call["id"].as_str()),
            (Some("f"), id)
        );
        assert_eq!(
            (result["name"].as_str(), result["id"].as_str()),
            (Some("f"), id)
        );
    }
}
