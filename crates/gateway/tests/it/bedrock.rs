//! Bedrock as an upstream: frames, signatures, and what its models say, in the dialects of clients.

use bytes::Bytes;
use everstream_core::secret::Secret;
use everstream_core::sign::sigv4::Credentials;
use everstream_testkit::provider::aws::{frame, frames};
use everstream_testkit::provider::{Cut, FakeProvider, ReceivedRequest, Script, Step};
use serde_json::{Value, json};

use crate::golden::{CLIENTS, Golden, RESPONSES, ask, request};
use crate::harness::{Gateway, Setup, UPSTREAM_KEY};
use crate::messages::MESSAGES;
use crate::talk::{CHAT, data, page, post};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "lent-token-canary==";
const PROFILE: &str =
    "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x";

const GOLDEN: Golden = Golden {
    folder: "bedrock",
    ending: "frames",
    fields: "dialect = \"bedrock\"",
    asked: |request| {
        let (model, what) = model_of(request);
        (model, what == "converse-stream")
    },
    stream: |text| Script::event_stream(frames(text)),
};

/// The model of a request's path, as it is written there, and what is done with it.
fn model_of(request: &ReceivedRequest) -> (String, String) {
    let rest = request.path.strip_prefix("/model/").unwrap();
    let (model, what) = rest.split_once('/').unwrap();
    (model.to_owned(), what.to_owned())
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new(SECRET),
        session_token: Some(Secret::new(TOKEN)),
    }
}

/// A gateway that signs its requests.
async fn signing(provider: &FakeProvider) -> Gateway {
    let text = format!(
        "[[upstreams]]\nname = \"aws\"\nbase_url = \"http://{}\"\ndialect = \"bedrock\"\n\
         models = [\"m\", \"{PROFILE}\"]\naws_region = \"eu-west-1\"\n\
         aws_access_key_id = \"AKIDEXAMPLE\"\naws_secret_access_key = \"{SECRET}\"\n\
         aws_session_token = \"{TOKEN}\"\n",
        provider.addr()
    );
    Setup::default().config(&text).start().await
}

fn event(name: &str, payload: &Value) -> Bytes {
    frame("event", name, &payload.to_string())
}

fn text(words: &[&str]) -> Vec<Bytes> {
    let delta = |text: &&str| {
        let payload = json!({"contentBlockIndex": 0, "delta": {"text": text}});
        event("contentBlockDelta", &payload)
    };
    let start = event("messageStart", &json!({"role": "assistant"}));
    std::iter::once(start)
        .chain(words.iter().map(delta))
        .collect()
}

fn ending() -> [Bytes; 3] {
    [
        event("contentBlockStop", &json!({"contentBlockIndex": 0})),
        event("messageStop", &json!({"stopReason": "end_turn"})),
        event(
            "metadata",
            &json!({"usage": {"inputTokens": 3, "outputTokens": 2}}),
        ),
    ]
}

fn whole(content: &Value, reason: &str) -> Value {
    json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason,
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}})
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
async fn every_request_is_signed_as_it_is_sent() {
    let provider = FakeProvider::start(|request| {
        if request.path.ends_with("-stream") {
            let frames = text(&["Wind 風", "."]);
            Script::event_stream(frames.into_iter().chain(ending()))
        } else {
            Script::json(200, &whole(&json!([{"text": "Wind."}]), "end_turn"))
        }
    })
    .await;
    let gateway = signing(&provider).await;
    for (_, path) in CLIENTS {
        for (stream, what) in [(true, "converse-stream"), (false, "converse")] {
            let reply = ask(&gateway, path, PROFILE, stream).await;
            assert_eq!(reply.head.status, 200);
            reply.body().await;
            let call = provider.calls().pop().unwrap();
            let encoded = PROFILE.replace(':', "%3A").replace('/', "%2F");
            assert_eq!(call.path, format!("/model/{encoded}/{what}"));
            assert!(call.is_signed(&credentials(), "eu-west-1"), "{call:?}");
            let accepted = if stream {
                "application/vnd.amazon.eventstream"
            } else {
                "application/json"
            };
            assert_eq!(call.header("accept"), Some(accepted));
            assert_eq!(call.json().get("stream"), None);
        }
    }
    let call = provider.calls().pop().unwrap();
    assert!(!call.is_signed(&credentials(), "eu-west-2"));
    let other = Credentials {
        secret_access_key: Secret::new("another"),
        ..credentials()
    };
    assert!(!call.is_signed(&other, "eu-west-1"));
    let mut altered = call;
    altered.body = Bytes::from_static(b"{}");
    assert!(!altered.is_signed(&credentials(), "eu-west-1"));
}

#[tokio::test]
async fn a_key_of_bedrocks_own_is_a_bearers() {
    let provider =
        FakeProvider::start(|_| Script::json(200, &whole(&json!([{"text": "Wind."}]), "end_turn")))
            .await;
    let fields = "dialect = \"bedrock\"\nmodels = [\"m\"]";
    let address = format!("http://{}", provider.addr());
    let setup = Setup::default().upstream("aws", &address, fields);
    let gateway = setup.start().await;
    ask(&gateway, CHAT, "m", false).await.json(200).await;
    let call = provider.calls().pop().unwrap();
    let bearer = format!("Bearer {UPSTREAM_KEY}");
    assert_eq!(call.header("authorization"), Some(&*bearer));
    assert_eq!(call.header("x-amz-date"), None);
}

/// A first answer that thinks and calls a tool, in each client's words, and what it sends back.
#[tokio::test]
async fn what_a_model_thought_and_called_goes_back_byte_for_byte() {
    const SIGNATURE: &str = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgx/+A==";
    const REDACTED: &str = "RW1JS0VnWUpZV0p6ZEhKaFkzUnA+/8=";
    let thought = json!([
        {"reasoningContent": {"reasoningText": {"text": "Hm, ünder.", "signature": SIGNATURE}}},
        {"reasoningContent": {"redactedContent": REDACTED}},
        {"text": "Let me look."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "clock", "input": {"zone": "CET"}}},
    ]);
    let first = thought.clone();
    let provider = FakeProvider::start(move |request| {
        if request.json()["messages"].as_array().unwrap().len() == 1 {
            Script::json(200, &whole(&first, "tool_use"))
        } else {
            Script::json(200, &whole(&json!([{"text": "Noon."}]), "end_turn"))
        }
    })
    .await;
    let gateway = signing(&provider).await;
    for (_, path) in CLIENTS {
        let mut body = request(path, "m", false);
        let function = json!({"name": "clock", "parameters": {"type": "object"}});
        body["tools"] = match path {
            MESSAGES => json!([{"name": "clock", "input_schema": {"type": "object"}}]),
            RESPONSES => json!([{"type": "function", "name": "clock", "strict": false,
                "parameters": {"type": "object"}}]),
            _ => json!([{"type": "function", "function": function}]),
        };
        let answer = post(&gateway, path, &body, &[]).await.json(200).await;
        let result = "12:00";
        let (list, more) = match path {
            MESSAGES => {
                let result =
                    json!({"type": "tool_result", "tool_use_id": "tooluse_1", "content": result});
                let said = json!({"role": "assistant", "content": answer["content"]});
                (
                    "messages",
                    vec![said, json!({"role": "user", "content": [result]})],
                )
            }
            RESPONSES => {
                let mut items = answer["output"].as_array().unwrap().clone();
                items.push(
                    json!({"type": "function_call_output", "call_id": "tooluse_1",
                    "output": result}),
                );
                ("input", items)
            }
            _ => {
                let said = answer["choices"][0]["message"].clone();
                let result =
                    json!({"role": "tool", "tool_call_id": "tooluse_1", "content": result});
                ("messages", vec![said, result])
            }
        };
        body[list].as_array_mut().unwrap().extend(more);
        post(&gateway, path, &body, &[]).await.json(200).await;
        let sent = provider.calls().pop().unwrap().json();
        assert_eq!(sent["messages"][1]["content"], thought, "{path}");
        let result = json!({"toolUseId": "tooluse_1", "content": [{"text": result}]});
        let back = json!([{ "toolResult": result }]);
        assert_eq!(sent["messages"][2]["content"], back, "{path}");
        assert_eq!(sent["toolConfig"]["tools"][0]["toolSpec"]["name"], "clock");
    }
}

#[tokio::test]
async fn throttling_is_a_status_before_the_first_word_and_an_event_behind_it() {
    const WORDS: &str = "Too many tokens, please wait before trying again.";
    let provider = FakeProvider::start(|request| {
        let said: &[&str] = if request.json()["messages"][0]["content"][0]["text"] == "late" {
            &["Wi", "nd"]
        } else {
            &[]
        };
        let payload = json!({ "message": WORDS }).to_string();
        let last = frame("exception", "throttlingException", &payload);
        let frames = text(said).split_off(usize::from(said.is_empty()));
        Script::event_stream(frames.into_iter().chain([last]))
    })
    .await;
    let gateway = signing(&provider).await;
    let early = ask(&gateway, CHAT, "m", true).await;
    let id = early.stream();
    let error = early.json(429).await;
    assert_eq!(error["error"]["message"], WORDS);
    assert_eq!(error["error"]["type"], "rate_limit_error");
    assert_eq!(error["error"]["code"], "throttlingException");
    assert_eq!(page(&gateway, &id).await["reason"], "upstream_error");

    let mut body = request(MESSAGES, "m", true);
    body["messages"][0]["content"] = json!("late");
    let reply = post(&gateway, MESSAGES, &body, &[]).await;
    let id = reply.stream();
    let frames = reply.frames().await;
    let last = frames.last().unwrap();
    assert_eq!(last.event.as_deref(), Some("error"));
    let error: Value = serde_json::from_str(last.data.as_ref().unwrap()).unwrap();
    let expected = json!({"type": "rate_limit_error", "message": WORDS});
    assert_eq!(error["error"], expected);
    let ended = page(&gateway, &id).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("failed"), &json!("upstream_error"))
    );
}

#[tokio::test]
async fn a_refusal_has_the_clients_words_and_no_secret() {
    let provider = FakeProvider::start(|request| {
        let status = request.json()["messages"][0]["content"][0]["text"].clone();
        let status: u16 = status.as_str().unwrap().parse().unwrap();
        let body = match status {
            403 => json!({ "Message": format!("The token {TOKEN} is expired") }),
            _ => json!({ "message": "It says no." }),
        };
        Script::json(status, &body).header("retry-after", "7")
    })
    .await;
    let gateway = signing(&provider).await;
    for (status, chat, messages) in [
        (400, "invalid_request_error", "invalid_request_error"),
        (403, "invalid_request_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (424, "server_error", "api_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (503, "server_error", "overloaded_error"),
    ] {
        for (path, kind) in [(CHAT, chat), (MESSAGES, messages)] {
            let mut body = request(path, "m", true);
            body["messages"][0]["content"] = json!(status.to_string());
            let reply = post(&gateway, path, &body, &[]).await;
            assert_eq!(reply.header("retry-after"), "7");
            let error = reply.json(status).await;
            assert_eq!(error["error"]["type"], kind, "{status}: {error}");
            let message = error["error"]["message"].as_str().unwrap();
            let said = if status == 403 {
                "is expired"
            } else {
                "It says no."
            };
            assert!(
                message.contains(said) && !message.contains("lent-token"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_cut_or_garbled_is_no_answer() {
    for (garbled, reason) in [(false, "upstream_cut"), (true, "upstream_invalid_response")] {
        let provider = FakeProvider::start(move |_| {
            let mut frames = text(&["Wi", "nd"]);
            let mut last = frames.pop().unwrap().to_vec();
            let at = last.len() - 9;
            if garbled {
                last[at] ^= 1;
            } else {
                last.truncate(at);
            }
            let steps = frames.into_iter().chain([Bytes::from(last)]);
            let end = (!garbled).then_some(Step::from(Cut::Close));
            let steps = steps.map(Step::Bytes).chain(end);
            let script = Script::sse_steps(steps.collect::<Vec<_>>());
            script.header("content-type", "application/vnd.amazon.eventstream")
        })
        .await;
        let gateway = signing(&provider).await;
        let reply = ask(&gateway, CHAT, "m", true).await;
        let id = reply.stream();
        let heard = data(&reply.frames().await).concat();
        assert!(
            heard.contains("\"Wi\"") && !heard.contains("[DONE]"),
            "{heard}"
        );
        assert!(heard.contains(reason), "{heard}");
        assert_eq!(page(&gateway, &id).await["reason"], reason);
    }
}

#[tokio::test]
async fn a_stream_that_is_no_event_stream_is_said_so() {
    let provider = FakeProvider::start(|_| Script::sse(["{}"])).await;
    let gateway = signing(&provider).await;
    let error = ask(&gateway, CHAT, "m", true).await.error(502).await;
    assert_eq!(error, "upstream_invalid_response");
}
