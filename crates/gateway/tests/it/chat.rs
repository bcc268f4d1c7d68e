//! The OpenAI dialect, passed through: what comes from the upstream is what the client gets.

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, Script, Step};
use serde_json::{Value, json};

use crate::harness::{Setup, UPSTREAM_KEY};
use crate::talk::{CHAT, answer, chat, data, event, get, page, post, read, soon, unary_chat};

/// JSON that no serializer would write so: order, spaces, numbers and a field of the vendor's.
const ODD_BODY: &str = "{ \"usage\": {\"total_tokens\":9,\"prompt_tokens\" : 7,\"completion_tokens\":2},\n\
    \"x_vendor\":[1,2.50,1e2],  \"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\
    \"text\":\"a\\u00e9\",\"message\":{\"role\":\"assistant\",\"content\":\"風\"}}],\"id\":\"x\" }\n";

#[tokio::test]
async fn a_streamed_answer_has_the_upstreams_own_bytes_and_hides_usage_nobody_asked_for() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).start().await;
    for asked in [false, true] {
        let mut body =
            json!({"model": "m", "stream": true, "messages": [], "x_vendor": {"k": [1, 2.50]}});
        if asked {
            body["stream_options"] = json!({"include_usage": true});
        }
        let reply = post(&gateway, CHAT, &body, &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        let expected = if asked {
            answer().expected_data()
        } else {
            answer().expected_data_without_usage()
        };
        assert_eq!(data(&frames), expected);
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!(frame.id, Some(format!("{id}.{}", at + 1)));
        }
        let call = provider.calls().pop().unwrap();
        assert_eq!(
            call.header("authorization"),
            Some(format!("Bearer {UPSTREAM_KEY}").as_str())
        );
        assert!(call.wants_usage());
        assert_eq!(call.json()["x_vendor"], body["x_vendor"]);
    }
}

#[tokio::test]
async fn a_text_completion_is_streamed_as_it_comes() {
    let chunk = |text: &str, finish: &str| {
        format!(
            r#"{{"object":"text_completion", "choices":[{{"text":"{text}","index":0,"finish_reason":{finish}}}]}}"#
        )
    };
    let usage = r#"{"object":"text_completion","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
    let sent = vec![
        chunk("Wind", "null"),
        chunk(" auf", "null"),
        chunk("", "\"stop\""),
        usage.to_owned(),
        "[DONE]".to_owned(),
    ];
    let script = sent.clone();
    let provider = FakeProvider::start(move |_| Script::sse(script.clone())).await;
    let gateway = Setup::new(&provider).start().await;
    let body = json!({"model": "m", "prompt": "x", "stream": true, "suffix": null});
    let reply = post(&gateway, "/v1/completions", &body, &[]).await;
    let id = reply.stream();
    let shown = [&sent[..3], &sent[4..]].concat();
    assert_eq!(data(&reply.frames().await), shown);
    let stream = page(&gateway, &id).await;
    assert_eq!(stream["surface"], "completions");
    assert_eq!(stream["status"], "completed");
    assert_eq!(
        stream["usage"],
        json!({"input_tokens": 3, "output_tokens": 2})
    );
    assert_eq!(provider.call_count("/v1/completions"), 1);
}

#[tokio::test]
async fn a_unary_answer_is_passed_on_byte_for_byte_and_so_is_its_request() {
    let headers = [("content-type", "application/json")];
    let provider = FakeProvider::start(move |_| Script::status(200, &headers, ODD_BODY)).await;
    let gateway = Setup::new(&provider).start().await;
    let sent = "{\"x_vendor\" : {\"a\":1.50},\n \"model\":\"m\",  \"input\":\"風\", \"messages\":[],\"prompt\":\"x\"}";
    for (path, surface) in [
        (CHAT, "chat_completions"),
        ("/v1/completions", "completions"),
        ("/v1/embeddings", "embeddings"),
    ] {
        let mut client = gateway.client().await;
        let json = [("content-type", "application/json")];
        let head = soon(client.request("POST", path, &json, sent.as_bytes()))
            .await
            .unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("everstream-upstream"), Some("fake"));
        let (body, end) = soon(client.read_body()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        assert_eq!(body, ODD_BODY);
        let call = provider.calls().pop().unwrap();
        assert_eq!(call.path, path);
        assert_eq!(call.body, sent);
        let id = head.header("everstream-stream-id").unwrap();
        let stream = page(&gateway, id).await;
        assert_eq!(stream["surface"], surface);
        assert_eq!(stream["events"][0]["data"], ODD_BODY);
        let events = read(&gateway, id, None).await.frames().await;
        assert_eq!(data(&events), [ODD_BODY]);
        assert_eq!(
            stream["usage"],
            json!({"input_tokens": 7, "output_tokens": 2})
        );
    }
}

/// An embeddings answer of some 2.5 MiB, with characters of three bytes at the borders of pieces.
fn large_embeddings() -> String {
    let text = "風".repeat((5 << 20) / 6);
    format!(r#"{{"object":"list","note":"{text}","data":[{{"index":0,"embedding":[0.1]}}]}}"#)
}

#[tokio::test]
async fn a_large_answer_is_logged_in_pieces_and_is_whole_again_for_every_reader() {
    let large = large_embeddings();
    let sent = large.clone();
    let headers = [("content-type", "application/json")];
    let provider = FakeProvider::start(move |_| Script::status(200, &headers, sent.clone())).await;
    let gateway = Setup::new(&provider).start().await;
    let body = json!({"model": "m", "input": "x"});
    let keyed = [("idempotency-key", "large")];
    for replayed in ["", "true"] {
        let reply = post(&gateway, "/v1/embeddings", &body, &keyed).await;
        assert_eq!(reply.head.status, 200);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("idempotent-replayed"), replayed);
        let id = reply.stream();
        assert!(reply.body().await == large, "the body differs");
        let frames = read(&gateway, &id, None).await.frames().await;
        assert_eq!(frames.len(), 3);
        assert!(
            frames
                .iter()
                .all(|frame| frame.event.as_deref() == Some("response.part"))
        );
        assert!(data(&frames).concat() == large, "the stream differs");
    }
    assert_eq!(provider.call_count("/v1/embeddings"), 1);
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_never_passes_for_a_whole_one() {
    let large = large_embeddings();
    let provider = FakeProvider::start(move |_| {
        let headers = [("content-type", "application/json")];
        Script::status(200, &headers, large.clone()).lying_content_length(4 << 20)
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let body = json!({"model": "m", "input": "x"});
    let mut reply = post(&gateway, "/v1/embeddings", &body, &[]).await;
    let (_, end) = soon(reply.client.read_body()).await.unwrap();
    assert_eq!(end, BodyEnd::Cut);
    let stream = page(&gateway, &reply.stream()).await;
    assert_eq!(stream["status"], "failed");
    assert_eq!(stream["reason"], "upstream_cut");
}

#[tokio::test]
async fn an_event_is_passed_on_as_soon_as_it_comes() {
    let gate = everstream_testkit::provider::Gate::new("second token");
    let held = gate.clone();
    let provider =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_event(3, &held))
            .await;
    let gateway = Setup::new(&provider).start().await;
    let mut reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let expected = answer().expected_data_without_usage();
    assert_eq!(reply.event().await.data.as_ref(), expected.first());
    assert_eq!(reply.event().await.data.as_ref(), expected.get(1));
    gate.open();
    assert_eq!(data(&reply.frames().await), expected[2..]);
}

#[tokio::test]
async fn usage_in_the_last_content_event_is_kept() {
    let last = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":1}}"#;
    let provider =
        FakeProvider::start(move |_| Script::sse_steps([event(last), event("[DONE]"), Step::End]))
            .await;
    let gateway = Setup::new(&provider).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    assert_eq!(data(&reply.frames().await), [last, "[DONE]"]);
    let usage = json!({"input_tokens": 4, "output_tokens": 1});
    assert_eq!(page(&gateway, &id).await["usage"], usage);
}

/// What the provider called `who` answers: its name as the content.
async fn named(who: &'static str, models: &'static [&'static str]) -> FakeProvider {
    let provider = FakeProvider::start(move |_| {
        Script::chat_json(&everstream_testkit::provider::ChatAnswer::new([who]))
    })
    .await;
    provider.set_models(models.iter().copied());
    provider
}

#[tokio::test]
async fn a_models_name_its_prefix_or_an_alias_chooses_the_upstream() {
    let left = named("left", &["shared", "big", "org/deep"]).await;
    let right = named("right", &["shared", "small"]).await;
    let gateway = Setup::new(&left)
        .upstream("right", &right.base_url(), "")
        .config("[aliases]\nfast = \"right/small\"\nusual = \"big\"")
        .start()
        .await;
    for (model, upstream, there) in [
        ("big", "fake", "big"),
        ("small", "right", "small"),
        ("shared", "fake", "shared"),
        ("right/shared", "right", "shared"),
        ("right/unlisted", "right", "unlisted"),
        ("org/deep", "fake", "org/deep"),
        ("fake/org/deep", "fake", "org/deep"),
        ("fast", "right", "small"),
        ("usual", "fake", "big"),
    ] {
        let mut body = unary_chat("x");
        body["model"] = json!(model);
        let reply = post(&gateway, CHAT, &body, &[]).await;
        assert_eq!(reply.header("everstream-upstream"), upstream, "{model}");
        assert_eq!(reply.head.status, 200, "{model}");
        let provider = if upstream == "fake" { &left } else { &right };
        assert_eq!(provider.calls().pop().unwrap().json()["model"], there);
    }
    let calls = |provider: &FakeProvider| provider.call_count(CHAT);
    assert_eq!((calls(&left), calls(&right)), (5, 4));
    let mut body = chat("x");
    body["model"] = json!("smal");
    let refused = post(&gateway, CHAT, &body, &[]).await;
    let error = refused.json(404).await;
    assert_eq!(error["error"]["code"], "model_not_found");
    assert_eq!(error["error"]["param"], "model");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("`small`"), "{message}");
    assert_eq!((calls(&left), calls(&right)), (5, 4));
}

#[tokio::test]
async fn models_of_all_upstreams_and_aliases_are_listed_and_found() {
    let left = named("left", &["shared", "org/deep"]).await;
    let right = named("right", &["shared", "small"]).await;
    let gateway = Setup::new(&left)
        .upstream("right", &right.base_url(), "")
        .config("[aliases]\nfast = \"right/small\"")
        .start()
        .await;
    let list = get(&gateway, "/v1/models", &[]).await.json(200).await;
    assert_eq!(list["object"], "list");
    let entry = |id: &str, owner: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": owner});
    let expected = [
        entry("fast", "right"),
        entry("shared", "fake"),
        entry("org/deep", "fake"),
        entry("small", "right"),
    ];
    assert_eq!(list["data"], Value::from(expected.to_vec()));
    for model in &expected {
        let path = format!("/v1/models/{}", model["id"].as_str().unwrap());
        assert_eq!(get(&gateway, &path, &[]).await.json(200).await, *model);
    }
    // As SDKs write a slash in a path.
    let encoded = get(&gateway, "/v1/models/org%2Fdeep", &[]).await;
    assert_eq!(encoded.json(200).await, expected[2]);
    assert_eq!(
        get(&gateway, "/v1/models/none", &[]).await.error(404).await,
        "model_not_found"
    );
}
