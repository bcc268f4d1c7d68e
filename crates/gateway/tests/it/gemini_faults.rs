//! What goes wrong on Google's surface, in its own words.

use everstream_testkit::provider::{ChatAnswer, Cut, FakeProvider, Script, Step};
use serde_json::{Value, json};

use crate::gemini::{ARRAY, CHUNKS, COUNT, STREAM, WHOLE, ask, contents, error, native, setup};
use crate::harness::{KEY_ONE, Setup};
use crate::messages::{self, MESSAGES};
use crate::talk::{CHAT, chat, data, event, get, page, post, send};

#[tokio::test]
async fn errors_have_the_dialects_shape() {
    let (provider, gateway) = native().await;
    let wrong = post(&gateway, WHOLE, &json!([]), &[]).await;
    assert_eq!(error(wrong, 400).await.0, "INVALID_ARGUMENT");
    let method = post(&gateway, "/v1beta/models/m:embedContent", &contents(), &[]).await;
    let (status, told) = error(method, 404).await;
    assert_eq!(status, "NOT_FOUND");
    assert!(told.contains("`embedContent`"), "{told}");
    for (query, named) in [
        ("alt=proto", "`alt`"),
        ("fields=x", "`fields`"),
        ("key=s3cret", "x-goog-api-key"),
    ] {
        for path in [ARRAY, WHOLE, COUNT] {
            let reply = post(&gateway, &format!("{path}?{query}"), &contents(), &[]).await;
            let (status, told) = error(reply, 400).await;
            assert_eq!(status, "INVALID_ARGUMENT");
            assert!(told.contains(named) && !told.contains("s3cret"), "{told}");
        }
    }
    let listed = get(&gateway, "/v1beta/models?key=s3cret", &[]).await;
    assert!(error(listed, 400).await.1.contains("x-goog-api-key"));
    let cursor = [("last-event-id", "nonsense")];
    assert_eq!(
        error(ask(&gateway, &cursor).await, 400).await.0,
        "INVALID_ARGUMENT"
    );
    let reply = send(&gateway, "DELETE", WHOLE, &[]).await;
    assert_eq!(error(reply, 405).await.0, "INVALID_ARGUMENT");
    let reply = get(&gateway, "/v1beta/nothing", &[]).await;
    assert_eq!(error(reply, 404).await.0, "NOT_FOUND");

    let keyed = setup(&provider).with_keys().start().await;
    assert_eq!(
        error(ask(&keyed, &[]).await, 401).await.0,
        "UNAUTHENTICATED"
    );
    let wrong = [("x-goog-api-key", "wrong")];
    for path in [WHOLE, COUNT] {
        let reply = post(&keyed, path, &contents(), &wrong).await;
        assert_eq!(error(reply, 401).await.0, "UNAUTHENTICATED");
    }
    let reply = get(&keyed, "/v1beta/models", &wrong).await;
    assert_eq!(error(reply, 401).await.0, "UNAUTHENTICATED");
    assert_eq!(provider.calls().len(), 0);
    let right = [("x-goog-api-key", KEY_ONE)];
    assert_eq!(ask(&keyed, &right).await.frames().await.len(), CHUNKS.len());
}

#[tokio::test]
async fn a_refusal_keeps_its_status_reason_and_time_in_each_dialect() {
    let limited = r#"{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}]}}"#;
    let headers = [("content-type", "application/json"), ("retry-after", "7")];
    let provider = FakeProvider::start(move |_| Script::status(429, &headers, limited)).await;
    let gateway = setup(&provider).start().await;
    for path in [STREAM, ARRAY, WHOLE, COUNT] {
        let reply = post(&gateway, path, &contents(), &[]).await;
        assert_eq!(reply.header("retry-after"), "7");
        let body = reply.json(429).await;
        assert_eq!(body["error"]["message"], "Quota exceeded.");
        assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(body["error"]["details"][0]["retryDelay"], "7s");
    }
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("retry-after"), "7");
    let body = reply.json(429).await;
    assert_eq!(body["error"]["message"], "Quota exceeded.");
    assert_eq!(body["error"]["code"], "RESOURCE_EXHAUSTED");
    let reply = post(&gateway, MESSAGES, &messages::message(false), &[]).await;
    assert_eq!(reply.json(429).await["error"]["type"], "rate_limit_error");

    let openai = FakeProvider::start(|_| {
        Script::openai_error(429, "tokens", "rate_limit_exceeded", "Slow down.")
            .header("retry-after", "3")
    })
    .await;
    let gateway = Setup::new(&openai).start().await;
    let reply = ask(&gateway, &[]).await;
    assert_eq!(reply.header("retry-after"), "3");
    let expected = ("RESOURCE_EXHAUSTED".to_owned(), "Slow down.".to_owned());
    assert_eq!(error(reply, 429).await, expected);
}

#[tokio::test]
async fn an_error_with_a_200_is_an_error() {
    let failed = json!({"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}});
    let provider = FakeProvider::start(move |_| Script::json(200, &failed)).await;
    let gateway = setup(&provider).start().await;
    for path in [STREAM, WHOLE] {
        let reply = post(&gateway, path, &contents(), &[]).await;
        let expected = ("UNAVAILABLE".to_owned(), "Overloaded.".to_owned());
        assert_eq!(error(reply, 503).await, expected);
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_event_of_the_dialect() {
    let failure = r#"{"error": {"code": 503,"message": "Overloaded.","status": "UNAVAILABLE"}}"#;
    let steps = [CHUNKS[0], CHUNKS[1], failure].map(event);
    let provider = FakeProvider::start(move |_| Script::sse_steps(steps.clone())).await;
    let gateway = setup(&provider).start().await;
    let reply = ask(&gateway, &[]).await;
    let id = reply.stream();
    assert_eq!(data(&reply.frames().await), [CHUNKS[0], CHUNKS[1], failure]);
    assert_eq!(page(&gateway, &id).await["reason"], "upstream_error");
    let array = post(&gateway, ARRAY, &contents(), &[])
        .await
        .json(200)
        .await;
    assert_eq!(array[2]["error"]["status"], "UNAVAILABLE");
    let frames = post(&gateway, CHAT, &chat("x"), &[]).await.frames().await;
    let last: Value = serde_json::from_str(frames.last().unwrap().data.as_ref().unwrap()).unwrap();
    assert_eq!(last["error"]["message"], "Overloaded.");
}

#[tokio::test]
async fn only_a_proper_end_after_the_reason_is_an_end() {
    let with = |chunks: &[&str], cut: Option<Cut>| {
        let steps: Vec<Step> = chunks.iter().map(|data| event(data)).collect();
        let cut = cut.map(Step::from);
        Script::sse_steps(steps.into_iter().chain(cut))
    };
    let last = [CHUNKS[3]];
    let cases: [(&[&str], Option<Cut>, bool); 5] = [
        (&CHUNKS[..3], None, false),
        (&CHUNKS[..3], Some(Cut::Close), false),
        (&CHUNKS, Some(Cut::Close), true),
        // Models of old give the reason with every chunk.
        (&last, Some(Cut::Close), false),
        (&last, None, true),
    ];
    for (chunks, cut, is_whole) in cases {
        let chunks: Vec<String> = chunks.iter().map(|data| (*data).to_owned()).collect();
        let count = chunks.len();
        let provider = FakeProvider::start(move |_| {
            let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
            with(&chunks, cut)
        })
        .await;
        let gateway = setup(&provider).start().await;
        let reply = ask(&gateway, &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        let page = page(&gateway, &id).await;
        if is_whole {
            assert_eq!(page["status"], "completed", "{cut:?} after {count}");
            assert_eq!(frames.len(), count);
            continue;
        }
        assert_eq!(page["reason"], "upstream_cut", "{cut:?} after {count}");
        assert_eq!(frames.len(), count + 1);
        let told = frames[count].data.as_ref().unwrap();
        let told: Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["error"]["status"], "INTERNAL");
        assert!(
            told["error"]["message"].as_str().unwrap().contains(&id),
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_said_in_the_other_api_is_refused_before_it_is_called() {
    let openai = FakeProvider::start(|_| Script::chat_stream(&ChatAnswer::new(["x"]))).await;
    let gateway = Setup::new(&openai).start().await;
    for (member, value, named) in [
        (
            "cachedContent",
            json!("cachedContents/x"),
            "`cachedContent`",
        ),
        (
            "tools",
            json!([{"googleSearch": {}}]),
            "`tools[0].googleSearch`",
        ),
        ("stream", json!(true), "`stream`"),
    ] {
        let mut body = contents();
        body[member] = value;
        let (status, told) = error(post(&gateway, STREAM, &body, &[]).await, 400).await;
        assert_eq!(status, "INVALID_ARGUMENT");
        assert!(told.contains(named), "{told}");
    }
    assert_eq!(openai.calls().len(), 0);
}
