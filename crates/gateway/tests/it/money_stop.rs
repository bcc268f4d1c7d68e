//! Answers that are ended in the middle, as their budgets have nothing left: in every dialect as one
//! that reached its limit of tokens.

use std::time::Duration;

use everstream_core::money::Money;
use everstream_testkit::provider::{FakeProvider, Script, Step};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, Setup};
use crate::money::{budget, entry, money, stands};
use crate::talk::{Reply, data, get, post};

/// A dollar for a token of the answer, of which three are reserved at a time.
const HARD: &str = "[[prices]]\nmodel = \"*\"\noutput = \"1000000\"\n\
                    [budgets]\nhard_stop = true\noutput_tokens = 3\n";
/// Far more than may be paid for.
const TOKENS: usize = 30_000;

fn event(name: &str, data: &Value) -> Step {
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("event: {name}\n")
    };
    Step::Event(format!("{name}data: {data}\n\n").into())
}

/// What the fake provider says in its own dialect, without an end that is ever reached.
fn endless(path: &str) -> Script {
    let mut steps = Vec::new();
    let token = match path {
        path if path.ends_with("/messages") => {
            let usage = json!({"input_tokens": 1, "output_tokens": 1});
            let message = json!({"id": "m1", "type": "message", "role": "assistant", "model": "m",
                                 "content": [], "stop_reason": null, "usage": usage});
            steps.push(event(
                "message_start",
                &json!({"type": "message_start", "message": message}),
            ));
            let block = json!({"type": "text", "text": ""});
            let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
            steps.push(event("content_block_start", &start));
            let delta = json!({"type": "text_delta", "text": "a"});
            let delta = json!({"type": "content_block_delta", "index": 0, "delta": delta});
            event("content_block_delta", &delta)
        }
        path if path.ends_with("/responses") => {
            let response = json!({"id": "resp_1", "object": "response", "status": "in_progress",
                                  "model": "m", "output": []});
            let of = |kind: &str, more: &Value| {
                let mut value = json!({"type": kind, "sequence_number": 0});
                value
                    .as_object_mut()
                    .unwrap()
                    .extend(more.as_object().unwrap().clone());
                event(kind, &value)
            };
            steps.push(of("response.created", &json!({"response": response})));
            let item = json!({"id": "msg_1", "type": "message", "status": "in_progress",
                              "role": "assistant", "content": []});
            steps.push(of(
                "response.output_item.added",
                &json!({"output_index": 0, "item": item}),
            ));
            let part = json!({"type": "output_text", "text": "", "annotations": []});
            let at =
                json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "part": part});
            steps.push(of("response.content_part.added", &at));
            let at =
                json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "a"});
            of("response.output_text.delta", &at)
        }
        path if path.contains("generateContent") || path.contains("GenerateContent") => {
            let content = json!({"role": "model", "parts": [{"text": "a"}]});
            event(
                "",
                &json!({"candidates": [{"content": content, "index": 0}], "modelVersion": "m"}),
            )
        }
        path if path.ends_with("/chat/completions") => {
            let choice = json!({"index": 0, "delta": {"content": "a"}, "finish_reason": null});
            event(
                "",
                &json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                              "choices": [choice]}),
            )
        }
        _ => {
            let choice = json!({"index": 0, "text": "a", "finish_reason": null});
            event(
                "",
                &json!({"id": "c1", "object": "text_completion", "created": 1, "model": "m",
                              "choices": [choice]}),
            )
        }
    };
    let tokens = std::iter::repeat_n(token, TOKENS);
    Script::sse_steps(steps.into_iter().chain(tokens)).pause_between(Duration::from_millis(2))
}

/// A gateway whose one upstream speaks `dialect`, and that can pay for one reserve.
async fn start(dialect: &str) -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(|request| endless(&request.path)).await;
    let more = format!("dialect = \"{dialect}\"\nmodels = [\"m\"]");
    let setup = Setup::default().upstream("fake", &provider.base_url(), &more);
    let gateway = setup.with_keys().config(HARD).start().await;
    budget(&gateway, "1", &[]).await;
    (provider, gateway)
}

async fn ask(gateway: &Gateway, path: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {KEY_ONE}");
    post(gateway, path, body, &[("authorization", &bearer)]).await
}

/// The events of an answer that was stopped, but for those before its last deltas, and its stream.
async fn stopped(dialect: &str, path: &str, body: Value) -> (Vec<Value>, Gateway, FakeProvider) {
    let (provider, gateway) = start(dialect).await;
    let reply = ask(&gateway, path, &body).await;
    assert_eq!(reply.head.status, 200, "{path} by {dialect}");
    let id = reply.stream();
    let events = data(&reply.frames().await);
    assert!(
        events.len() < TOKENS / 2,
        "{path} by {dialect} went on: {}",
        events.len()
    );
    let events: Vec<_> = events
        .iter()
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
        .collect();
    let entry = entry(&gateway, &id).await.unwrap();
    assert!(
        entry.usage.estimated && entry.cost >= money("3"),
        "{entry:?}"
    );
    assert_eq!(stands(&gateway).await.0, entry.cost);
    let bearer = format!("Bearer {KEY_ONE}");
    let page = get(
        &gateway,
        &format!("/v1/streams/{id}"),
        &[("authorization", &bearer)],
    )
    .await;
    let page = page.json(200).await;
    assert_eq!(page["status"], "cancelled", "{page}");
    assert_eq!(page["reason"], "budget_exhausted", "{page}");
    crate::harness::until(|| provider.hangups() > 0).await;
    (events, gateway, provider)
}

fn last(events: &[Value], n: usize) -> &[Value] {
    &events[events.len() - n..]
}

#[tokio::test]
async fn a_chat_ends_with_its_reason_length_and_its_usage() {
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true},
                      "messages": [{"role": "user", "content": "x"}]});
    for dialect in ["openai", "anthropic"] {
        let (events, gateway, _provider) =
            stopped(dialect, "/v1/chat/completions", body.clone()).await;
        let [finish, usage, done] = last(&events, 3) else {
            panic!("{events:?}")
        };
        assert_eq!(
            finish["choices"][0]["finish_reason"], "length",
            "{dialect}: {finish}"
        );
        assert_eq!(finish["object"], "chat.completion.chunk");
        assert!(
            usage["usage"]["completion_tokens"].as_u64() >= Some(3),
            "{usage}"
        );
        assert!(finish["id"].is_string() && usage["id"] == finish["id"]);
        assert_eq!(done, "[DONE]");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_completion_ends_with_its_reason_length() {
    let body = json!({"model": "m", "stream": true, "prompt": "x"});
    let (events, gateway, _provider) = stopped("openai", "/v1/completions", body).await;
    let [finish, done] = last(&events, 2) else {
        panic!("{events:?}")
    };
    assert_eq!(finish["choices"][0]["finish_reason"], "length");
    assert_eq!(
        (&finish["object"], done),
        (&json!("text_completion"), &json!("[DONE]"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_ends_with_its_block_closed_and_max_tokens() {
    // More than the reserve pays for, so that it has to be asked for more.
    let body = json!({"model": "m", "stream": true, "max_tokens": 3,
                      "messages": [{"role": "user", "content": "x"}]});
    for dialect in ["anthropic", "openai"] {
        let (events, gateway, _provider) = stopped(dialect, "/v1/messages", body.clone()).await;
        let [block, delta, stop] = last(&events, 3) else {
            panic!("{events:?}")
        };
        assert_eq!(block, &json!({"type": "content_block_stop", "index": 0}));
        assert_eq!(
            delta["delta"]["stop_reason"], "max_tokens",
            "{dialect}: {delta}"
        );
        assert!(
            delta["usage"]["output_tokens"].as_u64() >= Some(3),
            "{delta}"
        );
        assert_eq!(stop, &json!({"type": "message_stop"}));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_response_ends_incomplete_with_all_that_was_said() {
    let body = json!({"model": "m", "stream": true, "input": "x"});
    for dialect in ["responses", "openai"] {
        let (events, gateway, _provider) = stopped(dialect, "/v1/responses", body.clone()).await;
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete", "{dialect}: {last}");
        let response = &last["response"];
        assert_eq!(response["status"], "incomplete");
        assert_eq!(
            response["incomplete_details"]["reason"],
            "max_output_tokens"
        );
        let text = response["output"][0]["content"][0]["text"]
            .as_str()
            .unwrap();
        let is_delta = |event: &&Value| event["type"] == "response.output_text.delta";
        assert_eq!(
            text.len(),
            events.iter().filter(is_delta).count(),
            "{dialect}"
        );
        let numbers: Vec<_> = events
            .iter()
            .map(|event| event["sequence_number"].as_u64())
            .collect();
        assert!(
            numbers
                .iter()
                .enumerate()
                .all(|(n, number)| *number == Some(n as u64))
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn content_ends_with_max_tokens() {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    for dialect in ["gemini", "openai"] {
        let (events, gateway, _provider) = stopped(dialect, path, body.clone()).await;
        let finish = &events.last().unwrap()["candidates"][0];
        assert_eq!(finish["finishReason"], "MAX_TOKENS", "{dialect}: {finish}");
        gateway.stop().await;
    }
}

/// While budgets have something left, an answer that outgrows its reserve gets another.
#[tokio::test]
async fn an_answer_goes_on_while_there_is_something_left() {
    let provider = FakeProvider::start(|_| {
        let choice = |delta: &str, reason: Value| {
            let choice = json!({"index": 0, "delta": {"content": delta}, "finish_reason": reason});
            event(
                "",
                &json!({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}),
            )
        };
        let tokens = std::iter::repeat_n(choice("a", Value::Null), 60);
        let end = [
            choice("", json!("stop")),
            Step::Event("data: [DONE]\n\n".into()),
        ];
        Script::sse_steps(tokens.chain(end)).pause_between(Duration::from_millis(5))
    })
    .await;
    let setup = Setup::new(&provider).with_keys().config(HARD);
    let gateway = setup.start().await;
    budget(&gateway, "1000", &[]).await;
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let reply = ask(&gateway, "/v1/chat/completions", &body).await;
    let events = data(&reply.frames().await);
    assert!(events[events.len() - 2].contains("\"stop\""), "{events:?}");
    let mut stand = stands(&gateway).await;
    assert!(stand.0 >= money("60"), "{stand:?}");
    // All reserves are given back, the further ones too.
    while stand.1 > Money::ZERO {
        stand = stands(&gateway).await;
    }
    gateway.stop().await;
}
