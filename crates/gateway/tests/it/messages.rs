//! Anthropic's dialect: `/v1/messages` in front of upstreams that speak it, and of others.

use everstream_testkit::provider::{ChatAnswer, Cut, FakeProvider, ReceivedRequest, Script, Step};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, Setup, UPSTREAM_KEY};
use crate::talk::{CHAT, Reply, chat, data, ended, page, post, send};

pub(crate) const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

/// The events of a short answer, oddly spaced, so that whoever writes them anew is found out.
pub(crate) const EVENTS: [&str; 8] = [
    r#"{"type": "message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}"#,
    r#"{"type": "content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":  "ping"}"#,
    r#"{"type": "content_block_delta","index":0,"delta":{"type":"text_delta","text":"Wind 風"}}"#,
    r#"{"type": "content_block_delta","index":0,"delta":{"type":"text_delta","text":" auf."}}"#,
    r#"{"type": "content_block_stop","index":0}"#,
    r#"{"type": "message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":3}}"#,
    r#"{"type": "message_stop"}"#,
];

fn name_of(data: &str) -> String {
    let event: Value = serde_json::from_str(data).unwrap();
    event["type"].as_str().unwrap().to_owned()
}

pub(crate) fn step(data: &str) -> Step {
    Step::Event(format!("event: {}\ndata: {data}\n\n", name_of(data)).into())
}

pub(crate) fn stream() -> Script {
    Script::sse_steps(EVENTS.map(step))
}

fn unary() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "text", "text": "Wind."}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 9, "output_tokens": 3}})
}

fn answer_to(request: &ReceivedRequest) -> Script {
    if request.path == COUNT {
        Script::json(200, &json!({"input_tokens": 42}))
    } else if request.wants_stream() {
        stream()
    } else {
        Script::json(200, &unary())
    }
}

/// A gateway in front of a provider of Anthropic's dialect.
pub(crate) fn setup(provider: &FakeProvider) -> Setup {
    let address = format!("http://{}", provider.addr());
    Setup::default().upstream(
        "fake",
        &address,
        "dialect = \"anthropic\"\nmodels = [\"m\"]",
    )
}

async fn native() -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider).start().await;
    (provider, gateway)
}

pub(crate) fn message(stream: bool) -> Value {
    json!({"model": "m", "max_tokens": 99, "stream": stream,
        "messages": [{"role": "user", "content": "x"}]})
}

pub(crate) async fn ask(gateway: &Gateway, headers: &[(&str, &str)]) -> Reply {
    post(gateway, MESSAGES, &message(true), headers).await
}

/// An error in the dialect's shape: its type and its message.
async fn error(reply: Reply, status: u16) -> (String, String) {
    let body = reply.json(status).await;
    assert_eq!(body["type"], "error", "{body}");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (text("type"), text("message"))
}

#[tokio::test]
async fn a_stream_has_the_upstreams_own_bytes_and_names() {
    let (provider, gateway) = native().await;
    let reply = ask(
        &gateway,
        &[("anthropic-beta", "a-2026"), ("x-api-key", "any")],
    )
    .await;
    let id = reply.stream();
    let frames = reply.frames().await;
    assert_eq!(data(&frames), EVENTS);
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(frame.event.as_deref(), Some(&*name_of(EVENTS[at])));
        assert_eq!(frame.id, Some(format!("{id}.{}", at + 1)));
    }
    let call = provider.calls().pop().unwrap();
    assert_eq!(call.path, MESSAGES);
    assert_eq!(call.body, message(true).to_string());
    assert_eq!(call.header("x-api-key"), Some(UPSTREAM_KEY));
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(call.header("anthropic-beta"), Some("a-2026"));
    let stream = page(&gateway, &id).await;
    assert_eq!(
        (&stream["surface"], &stream["status"]),
        (&json!("messages"), &json!("completed"))
    );
    let usage = json!({"input_tokens": 13, "output_tokens": 3, "cached_tokens": 4});
    assert_eq!(stream["usage"], usage);
}

#[tokio::test]
async fn a_body_passes_through_and_only_the_model_is_rewritten() {
    let (provider, gateway) = native().await;
    let mut body = message(false);
    body["model"] = json!("fake/claude-x");
    let reply = post(&gateway, MESSAGES, &body, &[]).await;
    let id = reply.stream();
    assert_eq!(reply.body().await, unary().to_string());
    assert_eq!(provider.calls()[0].json()["model"], "claude-x");
    assert_eq!(
        page(&gateway, &id).await["usage"],
        json!({"input_tokens": 9, "output_tokens": 3})
    );
}

#[tokio::test]
async fn a_stream_that_is_asked_for_as_a_body_is_the_message_it_makes() {
    let (provider, gateway) = native().await;
    let key = [("idempotency-key", "k")];
    ask(&gateway, &key).await.frames().await;
    let reply = post(&gateway, MESSAGES, &message(false), &key).await;
    let body = reply.json(200).await;
    assert_eq!(
        body["content"],
        json!([{"type": "text", "text": "Wind 風 auf."}])
    );
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["usage"]["output_tokens"], 3);
    assert_eq!(provider.call_count(MESSAGES), 1);
}

#[tokio::test]
async fn tokens_are_counted_by_who_can_and_else_estimated() {
    let (provider, gateway) = native().await;
    let counted = post(&gateway, COUNT, &message(false), &[]).await;
    assert_eq!(counted.json(200).await, json!({"input_tokens": 42}));
    assert_eq!(provider.call_count(COUNT), 1);
    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let gateway = Setup::new(&openai).start().await;
    let estimate = post(&gateway, COUNT, &message(false), &[])
        .await
        .json(200)
        .await;
    assert_eq!(estimate["estimated"], true);
    assert!(estimate["input_tokens"].as_u64().unwrap() > 5, "{estimate}");
    assert_eq!(openai.calls().len(), 0);
}

#[tokio::test]
async fn errors_have_the_dialects_shape() {
    let (provider, gateway) = native().await;
    let (kind, text) = error(
        post(&gateway, MESSAGES, &json!({"max_tokens": 1}), &[]).await,
        400,
    )
    .await;
    assert_eq!(kind, "invalid_request_error");
    assert!(text.contains("`model`"), "{text}");
    let cursor = [("last-event-id", "nonsense")];
    assert_eq!(
        error(ask(&gateway, &cursor).await, 400).await.0,
        "invalid_request_error"
    );
    let listed = send(
        &gateway,
        "GET",
        "/v1/models",
        &[("anthropic-version", "2023-06-01")],
    )
    .await;
    let listed = listed.json(200).await;
    assert_eq!(listed["data"][0]["type"], "model");
    assert_eq!(
        (&listed["data"][0]["id"], &listed["last_id"]),
        (&json!("m"), &json!("m"))
    );
    let reply = send(&gateway, "GET", MESSAGES, &[]).await;
    assert_eq!(error(reply, 405).await.0, "invalid_request_error");
    let keyed = setup(&provider).with_keys().start().await;
    assert_eq!(
        error(ask(&keyed, &[]).await, 401).await.0,
        "authentication_error"
    );
    let reply = post(&keyed, COUNT, &message(false), &[("x-api-key", "wrong")]).await;
    assert_eq!(error(reply, 401).await.0, "authentication_error");
    let reply = ask(&keyed, &[("x-api-key", KEY_ONE)]).await;
    assert_eq!(reply.frames().await.len(), EVENTS.len());
    assert_eq!(provider.call_count(MESSAGES), 1);
}

#[tokio::test]
async fn a_refusal_keeps_its_status_reason_and_time_in_both_dialects() {
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Come back later."}}"#;
    let headers = [("content-type", "application/json"), ("retry-after", "7")];
    let provider = FakeProvider::start(move |_| Script::status(529, &headers, overloaded)).await;
    let gateway = setup(&provider).start().await;
    for stream in [true, false] {
        let reply = post(&gateway, MESSAGES, &message(stream), &[]).await;
        assert_eq!(reply.header("retry-after"), "7");
        let expected = ("overloaded_error".to_owned(), "Come back later.".to_owned());
        assert_eq!(error(reply, 529).await, expected);
        let mut body = chat("x");
        body["stream"] = json!(stream);
        let reply = post(&gateway, CHAT, &body, &[]).await;
        assert_eq!(reply.header("retry-after"), "7");
        let body = reply.json(529).await;
        assert_eq!(body["error"]["message"], "Come back later.");
        assert_eq!(body["error"]["code"], "overloaded_error");
    }
    let limited = Script::openai_error;
    let provider = FakeProvider::start(move |_| {
        limited(429, "tokens", "rate_limit_exceeded", "Slow down.").header("retry-after", "3")
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let reply = ask(&gateway, &[]).await;
    assert_eq!(reply.header("retry-after"), "3");
    let expected = ("rate_limit_error".to_owned(), "Slow down.".to_owned());
    assert_eq!(error(reply, 429).await, expected);
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_event_of_the_dialect() {
    let failure = r#"{"type": "error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let steps = EVENTS[..5]
        .iter()
        .chain([&failure])
        .map(|data| step(data))
        .collect::<Vec<_>>();
    let provider = FakeProvider::start(move |_| Script::sse_steps(steps.clone())).await;
    let gateway = setup(&provider).start().await;
    let reply = ask(&gateway, &[]).await;
    let id = reply.stream();
    let frames = reply.frames().await;
    assert_eq!(frames[5].event.as_deref(), Some("error"));
    assert_eq!(frames[5].data.as_deref(), Some(failure));
    assert_eq!(frames.len(), 6);
    let stream = page(&gateway, &id).await;
    assert_eq!(stream["reason"], "upstream_error");
    // The figure of the start is that of nothing said.
    assert_eq!(
        (
            &stream["usage"]["output_tokens"],
            &stream["usage"]["estimated"]
        ),
        (&json!(2), &json!(true))
    );
    let frames = post(&gateway, CHAT, &chat("x"), &[]).await.frames().await;
    let last: Value = serde_json::from_str(frames.last().unwrap().data.as_ref().unwrap()).unwrap();
    assert_eq!(last["error"]["message"], "Overloaded");
    assert_eq!(last["error"]["code"], "overloaded_error");
}

#[tokio::test]
async fn a_cut_is_an_error_event_that_names_the_stream() {
    for (openai, count) in [(false, 5), (true, 3)] {
        let provider = FakeProvider::start(move |_| {
            if openai {
                Script::chat_stream(&ChatAnswer::new(["Wind", " auf", "."]))
                    .cut_after_events(3, Cut::Close)
            } else {
                stream().cut_after_events(5, Cut::Close)
            }
        })
        .await;
        let setup = if openai {
            Setup::new(&provider)
        } else {
            setup(&provider)
        };
        let gateway = setup.start().await;
        let reply = ask(&gateway, &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        let last = frames.last().unwrap();
        assert_eq!(last.event.as_deref(), Some("error"), "{frames:?}");
        let error: Value = serde_json::from_str(last.data.as_ref().unwrap()).unwrap();
        assert_eq!(error["error"]["type"], "api_error");
        assert!(error["error"]["message"].as_str().unwrap().contains(&id));
        assert!(frames.len() > count, "{frames:?}");
        assert_eq!(page(&gateway, &id).await["reason"], "upstream_cut");
    }
}

#[tokio::test]
async fn what_cannot_be_said_in_the_other_api_is_refused_before_it_is_called() {
    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let gateway = Setup::new(&openai).start().await;
    let mut body = message(true);
    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    let (kind, text) = error(post(&gateway, MESSAGES, &body, &[]).await, 400).await;
    assert_eq!(kind, "invalid_request_error");
    assert!(text.contains("`tools[0].type`"), "{text}");
    assert_eq!(openai.calls().len(), 0);

    let (provider, gateway) = native().await;
    let mut body = chat("x");
    body["seed"] = json!(7);
    let refused = post(&gateway, CHAT, &body, &[]).await.json(400).await;
    assert_eq!(refused["error"]["code"], "unsupported_parameter");
    assert_eq!(refused["error"]["param"], "seed");
    for path in ["/v1/completions", "/v1/embeddings"] {
        let body = json!({"model": "m", "prompt": "x", "input": "x"});
        let refused = post(&gateway, path, &body, &[]).await;
        assert_eq!(refused.error(400).await, "unsupported_parameter");
    }
    assert_eq!(provider.calls().len(), 0);
}

#[tokio::test]
async fn a_translated_request_is_the_other_apis_own() {
    let (provider, gateway) = native().await;
    let body = json!({"model": "m", "stream": true, "max_completion_tokens": 5, "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]});
    post(&gateway, CHAT, &body, &[]).await.frames().await;
    let call = provider.calls().pop().unwrap();
    assert_eq!(call.path, MESSAGES);
    let sent = call.json();
    assert_eq!(
        (&sent["max_tokens"], &sent["stream"]),
        (&json!(5), &json!(true))
    );
    assert_eq!(sent["system"][0]["text"], "Be brief.");

    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let gateway = Setup::new(&openai).start().await;
    let mut body = message(true);
    body["background"] = json!(true);
    let accepted = post(&gateway, MESSAGES, &body, &[]).await.json(202).await;
    assert_eq!(
        ended(&gateway, accepted["id"].as_str().unwrap()).await["status"],
        "completed"
    );
    let call = openai.calls().pop().unwrap();
    assert_eq!(call.path, CHAT);
    assert!(call.wants_usage());
    assert_eq!(call.json()["max_tokens"], 99);
}

#[tokio::test]
async fn seals_of_other_makers_do_not_reach_anthropic() {
    let (provider, gateway) = native().await;
    let mut body = message(true);
    body["messages"] = json!([{"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "everstream:google:signature:reasoning:-:abc"},
            {"type": "text", "text": "y"}]},
        {"role": "user", "content": "z"}]);
    post(&gateway, MESSAGES, &body, &[]).await.frames().await;
    body["messages"][1]["content"] = json!([{"type": "text", "text": "y"}]);
    assert_eq!(provider.calls()[0].json(), body);
}
