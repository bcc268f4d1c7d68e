//! What a client sees when its provider refuses or fails: the provider's own status and words.

use std::time::Duration;

use everstream_testkit::provider::{Cut, FakeProvider, Gate, Nobody, ReceivedRequest, Script};
use serde_json::{Value, json};

use crate::harness::{Setup, StillTime};
use crate::talk::{CHAT, answer, chat, data, page, post, read, unary_chat};

/// A refusal with every member that OpenAI's has.
fn refusal(status: u16) -> Value {
    json!({"error": {
        "message": format!("The model said {status}."),
        "type": "invalid_request_error",
        "param": "messages[0].content",
        "code": format!("code_{status}"),
    }})
}

/// Refuses with the status that the request's message names.
fn refuse(request: &ReceivedRequest) -> Script {
    let status = request.json()["messages"][0]["content"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let script = Script::json(status, &refusal(status));
    if matches!(status, 429 | 503) {
        script.header("retry-after", "17")
    } else {
        script
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_status_words_and_retry_after_streamed_or_not() {
    let provider = FakeProvider::start(refuse).await;
    let gateway = Setup::new(&provider).start().await;
    for status in [400, 404, 409, 413, 422, 429, 500, 503, 529] {
        for body in [chat(&status.to_string()), unary_chat(&status.to_string())] {
            let reply = post(&gateway, CHAT, &body, &[]).await;
            let id = reply.stream();
            assert_eq!(reply.header("everstream-upstream"), "fake");
            assert_eq!(reply.header("content-type"), "application/json");
            let after = if matches!(status, 429 | 503) {
                "17"
            } else {
                ""
            };
            assert_eq!(reply.header("retry-after"), after, "{status}");
            // Where the provider says that it ran nothing, an SDK may try again by itself.
            let ran_nothing = matches!(status, 404 | 422 | 429 | 503);
            let should_retry = if ran_nothing { "" } else { "false" };
            assert_eq!(reply.header("x-should-retry"), should_retry, "{status}");
            assert_eq!(reply.json(status).await, refusal(status));
            let stream = page(&gateway, &id).await;
            assert_eq!(stream["status"], "failed");
            assert_eq!(stream["reason"], "upstream_error");
            assert_eq!(
                stream["usage"],
                json!({"input_tokens": 0, "output_tokens": 0})
            );
        }
    }
}

#[tokio::test]
async fn a_refused_key_is_said_to_be_the_gateways_and_is_not_shown() {
    let provider = FakeProvider::start(|request| {
        let key = request.header("authorization").unwrap().to_owned();
        let message = format!("Incorrect API key provided: {key}");
        Script::openai_error(401, "invalid_request_error", "invalid_api_key", &message)
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    for body in [chat("x"), unary_chat("x")] {
        let error = post(&gateway, CHAT, &body, &[]).await.json(401).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("`fake` refused this gateway's key"),
            "{message}"
        );
        assert!(
            !error.to_string().contains(crate::harness::UPSTREAM_KEY),
            "{error}"
        );
        assert_eq!(error["error"]["code"], "invalid_api_key");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502_that_may_be_retried() {
    let nobody = Nobody::new().unwrap();
    let gateway = Setup::default().upstream("fake", &nobody.base_url(), "");
    let gateway = gateway.start().await;
    for body in [chat("x"), unary_chat("x")] {
        let reply = post(&gateway, CHAT, &body, &[]).await;
        reply.stream();
        assert_eq!(reply.header("x-should-retry"), "");
        assert_eq!(reply.error(502).await, "upstream_unreachable");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_before_content_has_a_status_and_forbids_the_retry() {
    let provider = FakeProvider::start(|request| {
        if request.wants_stream() {
            Script::chat_stream(&answer()).cut_after_events(1, Cut::Reset)
        } else {
            Script::hang_up(Cut::Close)
        }
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    for body in [chat("x"), unary_chat("x")] {
        let reply = post(&gateway, CHAT, &body, &[]).await;
        reply.stream();
        assert_eq!(reply.header("x-should-retry"), "false");
        assert_eq!(reply.error(502).await, "upstream_cut");
    }
}

#[tokio::test]
async fn silence_before_the_first_event_is_a_504() {
    let provider = FakeProvider::start(|_| {
        Script::chat_stream(&answer()).gate_before_head(&Gate::new("never"))
    })
    .await;
    let gateway = Setup::default()
        .upstream("fake", &provider.base_url(), "first_event_timeout = \"1s\"")
        .start()
        .await;
    let time = StillTime::begin();
    for (calls, body) in [(1, chat("x")), (2, unary_chat("x"))] {
        let passes = async {
            provider.wait_for_calls(calls).await;
            time.pass(Duration::from_secs(2)).await;
        };
        let (reply, ()) = tokio::join!(post(&gateway, CHAT, &body, &[]), passes);
        assert_eq!(reply.header("x-should-retry"), "false");
        assert_eq!(reply.error(504).await, "upstream_timeout");
    }
}

#[tokio::test]
async fn a_failure_after_content_is_an_error_event_and_the_end_without_done() {
    let provider = FakeProvider::start(|request| {
        let script = Script::chat_stream(&answer());
        match request.json()["messages"][0]["content"].as_str().unwrap() {
            "cut" => script.cut_after_events(3, Cut::Reset),
            "closed" => script.cut_after_events(3, Cut::Close),
            "error" => script.error_event_after(3),
            _ => script.gate_before_event(4, &Gate::new("never")),
        }
    })
    .await;
    let gateway = Setup::default()
        .upstream("fake", &provider.base_url(), "event_timeout = \"20s\"")
        .start()
        .await;
    let time = StillTime::begin();
    for (how, code) in [
        ("cut", "upstream_cut"),
        ("closed", "upstream_cut"),
        ("error", "internal_error"),
        ("silence", "upstream_timeout"),
    ] {
        let mut reply = post(&gateway, CHAT, &chat(how), &[]).await;
        let id = reply.stream();
        let mut frames = Vec::new();
        for _ in 0..3 {
            frames.push(reply.event().await);
        }
        if how == "silence" {
            time.pass(Duration::from_secs(21)).await;
        }
        frames.extend(reply.frames().await);
        let got = data(&frames);
        assert_eq!(got[..3], answer().expected_data()[..3], "{how}");
        assert_eq!(got.len(), 4, "{how}: {got:?}");
        let error: Value = serde_json::from_str(&got[3]).unwrap();
        assert_eq!(error["error"]["code"], code, "{how}");
        // The gateway's own words say where the rest is; the provider's are left alone.
        let names_the_stream = got[3].contains(&format!("/v1/streams/{id}"));
        assert_eq!(names_the_stream, how != "error", "{}", got[3]);
        assert_eq!(frames[3].id, Some(format!("{id}.4")));
        let again = read(&gateway, &id, None).await.frames().await;
        assert_eq!(again, frames);
        let stream = page(&gateway, &id).await;
        assert_eq!(stream["status"], "failed");
        let expected = json!({"input_tokens": 16, "output_tokens": 2, "estimated": true});
        assert_eq!(
            stream["usage"]["estimated"], expected["estimated"],
            "{}",
            stream["usage"]
        );
        assert_eq!(stream["usage"]["output_tokens"], expected["output_tokens"]);
    }
}

#[tokio::test]
async fn a_missing_done_after_the_finish_reason_is_made_good() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer()).without_done()).await;
    let gateway = Setup::new(&provider).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
    assert_eq!(page(&gateway, &id).await["status"], "completed");
}
