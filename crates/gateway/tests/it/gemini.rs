//! Google's surface: `/v1beta/models/{model}:{method}` in front of upstreams that speak its dialect,
//! and of others.

use everstream_testkit::provider::{ChatAnswer, FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, UPSTREAM_KEY};
use crate::messages::{self, MESSAGES};
use crate::talk::{CHAT, Reply, chat, data, ended, event, get, page, post, read};

pub(crate) const STREAM: &str = "/v1beta/models/m:streamGenerateContent?alt=sse";
pub(crate) const WHOLE: &str = "/v1beta/models/m:generateContent";
pub(crate) const ARRAY: &str = "/v1beta/models/m:streamGenerateContent";
pub(crate) const COUNT: &str = "/v1beta/models/m:countTokens";

/// The chunks of a short answer, oddly spaced, so that whoever writes them anew is found out.
pub(crate) const CHUNKS: [&str; 4] = [
    r#"{"candidates": [{"content": {"parts": [{"text": "hm","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"totalTokenCount": 9},"modelVersion": "g-1","responseId": "r1"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "Wind 風"}],"role": "model"},"index": 0}],"modelVersion": "g-1","responseId": "r1"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": " auf."}],"role": "model"},"index": 0}],"modelVersion": "g-1","responseId": "r1"}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "","thoughtSignature": "c2lnbmVk"}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 3,"thoughtsTokenCount": 2,"cachedContentTokenCount": 4,"totalTokenCount": 14},"modelVersion": "g-1","responseId": "r1"}"#,
];

pub(crate) fn stream() -> Script {
    Script::sse_steps(CHUNKS.map(event))
}

fn whole() -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true},
            {"text": "Wind 風 auf.", "thoughtSignature": "c2lnbmVk"}], "role": "model"},
        "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 2,
            "cachedContentTokenCount": 4, "totalTokenCount": 14},
        "modelVersion": "g-1", "responseId": "r1"})
}

fn answer_to(request: &ReceivedRequest) -> Script {
    if request.path.contains(":countTokens") {
        Script::json(200, &json!({"totalTokens": 42}))
    } else if request.path.ends_with(":streamGenerateContent") {
        stream()
    } else {
        Script::json(200, &whole())
    }
}

/// What the provider was called with, the query too.
pub(crate) fn target(call: &ReceivedRequest) -> String {
    format!("{}?{}", call.path, call.query)
}

fn base_url(provider: &FakeProvider) -> String {
    format!("http://{}/v1beta", provider.addr())
}

/// A gateway in front of a provider of Google's dialect.
pub(crate) fn setup(provider: &FakeProvider) -> Setup {
    Setup::default().upstream(
        "fake",
        &base_url(provider),
        "dialect = \"gemini\"\nmodels = [\"m\"]",
    )
}

pub(crate) async fn native() -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = setup(&provider).start().await;
    (provider, gateway)
}

pub(crate) fn contents() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]})
}

pub(crate) async fn ask(gateway: &Gateway, headers: &[(&str, &str)]) -> Reply {
    post(gateway, STREAM, &contents(), headers).await
}

/// An error in the dialect's shape: its status and its message.
pub(crate) async fn error(reply: Reply, status: u16) -> (String, String) {
    let body = reply.json(status).await;
    assert_eq!(body["error"]["code"], status, "{body}");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (text("status"), text("message"))
}

/// The answer's text, of a body or of chunks.
fn text(chunks: &[Value]) -> String {
    let parts = chunks
        .iter()
        .filter_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array());
    let said = parts.flatten().filter(|part| part["thought"] != true);
    said.filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test]
async fn a_stream_has_the_upstreams_own_bytes_and_nothing_but_data() {
    let (provider, gateway) = native().await;
    let reply = ask(&gateway, &[("x-goog-api-key", "any")]).await;
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let id = reply.stream();
    let body = reply.body().await;
    let expected: String = CHUNKS
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    assert_eq!(body, expected);
    let call = provider.calls().pop().unwrap();
    assert_eq!(target(&call), STREAM);
    assert_eq!(call.body, contents().to_string());
    assert_eq!(call.header("x-goog-api-key"), Some(UPSTREAM_KEY));
    assert_eq!(call.header("authorization"), None);

    // Ids are where a stream is read again.
    let frames = read(&gateway, &id, None).await.frames().await;
    assert_eq!(data(&frames), CHUNKS);
    assert_eq!(frames[3].id, Some(format!("{id}.4")));
    let stream = page(&gateway, &id).await;
    assert_eq!(
        (&stream["surface"], &stream["status"]),
        (&json!("generate_content"), &json!("completed"))
    );
    let usage =
        json!({"input_tokens": 9, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2});
    assert_eq!(stream["usage"], usage);
}

#[tokio::test]
async fn a_stream_without_alt_is_one_array() {
    let (_provider, gateway) = native().await;
    let reply = post(&gateway, ARRAY, &contents(), &[]).await;
    assert_eq!(reply.header("content-type"), "application/json");
    reply.stream();
    let body = reply.body().await;
    assert_eq!(body, format!("[{}]\n", CHUNKS.join(",\r\n")));
}

#[tokio::test]
async fn a_body_passes_through_whatever_the_model_is_called() {
    let (provider, gateway) = native().await;
    let names = [
        ("/v1beta/models/fake/g-1", "/v1beta/models/g-1"),
        ("/v1beta/models/fake/models/g:1", "/v1beta/models/g%3A1"),
        ("/v1beta/tunedModels/mine", "/v1beta/tunedModels/mine"),
        ("/v1/models/m", "/v1beta/models/m"),
    ];
    for (asked, called) in names {
        let mut body = contents();
        body["model"] = json!("models/other");
        body["new"] = json!({"a": 1});
        let reply = post(&gateway, &format!("{asked}:generateContent"), &body, &[]).await;
        let id = reply.stream();
        assert_eq!(reply.body().await, whole().to_string());
        let call = provider.calls().pop().unwrap();
        assert_eq!(call.path, format!("{called}:generateContent"));
        assert_eq!(call.json()["new"], json!({"a": 1}));
        assert_ne!(call.json()["model"], "models/other");
        assert_eq!(page(&gateway, &id).await["usage"]["output_tokens"], 5);
    }
}

#[tokio::test]
async fn a_stream_that_is_asked_for_as_a_body_is_the_answer_it_makes() {
    let (provider, gateway) = native().await;
    let key = [("idempotency-key", "k")];
    ask(&gateway, &key).await.body().await;
    let reply = post(&gateway, WHOLE, &contents(), &key).await;
    assert_eq!(reply.header("idempotent-replayed"), "true");
    assert_eq!(reply.json(200).await, whole());
    let array = post(&gateway, ARRAY, &contents(), &key).await;
    assert_eq!(array.json(200).await.as_array().unwrap().len(), 4);
    // Another model is another path, for which the key is another.
    let other = post(
        &gateway,
        "/v1beta/models/fake/n:generateContent",
        &contents(),
        &key,
    )
    .await;
    assert_eq!(other.header("idempotent-replayed"), "");
    assert_eq!(provider.calls().len(), 2);
    let mut body = contents();
    body["x"] = json!(1);
    let refused = post(&gateway, WHOLE, &body, &key).await;
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(error(refused, 422).await.0, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn tokens_are_counted_by_who_can_and_else_estimated() {
    let (provider, gateway) = native().await;
    let counted = post(&gateway, COUNT, &contents(), &[]).await;
    assert_eq!(counted.header("everstream-upstream"), "fake");
    assert_eq!(counted.json(200).await, json!({"totalTokens": 42}));
    let within = json!({"generateContentRequest": {"model": "models/fake/g", "contents": []}});
    let path = "/v1beta/models/fake/g:countTokens";
    post(&gateway, path, &within, &[]).await.json(200).await;
    let call = provider.calls().pop().unwrap();
    assert_eq!(call.path, "/v1beta/models/g:countTokens");
    assert_eq!(call.json()["generateContentRequest"]["model"], "models/g");

    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let gateway = Setup::new(&openai).start().await;
    let estimate = post(&gateway, COUNT, &contents(), &[])
        .await
        .json(200)
        .await;
    assert_eq!(estimate["estimated"], true);
    assert!(estimate["totalTokens"].as_u64().unwrap() > 5, "{estimate}");
    assert_eq!(openai.calls().len(), 0);
}

#[tokio::test]
async fn models_are_listed_in_the_dialect() {
    let (_provider, gateway) = native().await;
    let listed = get(&gateway, "/v1beta/models?pageSize=5", &[])
        .await
        .json(200)
        .await;
    let model = &listed["models"][0];
    assert_eq!(model["name"], "models/m");
    assert_eq!(model["supportedGenerationMethods"][0], "generateContent");
    let shown = get(&gateway, "/v1beta/models/m", &[]).await.json(200).await;
    assert_eq!(&shown, model);
    // The other version's path is shared with OpenAI's API.
    let google = [("x-goog-api-key", "any")];
    let listed = get(&gateway, "/v1/models", &google).await.json(200).await;
    assert_eq!(&listed["models"][0], model);
    let listed = get(&gateway, "/v1/models", &[]).await.json(200).await;
    assert_eq!(listed["object"], "list");
}

#[tokio::test]
async fn a_blocked_prompt_is_an_answer() {
    let blocked =
        r#"{"promptFeedback": {"blockReason": "SAFETY"},"usageMetadata": {"promptTokenCount": 9}}"#;
    let provider = FakeProvider::start(move |_| Script::sse_steps([event(blocked)])).await;
    let gateway = setup(&provider).start().await;
    let reply = ask(&gateway, &[]).await;
    let id = reply.stream();
    assert_eq!(data(&reply.frames().await), [blocked]);
    assert_eq!(page(&gateway, &id).await["status"], "completed");
}

#[tokio::test]
async fn other_apis_answer_in_the_dialect() {
    let openai = FakeProvider::start(|request| {
        let answer = ChatAnswer::new(["Wind", " auf", "."]).with_usage(7);
        if request.wants_stream() {
            Script::chat_stream(&answer)
        } else {
            Script::chat_json(&answer)
        }
    })
    .await;
    let claude = FakeProvider::start(|_| messages::stream()).await;
    let gateway = messages::setup(&claude)
        .upstream("gpt", &openai.base_url(), "models = [\"gpt\"]")
        .start()
        .await;
    for (model, said) in [("gpt", "Wind auf."), ("m", "Wind 風 auf.")] {
        let path = format!("/v1beta/models/{model}:streamGenerateContent");
        let reply = post(&gateway, &format!("{path}?alt=sse"), &contents(), &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        assert!(frames.iter().all(|frame| frame.id.is_none()), "{frames:?}");
        let chunks = data(&frames);
        let chunks: Vec<Value> = chunks
            .iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(text(&chunks), said);
        let last = chunks.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        assert!(
            last["usageMetadata"]["promptTokenCount"].as_u64() > Some(0),
            "{last}"
        );
        assert_eq!(page(&gateway, &id).await["status"], "completed");
        let array = post(&gateway, &path, &contents(), &[])
            .await
            .json(200)
            .await;
        assert_eq!(text(array.as_array().unwrap()), said);
    }
    let body = post(
        &gateway,
        "/v1beta/models/gpt:generateContent",
        &contents(),
        &[],
    )
    .await;
    assert_eq!(text(&[body.json(200).await]), "Wind auf.");
    let call = openai.calls().pop().unwrap().json();
    assert_eq!(
        (&call["model"], &call["stream"]),
        (&json!("gpt"), &Value::Null)
    );
}

#[tokio::test]
async fn an_upstream_of_googles_answers_clients_of_other_dialects() {
    let (provider, gateway) = native().await;
    let frames = post(&gateway, CHAT, &chat("x"), &[]).await.frames().await;
    let said = data(&frames);
    assert_eq!(said.last().unwrap(), "[DONE]");
    let deltas = said
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let text: String = deltas
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(text, "Wind 風 auf.");
    assert_eq!(target(&provider.calls()[0]), STREAM);
    let message = post(&gateway, MESSAGES, &messages::message(false), &[]).await;
    let message = message.json(200).await;
    assert_eq!(message["content"][0]["type"], "thinking");
    assert_eq!(message["content"][1]["text"], "Wind 風 auf.");
    assert_eq!(provider.calls()[1].path, WHOLE);
}

#[tokio::test]
async fn what_runs_in_the_background_is_an_address() {
    let (provider, gateway) = native().await;
    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let other = Setup::new(&openai).start().await;
    for (gateway, path) in [(&gateway, WHOLE), (&gateway, STREAM), (&other, WHOLE)] {
        let mut body = contents();
        body["background"] = json!(true);
        let accepted = post(gateway, path, &body, &[]).await.json(202).await;
        let page = ended(gateway, accepted["id"].as_str().unwrap()).await;
        assert_eq!(
            (&page["status"], &page["mode"]),
            (&json!("completed"), &json!("stream"))
        );
    }
    for call in provider.calls() {
        assert_eq!((&*target(&call), call.json()), (STREAM, contents()));
    }
}

/// What a client sends after this answer.
fn next_turn(answer: &Value) -> Value {
    let mut turn = contents();
    let said = answer["candidates"][0]["content"].clone();
    let more = json!({"role": "user", "parts": [{"text": "z"}]});
    let contents = turn["contents"].as_array_mut().unwrap();
    contents.extend([said, more]);
    turn
}

#[tokio::test]
async fn signatures_come_back_byte_for_byte_to_their_own_maker() {
    let (provider, gateway) = native().await;
    let answer = post(&gateway, WHOLE, &contents(), &[]).await;
    let turn = next_turn(&answer.json(200).await);
    post(&gateway, WHOLE, &turn, &[]).await.json(200).await;
    assert_eq!(provider.calls()[1].body, turn.to_string());

    // Anthropic's, through a client of Google's, and back.
    let thinking = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "EqRX+/=="},
            {"type": "text", "text": "y"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let claude = FakeProvider::start(move |_| Script::json(200, &thinking)).await;
    let gateway = messages::setup(&claude)
        .upstream("google", &base_url(&provider), "dialect = \"gemini\"")
        .start()
        .await;
    let answer = post(&gateway, WHOLE, &contents(), &[]).await;
    let turn = next_turn(&answer.json(200).await);
    post(&gateway, WHOLE, &turn, &[]).await.json(200).await;
    let sent = claude.calls()[1].json();
    assert_eq!(sent["messages"][1]["content"][0]["signature"], "EqRX+/==");
    // Google is not shown what it cannot read.
    let path = "/v1beta/models/google/g:generateContent";
    post(&gateway, path, &turn, &[]).await.json(200).await;
    let sent = provider.calls().pop().unwrap().json();
    assert_eq!(sent["contents"][1]["parts"], json!([{"text": "y"}]));
}
