//! What each kind of provider really gets: path, query, headers and body.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script, Step};
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, UPSTREAM_KEY};
use crate::messages::MESSAGES;
use crate::talk::{CHAT, answer, answer_to, chat, data, ended, page, post, unary_chat};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway in front of one upstream with these fields.
async fn gateway(fields: &str) -> Gateway {
    let upstream = format!("[[upstreams]]\n{fields}\n");
    Setup::default().config(&upstream).start().await
}

/// The fields of an upstream at a scripted provider, which is called as `name` would be.
fn at(name: &str, base_url: &str, more: &str) -> String {
    format!(
        "provider = \"{name}\"\nbase_url = \"{base_url}\"\napi_key = \"{UPSTREAM_KEY}\"\n\
         models = [\"m\"]\n{more}"
    )
}

fn origin(provider: &FakeProvider) -> String {
    format!("http://{}", provider.addr())
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden");
    std::fs::read(folder.join(name)).unwrap()
}

/// A stream that is in a file.
fn recorded(name: &str) -> Script {
    Script::sse_steps([Step::Bytes(golden(name).into())])
}

fn ask(text: &str) -> Value {
    json!({"model": "m", "max_tokens": 99, "stream": true,
        "messages": [{"role": "user", "content": text}]})
}

/// The one request so far but for lists of models.
fn only_call(provider: &FakeProvider) -> ReceivedRequest {
    let mut calls = provider.calls();
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

#[tokio::test]
async fn a_provider_that_nobody_knows_takes_five_lines() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("```"));
    let block = blocks
        .map(|(block, _)| block)
        .find(|block| block.contains("acme"));
    let block = block.unwrap();
    assert_eq!(block.lines().count(), 5, "{block}");

    let provider = FakeProvider::start(answer_to).await;
    let here = block.replace("https://api.acme.example/v1", &provider.base_url());
    assert_ne!(here, block);
    let setup = Setup::default().config(&here);
    let gateway = setup.env([("ACME_API_KEY", UPSTREAM_KEY)]).start().await;
    for (path, mut body) in [(CHAT, chat("x")), (MESSAGES, ask("x"))] {
        body["model"] = json!("acme-large");
        let frames = post(&gateway, path, &body, &[]).await.frames().await;
        assert!(data(&frames).concat().contains("Wind"));
    }
    for call in provider.calls() {
        assert_eq!(call.path, "/v1/chat/completions");
        let key = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(call.header("authorization"), Some(key.as_str()));
    }
    assert_eq!(provider.calls()[1].json()["max_tokens"], 99);
}

#[tokio::test]
async fn azure_is_asked_below_its_deployments_or_by_its_newer_paths() {
    for (version, path, query) in [
        ("", "/openai/v1/chat/completions", ""),
        (
            "api_version = \"2024-10-21\"",
            "/openai/deployments/my-gpt/chat/completions",
            "api-version=2024-10-21",
        ),
    ] {
        let provider = FakeProvider::start(|_| recorded("openai_chat/azure_prompt.sse")).await;
        let fields = at("azure", &origin(&provider), version) + "\n[aliases]\nm = \"azure/my-gpt\"";
        let gateway = gateway(&fields).await;
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        let id = reply.stream();
        let events = data(&reply.frames().await).join("\n");
        // What its filters found goes through as it came.
        assert!(events.contains("\"jailbreak\":{\"filtered\":false,\"detected\":true}"));
        assert!(events.contains("\"protected_material_text\""), "{events}");
        let page = page(&gateway, &id).await;
        assert_eq!(
            page["usage"],
            json!({"input_tokens": 9, "output_tokens": 2})
        );
        let call = only_call(&provider);
        assert_eq!((call.path.as_str(), call.query.as_str()), (path, query));
        assert_eq!(call.header("api-key"), Some(UPSTREAM_KEY));
        assert_eq!(call.header("authorization"), None);
        assert_eq!(call.json()["model"], "my-gpt");

        let frames = post(&gateway, MESSAGES, &ask("x"), &[])
            .await
            .frames()
            .await;
        let events = data(&frames).join("\n");
        assert!(events.contains("prompt_filter_results"), "{events}");
        let call = &provider.calls()[1];
        assert_eq!((call.path.as_str(), call.query.as_str()), (path, query));
        assert_eq!(call.json()["max_completion_tokens"], 99);
    }
}

#[tokio::test]
async fn azures_filters_are_named_in_the_error_of_each_dialect() {
    let refusal = json!({"error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content \
                    management policy.",
        "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
            "hate": {"filtered": true, "severity": "high"},
            "jailbreak": {"filtered": true, "detected": true},
            "violence": {"filtered": false, "severity": "safe"},
        }},
    }});
    let provider = FakeProvider::start(move |_| Script::json(400, &refusal)).await;
    let gateway = gateway(&at("azure", &origin(&provider), "")).await;
    let reason = "management policy. Filtered: hate, jailbreak.";
    for body in [chat("x"), unary_chat("x")] {
        let error = post(&gateway, CHAT, &body, &[]).await.json(400).await;
        assert_eq!(error["error"]["code"], "content_filter");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.ends_with(reason), "{message}");
    }
    let error = post(&gateway, MESSAGES, &ask("x"), &[])
        .await
        .json(400)
        .await;
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.ends_with(reason), "{message}");
}

#[tokio::test]
async fn gemini_is_asked_with_its_key_in_its_own_header() {
    let provider = FakeProvider::start(|_| recorded("gemini/text.sse")).await;
    let base_url = format!("{}/v1beta", origin(&provider));
    let gateway = gateway(&at("gemini", &base_url, "")).await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("everstream-upstream"), "gemini");
    assert!(reply.frames().await.len() > 2);
    let call = only_call(&provider);
    assert_eq!(call.path, "/v1beta/models/m:streamGenerateContent");
    assert_eq!(call.query, "alt=sse");
    assert_eq!(call.header("x-goog-api-key"), Some(UPSTREAM_KEY));
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.json()["contents"][0]["parts"][0]["text"], "x");
}

/// The file of a service account's key, whose tokens come from `audience`.
fn service_account(dir: &Path, audience: &str) -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = STANDARD.encode(der.as_ref());
    let file = json!({
        "client_email": "robot@p.iam", "token_uri": audience,
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"),
    });
    let path = dir.join("google.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

const TOKEN: &str = "vertex-token-canary-77";

fn vertex(request: &ReceivedRequest) -> Script {
    if request.path == "/token" {
        let token = json!({"access_token": TOKEN, "expires_in": 3_600, "token_type": "Bearer"});
        return Script::json(200, &token);
    }
    if request.path.contains("bad-model") {
        let key = request.header("authorization").unwrap();
        let message = format!("No such model; you sent {key}");
        let error = json!({"error": {"code": 404, "message": message, "status": "NOT_FOUND"}});
        return Script::json(404, &error);
    }
    recorded("gemini/text.sse")
}

#[tokio::test]
async fn vertex_is_asked_below_a_project_with_a_token_that_is_kept() {
    let provider = FakeProvider::start(vertex).await;
    let dir = tempfile::tempdir().unwrap();
    let credentials = service_account(dir.path(), &format!("{}/token", origin(&provider)));
    let fields = format!(
        "provider = \"vertex\"\nproject = \"my-project\"\nlocation = \"us-central1\"\n\
         base_url = \"{}\"\nmodels = [\"m\", \"bad-model\"]",
        origin(&provider)
    );
    let setup = Setup::default().config(&format!("[[upstreams]]\n{fields}\n"));
    let env = [("GOOGLE_APPLICATION_CREDENTIALS", credentials.as_str())];
    let gateway = setup.env(env).start().await;
    for _ in 0..2 {
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        assert!(reply.frames().await.len() > 2);
    }
    let calls = provider.calls();
    let paths: Vec<_> = calls.iter().map(|call| call.path.as_str()).collect();
    let path = "/v1/projects/my-project/locations/us-central1/publishers/google/models/\
                m:streamGenerateContent";
    assert_eq!(paths, ["/token", path, path]);
    assert!(calls[0].body.starts_with(b"grant_type="));
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(calls[1].header("authorization"), Some(bearer.as_str()));
    assert_eq!(calls[1].header("x-goog-api-key"), None);
    assert_eq!(calls[1].query, "alt=sse");

    let mut body = unary_chat("x");
    body["model"] = json!("bad-model");
    let error = post(&gateway, CHAT, &body, &[]).await.json(404).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("No such model"), "{message}");
    assert!(!message.contains(TOKEN), "{message}");
}

#[tokio::test]
async fn a_refused_token_is_replaced_for_the_next_request() {
    let provider = FakeProvider::start(|request| match request.path.as_str() {
        "/token" => {
            let token = format!("token-{}", request.number);
            Script::json(200, &json!({"access_token": token, "expires_in": 3_600}))
        }
        _ if request.header("authorization") == Some("Bearer token-1") => {
            let error = json!({"error": {"code": 401, "message": "No.",
                "status": "UNAUTHENTICATED"}});
            Script::json(401, &error)
        }
        _ => recorded("gemini/text.sse"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let credentials = service_account(dir.path(), &format!("{}/token", origin(&provider)));
    let fields = format!(
        "provider = \"vertex\"\nproject = \"p\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
         credentials = {credentials:?}",
        origin(&provider)
    );
    let gateway = gateway(&fields).await;
    let refused = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(refused.head.status, 401);
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert!(reply.frames().await.len() > 2);
    let tokens = provider
        .calls()
        .into_iter()
        .filter(|call| call.path == "/token");
    assert_eq!(tokens.count(), 2);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_reason_is_said() {
    let refusal = json!({"error": "invalid_grant", "error_description": "Account is disabled."});
    let provider = FakeProvider::start(move |request| match request.path.as_str() {
        "/token" => Script::json(400, &refusal),
        _ => Script::chat_stream(&answer()),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let credentials = service_account(dir.path(), &format!("{}/token", origin(&provider)));
    let fields = format!(
        "provider = \"vertex\"\nproject = \"p\"\nbase_url = \"{}\"\nmodels = [\"m\"]\n\
         credentials = {credentials:?}",
        origin(&provider)
    );
    let gateway = gateway(&fields).await;
    let error = post(&gateway, CHAT, &chat("x"), &[]).await.json(502).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("invalid_grant Account is disabled."),
        "{message}"
    );
    assert_eq!(error["error"]["code"], "upstream_unreachable");
    assert!(provider.calls().iter().all(|call| call.path == "/token"));
}

#[tokio::test]
async fn deepseek_gets_its_reasoning_back_within_a_turn_of_tools() {
    let provider = FakeProvider::start(|request| match request.number {
        1 => recorded("openai_chat/zhipu.sse"),
        _ => Script::chat_stream(&answer()),
    })
    .await;
    let gateway = gateway(&at("deepseek", &origin(&provider), "")).await;
    let mut turn = ask("x");
    turn["tools"] = json!([{"name": "look", "input_schema": {"type": "object"}}]);
    turn["thinking"] = json!({"type": "enabled", "budget_tokens": 4_096});
    let frames = post(&gateway, MESSAGES, &turn, &[]).await.frames().await;
    assert!(data(&frames).concat().contains("\"thinking\":\"\\nHm\""));
    turn["messages"] = json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "\nHm", "signature": ""},
            {"type": "text", "text": "Yes"},
            {"type": "tool_use", "id": "call_-8", "name": "look", "input": {"q": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_-8", "content": "seen"},
        ]},
    ]);
    post(&gateway, MESSAGES, &turn, &[]).await.frames().await;
    let calls = provider.calls();
    assert_eq!(calls[1].path, "/chat/completions");
    let body = calls[1].json();
    assert_eq!(body["max_tokens"], 99);
    assert_eq!(body["thinking"], json!({"type": "enabled"}));
    let said = &body["messages"][1];
    assert_eq!(said["reasoning_content"], "\nHm");
    assert_eq!(said["tool_calls"][0]["id"], "call_-8");
    assert_eq!(body["messages"][2]["tool_call_id"], "call_-8");
}

#[tokio::test]
async fn mistral_gets_no_field_that_it_would_refuse() {
    let provider = FakeProvider::start(|_| recorded("openai_chat/mistral_tools.sse")).await;
    let base_url = provider.base_url();
    let gateway = gateway(&at("mistral", &base_url, "")).await;
    let mut body = chat("x");
    body["stream_options"] = json!({"include_usage": true});
    let reply = post(&gateway, CHAT, &body, &[]).await;
    let id = reply.stream();
    reply.frames().await;
    let usage = &ended(&gateway, &id).await["usage"];
    assert_eq!(usage, &json!({"input_tokens": 110, "output_tokens": 40}));
    let mut stripped = body.clone();
    stripped.as_object_mut().unwrap().remove("stream_options");
    assert_eq!(only_call(&provider).json(), stripped);

    let mut body = ask("x");
    body["metadata"] = json!({"user_id": "u"});
    post(&gateway, MESSAGES, &body, &[]).await.frames().await;
    let expected = json!({"model": "m", "stream": true, "max_tokens": 99,
        "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(provider.calls()[1].json(), expected);
}

#[tokio::test]
async fn figures_are_found_wherever_a_provider_has_them() {
    for (name, file, expected) in [
        (
            "groq",
            "openai_chat/groq.sse",
            json!({"input_tokens": 80, "output_tokens": 21, "reasoning_tokens": 9}),
        ),
        (
            "moonshot",
            "openai_chat/moonshot.sse",
            json!({"input_tokens": 19, "output_tokens": 13, "cached_tokens": 12}),
        ),
        (
            "dashscope",
            "openai_chat/dashscope.sse",
            json!({"input_tokens": 10, "output_tokens": 30, "reasoning_tokens": 20}),
        ),
    ] {
        let provider = FakeProvider::start(move |_| recorded(file)).await;
        let gateway = gateway(&at(name, &provider.base_url(), "")).await;
        for (path, body) in [(CHAT, chat("x")), (MESSAGES, ask("x"))] {
            let reply = post(&gateway, path, &body, &[]).await;
            let id = reply.stream();
            reply.frames().await;
            assert_eq!(
                ended(&gateway, &id).await["usage"],
                expected,
                "{name} {path}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_provider_cannot_be_asked_is_refused_before_it_is_called() {
    let provider = FakeProvider::start(answer_to).await;
    for (name, member, value) in [
        ("groq", "top_k", json!(5)),
        ("mistral", "top_k", json!(5)),
        ("zai", "tool_choice", json!({"type": "any"})),
    ] {
        let gateway = gateway(&at(name, &provider.base_url(), "")).await;
        let mut body = ask("x");
        body["tools"] = json!([{"name": "f", "input_schema": {"type": "object"}}]);
        body[member] = value;
        let error = post(&gateway, MESSAGES, &body, &[]).await.json(400).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("`{member}` cannot be translated")),
            "{message}"
        );
    }
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn no_key_is_shown_however_it_was_sent() {
    // Each repeats what it was called with.
    let provider = FakeProvider::start(|request: &ReceivedRequest| {
        let headers: Vec<String> = request
            .headers
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let error = json!({"error": {"message": headers.join(", "), "code": 401}});
        Script::status(401, &[JSON], error.to_string())
    })
    .await;
    for name in ["openai", "azure", "anthropic", "gemini", "deepseek"] {
        let gateway = gateway(&at(name, &origin(&provider), "")).await;
        for (path, body) in [(CHAT, chat("x")), (MESSAGES, ask("x"))] {
            let error = post(&gateway, path, &body, &[]).await.json(401).await;
            let shown = error.to_string();
            assert!(shown.contains("refused this gateway's key"), "{shown}");
            assert!(shown.contains("[redacted]"), "{shown}");
            assert!(!shown.contains(UPSTREAM_KEY), "{name}: {shown}");
        }
    }
}
