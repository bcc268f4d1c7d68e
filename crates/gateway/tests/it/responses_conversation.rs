//! `previous_response_id`, kept by the gateway.

use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use serde_json::{Value, json};

use crate::harness::Setup;
use crate::messages;
use crate::responses::{
    RESPONSES, UPSTREAM_ID, chat_only, create, created, native, native_answer, numbered, path,
    request, retrieve,
};
use crate::talk::{answer_to, get, post, send};

fn next(before: &Value, input: &Value) -> Value {
    json!({"model": "m", "input": input, "previous_response_id": before["id"]})
}

#[tokio::test]
async fn a_conversation_grows_at_an_upstream_that_remembers_nothing() {
    let (provider, gateway) = chat_only().await;
    let mut first = request(false);
    first["instructions"] = json!("Only once.");
    let first = created(&gateway, &first).await;
    let second = created(&gateway, &next(&first, &json!("y"))).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!(second["instructions"], Value::Null);
    let third = next(&second, &json!([{"role": "user", "content": "z"}]));
    created(&gateway, &third).await;
    let said = first["output"][0]["content"][0]["text"].clone();
    let sent = provider.calls().pop().unwrap().json();
    let messages = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": said},
        {"role": "user", "content": "y"}, {"role": "assistant", "content": said},
        {"role": "user", "content": "z"}]);
    assert_eq!(sent["messages"], messages);
    assert_eq!(sent.get("previous_response_id"), None);
}

#[tokio::test]
async fn items_of_all_of_a_conversation_are_listed() {
    let (_provider, gateway) = chat_only().await;
    let first = created(&gateway, &request(false)).await;
    let second = created(&gateway, &next(&first, &json!("y"))).await;
    let path = format!(
        "{}/input_items?order=asc",
        path(second["id"].as_str().unwrap())
    );
    let list = get(&gateway, &path, &[]).await.json(200).await;
    let roles = list["data"].as_array().unwrap().iter();
    let roles: Vec<_> = roles.map(|item| item["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(list["data"][1]["id"], first["output"][0]["id"]);
}

#[tokio::test]
async fn a_tool_loop_needs_only_the_results() {
    let provider = FakeProvider::start(|request| {
        let last = request.json()["messages"].as_array().unwrap().last().unwrap().clone();
        if last["role"] == "tool" {
            return Script::chat_json(&ChatAnswer::new(["Sunny."]));
        }
        Script::json(200, &json!({"id": "c1", "object": "chat.completion", "model": "m", "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
            "tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "weather", "arguments": "{\"at\":\"Kyoto\"}"}}]}}]}))
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let mut body = request(false);
    body["tools"] =
        json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}}]);
    let first = created(&gateway, &body).await;
    assert_eq!(first["output"][0]["type"], "function_call");
    assert_eq!(first["tools"], body["tools"]);
    let result = json!([{"type": "function_call_output", "call_id": "call_9", "output": "22"}]);
    let second = created(&gateway, &next(&first, &result)).await;
    assert_eq!(second["output"][0]["content"][0]["text"], "Sunny.");
    let sent = provider.calls().pop().unwrap().json();
    assert_eq!(sent["messages"][1]["tool_calls"][0]["id"], "call_9");
    assert_eq!(sent["messages"][2]["tool_call_id"], "call_9");
}

#[tokio::test]
async fn the_upstream_that_answered_before_is_told_its_own_id() {
    let (provider, gateway) = native().await;
    for stream in [false, true] {
        let first = created(&gateway, &request(false)).await;
        let mut body = next(&first, &json!("y"));
        body["stream"] = json!(stream);
        let reply = create(&gateway, &body).await;
        let second = if stream {
            let events = numbered(&reply.frames().await, 0);
            assert_eq!(events[0]["response"]["previous_response_id"], first["id"]);
            events.last().unwrap()["response"].clone()
        } else {
            reply.json(200).await
        };
        assert_eq!(second["previous_response_id"], first["id"]);
        body["previous_response_id"] = json!(UPSTREAM_ID);
        assert_eq!(provider.calls().pop().unwrap().json(), body);
    }
}

#[tokio::test]
async fn another_upstream_is_told_the_conversation() {
    let (one, two) = (
        FakeProvider::start(native_answer).await,
        FakeProvider::start(native_answer).await,
    );
    let chat = FakeProvider::start(answer_to).await;
    let fields = |model: &str| format!("dialect = \"responses\"\nmodels = [\"{model}\"]");
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), &fields("m"))
        .upstream("two", &two.base_url(), &fields("n"))
        .upstream("chat", &chat.base_url(), "models = [\"c\"]");
    let gateway = gateway.start().await;
    let first = created(&gateway, &request(false)).await;
    let mut body = next(&first, &json!("y"));
    body["model"] = json!("n");
    let second = created(&gateway, &body).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let sent = two.calls().pop().unwrap().json();
    assert_eq!(sent.get("previous_response_id"), None);
    let content = first["output"][0]["content"].clone();
    let input = json!([{"type": "message", "role": "user", "content": "x"},
        {"type": "message", "role": "assistant", "content": content},
        {"type": "message", "role": "user", "content": "y"}]);
    assert_eq!(sent["input"], input);
    let mut body = next(&second, &json!("z"));
    body["model"] = json!("c");
    created(&gateway, &body).await;
    let sent = chat.calls().pop().unwrap().json();
    assert_eq!(sent["messages"].as_array().unwrap().len(), 5);
    // And back, to one that remembers only the beginning.
    let mut body = next(&second, &json!("z"));
    body["model"] = json!("m");
    created(&gateway, &body).await;
    assert_eq!(
        one.calls().pop().unwrap().json()["input"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[tokio::test]
async fn sealed_reasoning_comes_back_byte_for_byte() {
    let seal = "gAAAAABo+/=seal";
    let answer = move |_: &_| {
        let mut body = crate::responses::native_body();
        let reasoning =
            json!({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": seal});
        body["output"].as_array_mut().unwrap().insert(0, reasoning);
        Script::json(200, &body)
    };
    let (one, two) = (
        FakeProvider::start(answer).await,
        FakeProvider::start(answer).await,
    );
    let fields = |model: &str| format!("dialect = \"responses\"\nmodels = [\"{model}\"]");
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), &fields("m"))
        .upstream("two", &two.base_url(), &fields("n"));
    let gateway = gateway.start().await;
    let first = created(&gateway, &request(false)).await;
    let mut body = next(&first, &json!("y"));
    body["model"] = json!("n");
    created(&gateway, &body).await;
    assert_eq!(
        two.calls().pop().unwrap().json()["input"][1]["encrypted_content"],
        seal
    );

    // Anthropic's, which the API's clients hold in a token.
    let thinking = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "EqQB+/="}, {"type": "text", "text": "y"}],
        "usage": {"input_tokens": 9, "output_tokens": 3}});
    let body = thinking.clone();
    let provider = FakeProvider::start(move |_| Script::json(200, &body)).await;
    let gateway = messages::setup(&provider).start().await;
    let first = created(&gateway, &request(false)).await;
    created(&gateway, &next(&first, &json!("y"))).await;
    let sent = provider.calls().pop().unwrap().json();
    assert_eq!(sent["messages"][1]["content"][0], thinking["content"][0]);
}

#[tokio::test]
async fn a_conversation_is_bounded_and_outlives_its_beginning() {
    let provider = FakeProvider::start(answer_to).await;
    let limit = "[limits]\nrequest_body_bytes = \"2KiB\"";
    let gateway = Setup::new(&provider).config(limit).start().await;
    let mut before = created(&gateway, &request(false)).await;
    let first = before["id"].as_str().unwrap().to_owned();
    let text = "y".repeat(500);
    let mut turns = 1;
    let refused = loop {
        let reply = create(&gateway, &next(&before, &json!(text))).await;
        if reply.head.status != 200 {
            break reply.json(413).await;
        }
        before = reply.json(200).await;
        turns += 1;
        assert!(turns < 10, "nothing bounds it");
    };
    assert!(turns > 2, "{turns}");
    assert_eq!(refused["error"]["code"], "body_too_large");
    assert_eq!(refused["error"]["param"], "previous_response_id");
    send(&gateway, "DELETE", &path(&first), &[])
        .await
        .json(200)
        .await;
    let last = next(&before, &json!("z"));
    created(&gateway, &last).await;
    let sent = provider.calls().pop().unwrap().json();
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2 * turns + 1);
}

#[tokio::test]
async fn a_response_that_is_not_over_is_nothing_to_go_on_from() {
    let gate = everstream_testkit::provider::Gate::new("held");
    let held = gate.clone();
    let provider = FakeProvider::start(move |request| {
        let script = answer_to(request);
        if request.wants_stream() {
            script.gate_before_event(3, &held)
        } else {
            script
        }
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let mut body = request(false);
    body["background"] = json!(true);
    let running = created(&gateway, &body).await;
    let refused = create(&gateway, &next(&running, &json!("y")))
        .await
        .json(400)
        .await;
    assert_eq!(refused["error"]["param"], "previous_response_id");
    gate.open();
    let id = running["id"].as_str().unwrap();
    let follow = format!("{}?stream=true", path(id));
    get(&gateway, &follow, &[]).await.frames().await;
    assert_eq!(retrieve(&gateway, id).await["status"], "completed");
    created(&gateway, &next(&running, &json!("y"))).await;
}

#[tokio::test]
async fn odd_names_are_refused_in_the_apis_shape() {
    let (provider, gateway) = native().await;
    for (member, value, param) in [
        ("previous_response_id", json!(7), "previous_response_id"),
        (
            "previous_response_id",
            json!("resp_"),
            "previous_response_id",
        ),
        ("store", json!(false), "store"),
    ] {
        let mut body = request(false);
        body["background"] = json!(true);
        body[member] = value;
        let refused = post(&gateway, RESPONSES, &body, &[]).await.json(400).await;
        assert_eq!(refused["error"]["param"], param);
        assert_eq!(refused["error"]["type"], "invalid_request_error");
    }
    assert_eq!(provider.calls().len(), 0);
}
