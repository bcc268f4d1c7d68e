//! OpenAI's responses: `/v1/responses` in front of upstreams of three dialects.

use everstream_testkit::provider::{ChatAnswer, Cut, FakeProvider, ReceivedRequest, Script, Step};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::messages;
use crate::talk::{Reply, answer_to, data, get, page, post, send};

pub(crate) const RESPONSES: &str = "/v1/responses";
/// The id that the native upstream of these tests gives.
pub(crate) const UPSTREAM_ID: &str = "resp_upstream1";

/// The events of a short answer as OpenAI sends them, oddly spaced, so that whoever writes them anew
/// is found out. The numbers and the response's own id are not these after the first event.
pub(crate) fn native_events() -> Vec<String> {
    let response = |status: &str, output: &str, usage: &str| {
        format!(
            r#"{{"id":"{UPSTREAM_ID}", "object":"response","created_at":17,"status":"{status}","background":false,"error":null,"incomplete_details":null,"model":"gpt-x","output":{output},"previous_response_id":null,"usage":{usage}}}"#
        )
    };
    let item =
        r#"{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}"#;
    let part = r#"{"type":"output_text","text":"","annotations":[]}"#;
    let said = r#"{"type":"output_text","text":"Wind 風 auf.","annotations":[]}"#;
    let done = format!(
        r#"{{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{said}]}}"#
    );
    let place = r#""item_id":"msg_1","output_index":0,"content_index":0"#;
    let usage = r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":12}"#;
    let whole = response("completed", &format!("[{done}]"), usage);
    let running = response("in_progress", "[]", "null");
    let events = [
        format!(r#""type":"response.created","response":{running}"#),
        format!(r#""type":"response.in_progress","response":{running}"#),
        format!(r#""type":"response.output_item.added","output_index":0,"item":{item}"#),
        format!(r#""type":"response.content_part.added",{place},"part":{part}"#),
        format!(
            r#""type":"response.output_text.delta",{place},"delta":"Wind 風","obfuscation":"x""#
        ),
        format!(r#""type":"response.output_text.delta",{place},"delta":" auf.""#),
        format!(r#""type":"response.output_text.done",{place},"text":"Wind 風 auf.""#),
        format!(r#""type":"response.content_part.done",{place},"part":{said}"#),
        format!(r#""type":"response.output_item.done","output_index":0,"item":{done}"#),
        format!(r#""type":"response.completed","response":{whole}"#),
    ];
    let events = events.iter().enumerate();
    events
        .map(|(number, event)| format!(r#"{{{event},  "sequence_number":{number}}}"#))
        .collect()
}

pub(crate) fn step(data: &str) -> Step {
    let event: Value = serde_json::from_str(data).unwrap();
    let name = event["type"].as_str().unwrap();
    Step::Event(format!("event: {name}\ndata: {data}\n\n").into())
}

pub(crate) fn native_stream() -> Script {
    let steps: Vec<_> = native_events().iter().map(|data| step(data)).collect();
    Script::sse_steps(steps)
}

pub(crate) fn native_body() -> Value {
    let last: Value = serde_json::from_str(native_events().last().unwrap()).unwrap();
    last["response"].clone()
}

pub(crate) fn native_answer(request: &ReceivedRequest) -> Script {
    if request.wants_stream() {
        native_stream()
    } else {
        Script::json(200, &native_body())
    }
}

/// A gateway in front of a provider that speaks the dialect itself.
pub(crate) fn setup(provider: &FakeProvider) -> Setup {
    Setup::default().upstream(
        "fake",
        &provider.base_url(),
        "dialect = \"responses\"\nmodels = [\"m\"]",
    )
}

pub(crate) async fn native() -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(native_answer).await;
    let gateway = setup(&provider).start().await;
    (provider, gateway)
}

/// A gateway in front of a provider of chat completions.
pub(crate) async fn chat_only() -> (FakeProvider, Gateway) {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    (provider, gateway)
}

pub(crate) fn request(stream: bool) -> Value {
    json!({"model": "m", "input": "x", "stream": stream})
}

pub(crate) async fn create(gateway: &Gateway, body: &Value) -> Reply {
    post(gateway, RESPONSES, body, &[]).await
}

/// A whole answer that was not streamed.
pub(crate) async fn created(gateway: &Gateway, body: &Value) -> Value {
    create(gateway, body).await.json(200).await
}

pub(crate) fn path(id: &str) -> String {
    format!("{RESPONSES}/{id}")
}

pub(crate) async fn retrieve(gateway: &Gateway, id: &str) -> Value {
    get(gateway, &path(id), &[]).await.json(200).await
}

pub(crate) fn parsed(frames: &[Frame]) -> Vec<Value> {
    let data = data(frames);
    let events = data.iter().map(|data| serde_json::from_str(data).unwrap());
    events.collect()
}

/// The events, each checked to be named as its type and numbered in order from `first` on.
pub(crate) fn numbered(frames: &[Frame], first: u64) -> Vec<Value> {
    let events = parsed(frames);
    for (number, (frame, event)) in (first..).zip(frames.iter().zip(&events)) {
        assert_eq!(frame.event.as_deref(), event["type"].as_str());
        assert_eq!(event["sequence_number"], number, "{event}");
        let seq = frame.id.as_ref().unwrap().rsplit('.').next().unwrap();
        assert_eq!(seq, (number + 1).to_string());
    }
    events
}

pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_stream_passes_through_with_the_gateways_id_alone_changed() {
    let (provider, gateway) = native().await;
    let reply = create(&gateway, &request(true)).await;
    let stream = reply.stream();
    let frames = reply.frames().await;
    numbered(&frames, 0);
    let own = format!(r#""id":"resp_{stream}","upstream_id":"{UPSTREAM_ID}""#);
    let expected = native_events().into_iter();
    let expected = expected.map(|data| data.replace(&format!(r#""id":"{UPSTREAM_ID}""#), &own));
    assert_eq!(data(&frames), expected.collect::<Vec<_>>());
    let call = provider.calls().pop().unwrap();
    assert_eq!(
        (call.path.as_str(), call.body),
        (RESPONSES, request(true).to_string().into())
    );
    let ended = page(&gateway, &stream).await;
    assert_eq!(ended["status"], "completed");
    let usage =
        json!({"input_tokens": 9, "output_tokens": 3, "cached_tokens": 4, "reasoning_tokens": 1});
    assert_eq!(ended["usage"], usage);
}

#[tokio::test]
async fn numbers_that_the_upstream_leaves_out_or_repeats_are_put_right() {
    let events = native_events();
    let odd = events.iter().enumerate().map(|(at, data)| match at % 3 {
        0 => data.replace(&format!(",  \"sequence_number\":{at}"), ""),
        1 => data.replace(
            &format!("\"sequence_number\":{at}"),
            "\"sequence_number\":7",
        ),
        _ => data.clone(),
    });
    let steps: Vec<_> = odd.map(|data| step(&data)).collect();
    let provider = FakeProvider::start(move |_| Script::sse_steps(steps.clone())).await;
    let gateway = setup(&provider).start().await;
    let frames = create(&gateway, &request(true)).await.frames().await;
    assert_eq!(numbered(&frames, 0).len(), events.len());
}

#[tokio::test]
async fn a_body_passes_through_with_the_gateways_id() {
    let (_provider, gateway) = native().await;
    let reply = create(&gateway, &request(false)).await;
    let id = format!("resp_{}", reply.stream());
    let body = reply.json(200).await;
    let mut expected = native_body();
    expected["id"] = json!(id);
    expected["upstream_id"] = json!(UPSTREAM_ID);
    assert_eq!(body, expected);
    assert_eq!(retrieve(&gateway, &id).await, expected);
}

#[tokio::test]
async fn every_dialect_of_upstreams_gives_the_events_in_the_apis_order() {
    let (_chat, chat) = chat_only().await;
    let anthropic = FakeProvider::start(|_| messages::stream()).await;
    let anthropic = messages::setup(&anthropic).start().await;
    for gateway in [chat, anthropic] {
        let mut body = request(true);
        body["metadata"] = json!({"a": "b"});
        body["instructions"] = json!("Be brief.");
        let reply = create(&gateway, &body).await;
        let id = format!("resp_{}", reply.stream());
        let events = numbered(&reply.frames().await, 0);
        let deltas = "response.output_text.delta";
        let mut order = kinds(&events);
        order.dedup();
        let expected = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            deltas,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ];
        assert_eq!(order, expected);
        let last = &events.last().unwrap()["response"];
        for response in [&events[0]["response"], last] {
            assert_eq!(response["id"], id);
            assert_eq!(response["metadata"], json!({"a": "b"}));
            assert_eq!(response["instructions"], "Be brief.");
        }
        let said = events.iter().filter(|event| event["type"] == deltas);
        let said: String = said.map(|event| event["delta"].as_str().unwrap()).collect();
        assert_eq!(last["output"][0]["content"][0]["text"], said);
        assert_eq!(&retrieve(&gateway, &id).await, last);
        assert_eq!(last["status"], "completed");
    }
}

#[tokio::test]
async fn a_stream_that_is_asked_for_as_a_body_is_the_response_of_its_last_event() {
    let (provider, gateway) = native().await;
    let key = [("idempotency-key", "k")];
    let streamed = post(&gateway, RESPONSES, &request(true), &key).await;
    let events = parsed(&streamed.frames().await);
    let body = post(&gateway, RESPONSES, &request(false), &key).await;
    assert_eq!(body.header("idempotent-replayed"), "true");
    assert_eq!(body.json(200).await, events.last().unwrap()["response"]);
    assert_eq!(provider.call_count(RESPONSES), 1);
}

#[tokio::test]
async fn events_are_read_again_after_any_number() {
    for (_provider, gateway) in [native().await, chat_only().await] {
        let reply = create(&gateway, &request(true)).await;
        let id = format!("resp_{}", reply.stream());
        let whole = data(&reply.frames().await);
        let from = async |query: String| {
            let path = format!("{}?stream=true{query}", path(&id));
            get(&gateway, &path, &[]).await
        };
        assert_eq!(data(&from(String::new()).await.frames().await), whole);
        for number in 0..whole.len() {
            let frames = from(format!("&starting_after={number}"))
                .await
                .frames()
                .await;
            assert_eq!(data(&frames), whole[number + 1..]);
            numbered(&frames, number as u64 + 1);
        }
        let ahead = from(format!("&starting_after={}", whole.len())).await;
        assert_eq!(ahead.error(400).await, "invalid_cursor");
        let odd = from("&starting_after=x".to_owned()).await;
        assert_eq!(odd.error(400).await, "invalid_value");
        let path = format!("{}?starting_after=1", path(&id));
        let alone = get(&gateway, &path, &[]).await.json(400).await;
        assert_eq!(alone["error"]["param"], "starting_after");
    }
    let (_provider, gateway) = native().await;
    let whole = created(&gateway, &request(false)).await;
    let path = format!("{}?stream=true", path(whole["id"].as_str().unwrap()));
    let refused = get(&gateway, &path, &[]).await.json(400).await;
    assert_eq!(refused["error"]["param"], "stream");
}

#[tokio::test]
async fn what_is_deleted_not_stored_unknown_or_anothers_is_not_there() {
    let provider = FakeProvider::start(native_answer).await;
    let gateway = setup(&provider).with_keys().start().await;
    let one = format!("Bearer {KEY_ONE}");
    let two = format!("Bearer {KEY_TWO}");
    let one = [("authorization", one.as_str())];
    let two = [("authorization", two.as_str())];
    let create = async |body: &Value| {
        let reply = post(&gateway, RESPONSES, body, &one).await;
        reply.json(200).await["id"].as_str().unwrap().to_owned()
    };
    let missing = async |id: &str, headers: &[(&str, &str)]| {
        let path = path(id);
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}?stream=true")),
            ("GET", format!("{path}/input_items")),
            ("POST", format!("{path}/cancel")),
            ("DELETE", path.clone()),
        ] {
            let reply = send(&gateway, method, &path, headers).await;
            assert_eq!(
                reply.error(404).await,
                "response_not_found",
                "{method} {path}"
            );
        }
        let mut next = request(false);
        next["previous_response_id"] = json!(id);
        let next = post(&gateway, RESPONSES, &next, headers)
            .await
            .json(400)
            .await;
        assert_eq!(next["error"]["code"], "previous_response_not_found");
        assert_eq!(next["error"]["param"], "previous_response_id");
    };
    let id = create(&request(false)).await;
    missing(&id, &two).await;
    missing("resp_0000000000000", &one).await;
    missing("nonsense", &one).await;
    missing(UPSTREAM_ID, &one).await;
    missing(&format!("{id}_x"), &one).await;
    let unstored = json!({"model": "m", "input": "x", "store": false});
    missing(&create(&unstored).await, &one).await;
    let deleted = send(&gateway, "DELETE", &path(&id), &one)
        .await
        .json(200)
        .await;
    assert_eq!(
        deleted,
        json!({"id": id, "object": "response", "deleted": true})
    );
    missing(&id, &one).await;

    let reply = get(&gateway, &path(&id), &[]).await;
    assert_eq!(reply.error(401).await, "invalid_api_key");
    // Streams of other surfaces are no responses.
    let chat = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&chat).start().await;
    let reply = post(&gateway, crate::talk::CHAT, &crate::talk::chat("x"), &[]).await;
    let id = format!("resp_{}", reply.stream());
    reply.frames().await;
    let reply = get(&gateway, &path(&id), &[]).await;
    assert_eq!(reply.error(404).await, "response_not_found");
}

#[tokio::test]
async fn input_items_are_listed_a_page_at_a_time() {
    let (_provider, gateway) = chat_only().await;
    let input = (0..5).map(|n| json!({"role": "user", "content": n.to_string()}));
    let body = json!({"model": "m", "input": input.collect::<Vec<_>>()});
    let id = created(&gateway, &body).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let list = async |query: &str| {
        let path = format!("{}/input_items?{query}", path(&id));
        get(&gateway, &path, &[]).await.json(200).await
    };
    let texts = |list: &Value| -> String {
        let items = list["data"].as_array().unwrap().iter();
        items
            .map(|item| {
                assert_eq!(
                    (&item["type"], &item["role"]),
                    (&json!("message"), &json!("user"))
                );
                let part = &item["content"][0];
                assert_eq!(part["type"], "input_text");
                part["text"].as_str().unwrap()
            })
            .collect()
    };
    let all = list("").await;
    assert_eq!(
        (texts(&all).as_str(), &all["has_more"]),
        ("43210", &json!(false))
    );
    let first = list("order=asc&limit=2").await;
    assert_eq!(
        (texts(&first).as_str(), &first["has_more"]),
        ("01", &json!(true))
    );
    assert_eq!(first["first_id"], first["data"][0]["id"]);
    let last = first["last_id"].as_str().unwrap();
    let rest = list(&format!("order=asc&limit=9&after={last}")).await;
    assert_eq!(
        (texts(&rest).as_str(), &rest["has_more"]),
        ("234", &json!(false))
    );
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=x", "after"),
    ] {
        let path = format!("{}/input_items?{query}", path(&id));
        let refused = get(&gateway, &path, &[]).await.json(400).await;
        assert_eq!(refused["error"]["param"], param);
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_status_and_has_the_apis_error_object() {
    let limited = || {
        Script::openai_error(429, "tokens", "rate_limit_exceeded", "Slow down.")
            .header("retry-after", "7")
    };
    let provider = FakeProvider::start(move |_| limited()).await;
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Full."}}"#;
    let other = FakeProvider::start(move |_| Script::status(529, &[], overloaded)).await;
    let cases = [
        (setup(&provider), 429, "Slow down.", "rate_limit_exceeded"),
        (
            Setup::new(&provider),
            429,
            "Slow down.",
            "rate_limit_exceeded",
        ),
        (messages::setup(&other), 529, "Full.", "overloaded_error"),
    ];
    for (setup, status, text, code) in cases {
        let gateway = setup.start().await;
        for stream in [true, false] {
            let reply = create(&gateway, &request(stream)).await;
            if status == 429 {
                assert_eq!(reply.header("retry-after"), "7");
            }
            let id = format!("resp_{}", reply.stream());
            let body = reply.json(status).await;
            assert_eq!(body["error"]["message"], text);
            assert_eq!(body["error"]["code"], code);
            let kept = retrieve(&gateway, &id).await;
            assert_eq!(kept["status"], "failed");
            assert_eq!(kept["error"], json!({"code": code, "message": text}));
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_in_response_failed() {
    let native = FakeProvider::start(|_| native_stream().cut_after_events(6, Cut::Close)).await;
    let chat = FakeProvider::start(|_| {
        let answer = ChatAnswer::new(["Wind", " 風", " auf", "."]);
        Script::chat_stream(&answer).cut_after_events(4, Cut::Close)
    })
    .await;
    for (setup, text) in [
        (setup(&native), "Wind 風 auf."),
        (Setup::new(&chat), "Wind 風 auf"),
    ] {
        let gateway = setup.start().await;
        let reply = create(&gateway, &request(true)).await;
        let stream = reply.stream();
        let events = numbered(&reply.frames().await, 0);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.failed");
        let response = &last["response"];
        assert_eq!(
            (&response["id"], &response["status"]),
            (&json!(format!("resp_{stream}")), &json!("failed"))
        );
        assert_eq!(response["error"]["code"], "upstream_cut");
        let message = response["error"]["message"].as_str().unwrap();
        assert!(message.contains(&stream), "{message}");
        let kept = retrieve(&gateway, &format!("resp_{stream}")).await;
        assert_eq!(kept["status"], "failed");
        assert_eq!(kept["error"], response["error"]);
        let item = &kept["output"][0];
        assert_eq!(
            (&item["content"][0]["text"], &item["status"]),
            (&json!(text), &json!("incomplete"))
        );
    }
}

#[tokio::test]
async fn an_upstreams_own_failure_goes_through() {
    let mut events = native_events();
    events.truncate(6);
    let failed = r#"{"type":"response.failed","sequence_number":6,"response":{"id":"resp_upstream1","object":"response","status":"failed","error":{"code":"server_error","message":"Oh no."},"output":[],"usage":null}}"#;
    events.push(failed.to_owned());
    let steps: Vec<_> = events.iter().map(|data| step(data)).collect();
    let provider = FakeProvider::start(move |_| Script::sse_steps(steps.clone())).await;
    let gateway = setup(&provider).start().await;
    let reply = create(&gateway, &request(true)).await;
    let id = format!("resp_{}", reply.stream());
    let events = numbered(&reply.frames().await, 0);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["response"]["id"], &last["response"]["upstream_id"]),
        (&json!(id), &json!(UPSTREAM_ID))
    );
    let kept = retrieve(&gateway, &id).await;
    assert_eq!(
        (&kept["status"], &kept["error"]["message"]),
        (&json!("failed"), &json!("Oh no."))
    );
    assert_eq!(kept["output"][0]["content"][0]["text"], "Wind 風 auf.");
}

#[tokio::test]
async fn what_only_the_api_itself_has_passes_through_and_is_else_refused_by_name() {
    let refused = [
        ("tools", json!([{"type": "web_search"}]), "tools[0].type"),
        (
            "tools",
            json!([{"type": "file_search", "vector_store_ids": ["v"]}]),
            "tools[0].type",
        ),
        (
            "tools",
            json!([{"type": "computer_use_preview"}]),
            "tools[0].type",
        ),
        (
            "tools",
            json!([{"type": "mcp", "server_label": "s"}]),
            "tools[0].type",
        ),
        (
            "tools",
            json!([{"type": "code_interpreter", "container": {"type": "auto"}}]),
            "tools[0].type",
        ),
        ("conversation", json!("conv_1"), "conversation"),
        ("truncation", json!("auto"), "truncation"),
        ("prompt", json!({"id": "pmpt_1"}), "prompt"),
    ];
    let (chat_provider, chat) = chat_only().await;
    let (provider, gateway) = native().await;
    for (member, value, param) in refused {
        let mut body = request(false);
        body[member] = value;
        let error = create(&chat, &body).await.json(400).await;
        assert_eq!(error["error"]["param"], param);
        assert_eq!(error["error"]["code"], "unsupported_parameter");
        create(&gateway, &body).await.json(200).await;
        assert_eq!(provider.calls().pop().unwrap().json(), body);
    }
    assert_eq!(chat_provider.calls().len(), 0);
}

#[tokio::test]
async fn a_large_body_is_kept_in_pieces_and_is_one_again() {
    let mut body = native_body();
    body["output"][0]["content"][0]["text"] = json!("風".repeat(500_000));
    let sent = body.clone();
    let provider = FakeProvider::start(move |_| Script::json(200, &sent)).await;
    let gateway = setup(&provider).start().await;
    let mut large = request(false);
    large["input"] = json!("y".repeat(300));
    let whole = created(&gateway, &large).await;
    assert_eq!(whole["output"], body["output"]);
    let id = whole["id"].as_str().unwrap();
    assert_eq!(retrieve(&gateway, id).await, whole);
    let next = json!({"model": "m", "input": "z", "previous_response_id": id});
    created(&gateway, &next).await;
    let sent = provider.calls().pop().unwrap().json();
    assert_eq!(sent["previous_response_id"], UPSTREAM_ID);
}

#[tokio::test]
async fn openai_itself_has_both_apis() {
    let provider = FakeProvider::start(|request: &ReceivedRequest| {
        if request.path == RESPONSES {
            native_answer(request)
        } else {
            answer_to(request)
        }
    })
    .await;
    let own = "provider = \"openai\"\nmodels = [\"m\"]";
    let gateway = Setup::default().upstream("fake", &provider.base_url(), own);
    let gateway = gateway.start().await;
    let mut body = request(true);
    body["tools"] = json!([{"type": "web_search"}]);
    let frames = create(&gateway, &body).await.frames().await;
    assert_eq!(numbered(&frames, 0).len(), native_events().len());
    assert_eq!(provider.calls().pop().unwrap().json(), body);
    let chat = post(&gateway, crate::talk::CHAT, &crate::talk::chat("x"), &[]).await;
    chat.frames().await;
    assert_eq!(provider.call_count(RESPONSES), 1);
    assert_eq!(provider.call_count(crate::talk::CHAT), 1);
}
