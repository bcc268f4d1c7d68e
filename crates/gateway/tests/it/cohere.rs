//! Cohere as an upstream, in the dialects of clients.

use everstream_testkit::provider::{FakeProvider, Script, Step};
use serde_json::{Value, json};

use crate::golden::{CLIENTS, Golden, ask, request};
use crate::harness::{Gateway, Setup, UPSTREAM_KEY};
use crate::messages::MESSAGES;
use crate::talk::{CHAT, page, post};

const GOLDEN: Golden = Golden {
    folder: "cohere",
    ending: "sse",
    fields: "dialect = \"cohere\"",
    asked: |request| {
        let model = request.json()["model"].as_str().unwrap().to_owned();
        (model, request.wants_stream())
    },
    stream: |text| Script::sse_steps([Step::Bytes(text.to_owned().into())]),
};

fn whole(message: &Value, reason: &str) -> Value {
    json!({"id": "c-1", "finish_reason": reason, "message": message,
        "usage": {"tokens": {"input_tokens": 30, "output_tokens": 2}}})
}

/// It is asked for its models.
async fn start(provider: &FakeProvider) -> Gateway {
    let address = format!("http://{}/v2", provider.addr());
    let setup = Setup::default().upstream("cohere", &address, "dialect = \"cohere\"");
    setup.start().await
}

#[tokio::test]
async fn golden_streams_are_what_every_client_gets() {
    GOLDEN.streams_are_what_every_client_gets().await;
}

#[tokio::test]
async fn golden_bodies_are_what_every_client_gets() {
    GOLDEN.bodies_are_what_every_client_gets().await;
}

#[tokio::test]
async fn it_is_asked_where_it_listens_with_its_key() {
    let provider = FakeProvider::start(|_| {
        let said = json!({"role": "assistant", "content": [{"type": "text", "text": "Wind."}]});
        Script::json(200, &whole(&said, "COMPLETE"))
    })
    .await;
    let gateway = start(&provider).await;
    for (_, path) in CLIENTS {
        // The name is on the list that the provider gives at /v1/models.
        ask(&gateway, path, "fake-model", false)
            .await
            .json(200)
            .await;
        let call = provider.calls().pop().unwrap();
        assert_eq!(call.path, "/v2/chat");
        let bearer = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(call.header("authorization"), Some(&*bearer));
        let said = json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]);
        assert_eq!(call.json()["messages"], said);
    }
}

#[tokio::test]
async fn a_plan_goes_back_with_its_calls() {
    let called = json!({"role": "assistant", "tool_plan": "I will look.", "tool_calls": [
        {"id": "clock_1", "type": "function", "function": {"name": "clock", "arguments": "{\"a\": 1}"}}]});
    let first = called.clone();
    let provider = FakeProvider::start(move |request| {
        if request.json()["messages"].as_array().unwrap().len() == 1 {
            return Script::json(200, &whole(&first, "TOOL_CALL"));
        }
        let said = json!({"role": "assistant", "content": [{"type": "text", "text": "Noon."}]});
        Script::json(200, &whole(&said, "COMPLETE"))
    })
    .await;
    let gateway = start(&provider).await;
    let mut body = request(CHAT, "fake-model", false);
    let function = json!({"name": "clock", "parameters": {"type": "object"}});
    body["tools"] = json!([{"type": "function", "function": function}]);
    body["tool_choice"] = json!("required");
    let answer = post(&gateway, CHAT, &body, &[]).await.json(200).await;
    let said = &answer["choices"][0];
    assert_eq!(said["finish_reason"], "tool_calls");
    assert_eq!(said["message"]["reasoning_content"], "I will look.");
    let result = json!({"role": "tool", "tool_call_id": "clock_1", "content": "12:00"});
    let more = [said["message"].clone(), result];
    body["messages"].as_array_mut().unwrap().extend(more);
    body["tool_choice"] = json!("auto");
    post(&gateway, CHAT, &body, &[]).await.json(200).await;
    let calls = provider.calls();
    assert_eq!(calls[0].json()["tool_choice"], "REQUIRED");
    assert_eq!(calls[1].json()["messages"][1], called);
    let result = json!({"role": "tool", "tool_call_id": "clock_1",
        "content": [{"type": "text", "text": "12:00"}]});
    assert_eq!(calls[1].json()["messages"][2], result);
}

#[tokio::test]
async fn a_refusal_has_the_clients_words() {
    let provider = FakeProvider::start(|request| {
        let status = request.json()["messages"][0]["content"][0]["text"].clone();
        let status: u16 = status.as_str().unwrap().parse().unwrap();
        Script::json(status, &json!({"id": "e-1", "message": "It says no."}))
    })
    .await;
    let gateway = start(&provider).await;
    for (status, chat, messages) in [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "invalid_request_error", "authentication_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (498, "invalid_request_error", "invalid_request_error"),
        (500, "server_error", "api_error"),
    ] {
        for (path, kind) in [(CHAT, chat), (MESSAGES, messages)] {
            let mut body = request(path, "fake-model", true);
            body["messages"][0]["content"] = json!(status.to_string());
            let reply = post(&gateway, path, &body, &[]).await;
            let id = reply.stream();
            let error = reply.json(status).await;
            assert_eq!(error["error"]["type"], kind, "{status}: {error}");
            assert!(
                error["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("It says no.")
            );
            assert_eq!(page(&gateway, &id).await["reason"], "upstream_error");
        }
    }
}
