//! What a client gets, and what is logged, when an upstream misbehaves. In every case: what came
//! before the fault is kept, the end is an honest one, the upstream is asked once, and the next
//! request is served as if nothing had been.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use everstream_testkit::client::{BodyEnd, ResponseHead};
use everstream_testkit::provider::{
    ChatAnswer, Cut, FakeProvider, Gate, LineEnd, Nobody, Script, Step,
};
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, StillTime, data, until, within};

const CHAT: &str = "/v1/chat/completions";

fn answer() -> ChatAnswer {
    ChatAnswer::new(["Wind", " naïve", " 東京", " 👩‍🚀", "."]).with_usage(7)
}

/// What became of one request.
struct Outcome {
    head: ResponseHead,
    /// The data of each event that the client got, or the whole body.
    got: Vec<String>,
    /// The stream's page afterwards.
    page: Value,
}

impl Outcome {
    /// Status and reason in the log.
    fn logged(&self) -> (&str, Option<&str>) {
        (
            self.page["status"].as_str().unwrap(),
            self.page["reason"].as_str(),
        )
    }

    /// The last thing that the client got, which is an error object.
    fn error(&self) -> Value {
        let last: Value = serde_json::from_str(self.got.last().unwrap()).unwrap();
        assert!(last["error"]["message"].is_string(), "{last}");
        last["error"].clone()
    }

    fn message(&self) -> String {
        self.error()["message"].as_str().unwrap().to_owned()
    }

    fn usage(&self) -> &Value {
        &self.page["usage"]
    }

    /// Refused before any content: one status, one error object, nothing else in the log.
    #[track_caller]
    fn refused(self, status: u16, reason: &str) -> Self {
        assert_eq!(self.head.status, status, "{:?}", self.got);
        assert_eq!(self.logged(), ("failed", Some(reason)));
        assert_eq!(self.got.len(), 1);
        self
    }

    /// Cut after the first `before` events of [`answer`], which are all there.
    #[track_caller]
    fn cut_after(self, before: usize, reason: &str) -> Self {
        assert_eq!(self.head.status, 200);
        assert_eq!(self.logged(), ("failed", Some(reason)));
        let (last, kept) = self.got.split_last().unwrap();
        assert_eq!(kept, &answer().expected_data()[..before]);
        assert_ne!(last, "[DONE]");
        self.error();
        self
    }

    #[track_caller]
    fn completed(self, data: &[String]) -> Self {
        assert_eq!(self.head.status, 200);
        assert_eq!(self.logged(), ("completed", None));
        assert_eq!(self.got, data);
        self
    }
}

/// A provider that plays `script` once, and from then on the answer.
async fn once(script: Script) -> FakeProvider {
    let script = std::sync::Mutex::new(Some(script));
    let next = move |_: &_| {
        let next = script.lock().unwrap().take();
        next.unwrap_or_else(|| Script::chat_stream(&answer()))
    };
    FakeProvider::start(next).await
}

/// Sends one request that `script` answers, and looks at everything.
async fn ask(script: Script, body: &Value) -> Outcome {
    let provider = once(script).await;
    let gateway = Setup::new(&provider).start().await;
    let outcome = ask_gateway(&gateway, body).await;
    assert_eq!(provider.calls().len(), 1, "it was asked again");
    still_serves(&gateway).await;
    outcome
}

/// The same with an upstream that may be silent for 3 s before its first event and for 2 s after it,
/// and with time that passes once so many events are logged.
async fn ask_and_wait(script: Script, events: u64) -> Outcome {
    let provider = once(script).await;
    let silence = "first_event_timeout = \"3s\"\nevent_timeout = \"2s\"";
    let gateway = Setup::new(&provider)
        .upstream_fields(silence)
        .config("[streams]\nhead_hold = \"10s\"");
    let gateway = gateway.start().await;
    let time = StillTime::begin();
    let logged = || {
        let mut logged = None;
        let project = "default".parse().unwrap();
        gateway
            .app
            .log
            .scan(&project, &mut |info| logged = Some(info.last_seq.get()));
        logged == Some(events)
    };
    let request = streamed();
    let passes = async {
        provider.wait_for_calls(1).await;
        until(logged).await;
        time.pass(Duration::from_secs(4)).await;
    };
    let (outcome, ()) = tokio::join!(ask_gateway(&gateway, &request), passes);
    assert_eq!(provider.calls().len(), 1, "it was asked again");
    still_serves(&gateway).await;
    outcome
}

async fn ask_gateway(gateway: &Gateway, body: &Value) -> Outcome {
    within(async {
        let mut client = gateway.client().await;
        let head = client.post_json(CHAT, body, &[]).await.unwrap();
        let streams = head.header("content-type") == Some("text/event-stream");
        let got = if streams {
            let (frames, end) = client.collect_sse().await.unwrap();
            assert_eq!(end, BodyEnd::Clean);
            data(&frames)
        } else {
            let (body, end) = client.read_body().await.unwrap();
            assert_eq!(end, BodyEnd::Clean);
            vec![String::from_utf8(body.to_vec()).unwrap()]
        };
        let id = head.header("everstream-stream-id").unwrap();
        let path = format!("/v1/streams/{id}");
        client.get(&path, &[]).await.unwrap();
        let page = client.read_json().await.unwrap();
        let events = page["events"].as_array().unwrap().iter();
        let logged: Vec<_> = events
            .map(|event| event["data"].as_str().unwrap())
            .collect();
        assert_eq!(logged, got, "the log and the client differ");
        Outcome { head, got, page }
    })
    .await
}

async fn still_serves(gateway: &Gateway) {
    let next = ask_gateway(gateway, &streamed()).await;
    next.completed(&answer().expected_data());
}

fn streamed() -> Value {
    json!({"model": "m", "stream": true, "messages": [], "stream_options": {"include_usage": true}})
}

fn unary() -> Value {
    json!({"model": "m", "messages": []})
}

fn event(data: &str) -> Step {
    Step::Event(format!("data: {data}\n\n").into())
}

fn body(bytes: impl Into<Bytes>) -> Step {
    Step::Bytes(bytes.into())
}

/// The first events of the answer, role included.
fn begun(events: usize) -> Vec<Step> {
    let data = answer().expected_data();
    data[..events].iter().map(|data| event(data)).collect()
}

fn begun_then(events: usize, then: impl IntoIterator<Item = Step>) -> Script {
    let steps: Vec<_> = begun(events).into_iter().chain(then).collect();
    Script::sse_steps(steps)
}

#[tokio::test]
async fn a_page_of_html_with_status_200() {
    for request in [streamed(), unary()] {
        let outcome = ask(Script::html_200(), &request).await;
        let outcome = outcome.refused(502, "upstream_invalid_response");
        let message = outcome.message();
        assert!(
            message.contains("`fake` answered 200 with `text/html`"),
            "{message}"
        );
        assert!(message.contains("base_url"), "{message}");
        assert_eq!(outcome.usage()["output_tokens"], 0);
        // The provider may have been charged, so an SDK must not try by itself.
        assert_eq!(outcome.head.header("x-should-retry"), Some("false"));
    }
}

#[tokio::test]
async fn half_a_json_body() {
    for request in [streamed(), unary()] {
        let outcome = ask(Script::half_json(), &request).await;
        outcome.refused(502, "upstream_invalid_response");
    }
}

#[tokio::test]
async fn half_a_json_in_an_event() {
    let half = r#"{"choices":[{"delta":{"con"#;
    let outcome = ask(begun_then(3, [event(half)]), &streamed()).await;
    let outcome = outcome.cut_after(3, "upstream_invalid_response");
    let message = outcome.message();
    assert!(
        message.contains("an event that is not of its API"),
        "{message}"
    );
    assert_eq!(outcome.usage()["output_tokens"], 2);
    assert_eq!(outcome.usage()["estimated"], true);
    let outcome = ask(Script::sse([half]), &streamed()).await;
    outcome.refused(502, "upstream_invalid_response");
}

#[tokio::test]
async fn an_endless_line_is_left_at_the_limit() {
    let provider = FakeProvider::start(|_| Script::endless_line()).await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nevent_bytes = \"256KiB\"")
        .start()
        .await;
    let outcome = ask_gateway(&gateway, &streamed()).await;
    let outcome = outcome.refused(502, "event_too_large");
    assert!(
        outcome.message().contains("262144"),
        "{}",
        outcome.message()
    );
    within(provider.wait_for_hangups(1)).await;
    // The limit, and what the sockets' own buffers hold.
    let written = provider.written().bytes;
    assert!(written < 16 << 20, "{written} bytes were taken");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn binary_instead_of_events() {
    let outcome = ask(Script::binary(), &streamed()).await;
    let outcome = outcome.refused(502, "upstream_cut");
    assert_eq!(outcome.usage()["output_tokens"], 0);
    let script = Script::status(
        200,
        &[("content-type", "application/json")],
        vec![0xff; 999],
    );
    let outcome = ask(script, &unary()).await;
    outcome.refused(502, "upstream_invalid_response");
}

#[tokio::test]
async fn bytes_that_are_no_utf8_within_an_event() {
    let mut wrong = br#"data: {"choices":[{"delta":{"content":"a"#.to_vec();
    wrong.extend_from_slice(b"\xff\xfe\"}}]}\n\n");
    let rest: Vec<_> = answer().expected_data()[6..]
        .iter()
        .map(|data| event(data))
        .collect();
    let steps = [body(wrong)].into_iter().chain(rest);
    let outcome = ask(begun_then(2, steps), &streamed()).await;
    assert_eq!(outcome.logged(), ("completed", None));
    assert!(outcome.got[2].contains("a\u{fffd}"), "{}", outcome.got[2]);
}

#[tokio::test]
async fn a_content_length_that_is_too_short() {
    let whole = answer().to_json().to_string();
    let script =
        Script::json(200, &answer().to_json()).lying_content_length(whole.len() as u64 / 2);
    let outcome = ask(script, &unary()).await;
    outcome.refused(502, "upstream_invalid_response");

    let first: usize = answer().expected_data()[..3]
        .iter()
        .map(|data| data.len() + "data: \n\n".len())
        .sum();
    let script = Script::chat_stream(&answer()).lying_content_length(first as u64);
    let outcome = ask(script, &streamed()).await;
    outcome.cut_after(3, "upstream_cut");
}

#[tokio::test]
async fn a_content_length_that_is_too_long() {
    let script = Script::json(200, &answer().to_json()).lying_content_length(1 << 20);
    ask(script, &unary()).await.refused(502, "upstream_cut");

    let script = Script::sse_steps(begun(4)).lying_content_length(1 << 20);
    ask(script, &streamed()).await.cut_after(4, "upstream_cut");

    // With its own end mark the answer is whole, whatever was announced.
    let script = Script::chat_stream(&answer()).lying_content_length(1 << 20);
    let outcome = ask(script, &streamed()).await;
    outcome.completed(&answer().expected_data());
}

#[tokio::test]
async fn an_answer_without_done_is_whole_once_it_finished() {
    for cut in [None, Some(Cut::Close), Some(Cut::Reset)] {
        let script = Script::chat_stream(&answer()).without_done();
        let script = match cut {
            None => script,
            Some(cut) => script.cut_after_events(8, cut),
        };
        let outcome = ask(script, &streamed()).await;
        // Clients wait for the mark, so it is added.
        let outcome = outcome.completed(&answer().expected_data());
        assert_eq!(
            *outcome.usage(),
            json!({"input_tokens": 7, "output_tokens": 5})
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_cut() {
    for cut in [Cut::Close, Cut::Reset] {
        let script = Script::chat_stream(&answer()).cut_after_events(4, cut);
        let outcome = ask(script, &streamed()).await;
        let outcome = outcome.cut_after(4, "upstream_cut");
        let error = outcome.error();
        assert_eq!(error["code"], "upstream_cut");
        let id = outcome.head.header("everstream-stream-id").unwrap();
        let message = outcome.message();
        assert!(
            message.contains(&format!("GET /v1/streams/{id}")),
            "{message}"
        );
        let usage = json!({"input_tokens": outcome.usage()["input_tokens"], "output_tokens": 3, "estimated": true});
        assert_eq!(*outcome.usage(), usage);
    }
    // Ended as HTTP should, and still without an end of its own.
    let outcome = ask(Script::sse_steps(begun(4)), &streamed()).await;
    let outcome = outcome.cut_after(4, "upstream_cut");
    assert!(
        outcome.message().contains("without a finish_reason"),
        "{}",
        outcome.message()
    );
}

#[tokio::test]
async fn a_cut_before_content_is_a_status() {
    for cut in [Cut::Close, Cut::Reset] {
        let script = Script::chat_stream(&answer()).cut_after_events(1, cut);
        ask(script, &streamed()).await.refused(502, "upstream_cut");
        ask(Script::hang_up(cut), &streamed())
            .await
            .refused(502, "upstream_cut");
        ask(Script::hang_up(cut), &unary())
            .await
            .refused(502, "upstream_cut");
    }
    let garbage = Script::raw("220 smtp.example.org ESMTP\r\n");
    let outcome = ask(garbage, &streamed()).await;
    outcome.refused(502, "upstream_invalid_response");
}

#[tokio::test]
async fn done_without_a_finish_reason_is_no_end() {
    let outcome = ask(begun_then(4, [event("[DONE]")]), &streamed()).await;
    let outcome = outcome.cut_after(4, "upstream_cut");
    assert!(
        outcome.message().contains("[DONE] without"),
        "{}",
        outcome.message()
    );
    let outcome = ask(begun_then(1, [event("[DONE]")]), &streamed()).await;
    outcome.refused(502, "upstream_cut");
}

#[tokio::test]
async fn an_error_object_in_mid_stream_is_passed_on_as_it_is() {
    let script = Script::chat_stream(&answer()).error_event_after(3);
    let outcome = ask(script, &streamed()).await;
    let outcome = outcome.cut_after(3, "upstream_error");
    assert_eq!(
        outcome.error(),
        json!({"message": "The model broke down.", "type": "server_error", "param": null, "code": "internal_error"})
    );
}

#[tokio::test]
async fn an_event_that_only_its_name_calls_an_error() {
    for data in [
        r#"{"message":"Overloaded"}"#,
        r#"{"error":{"message":"Overloaded"}}"#,
    ] {
        let named = Step::Event(format!("event: error\ndata: {data}\n\n").into());
        let outcome = ask(begun_then(3, [named]), &streamed()).await;
        let outcome = outcome.cut_after(3, "upstream_error");
        assert_eq!(outcome.message(), "Overloaded");
    }
    let plain = Step::Event("event: error\ndata: out of memory\n\n".into());
    let outcome = ask(begun_then(3, [plain]), &streamed()).await;
    let outcome = outcome.cut_after(3, "upstream_error");
    assert_eq!(outcome.message(), "out of memory");
}

#[tokio::test]
async fn an_error_behind_a_status_200_gets_the_status_it_names() {
    let error =
        json!({"error": {"message": "Slow down.", "type": "rate_limit_error", "code": 429}});
    let scripts = [
        Script::json(200, &error),
        Script::sse([error.to_string()]),
        begun_then(1, [event(&error.to_string())]),
    ];
    for script in scripts {
        let outcome = ask(script, &streamed()).await;
        let outcome = outcome.refused(429, "upstream_error");
        assert_eq!(outcome.message(), "Slow down.");
        assert_eq!(outcome.error()["type"], "rate_limit_error");
    }
    let outcome = ask(Script::json(200, &error), &unary()).await;
    outcome.refused(429, "upstream_error");
}

#[tokio::test]
async fn any_line_end_comment_and_mark_gives_the_same_events() {
    let whole = || Script::chat_stream(&answer());
    let scripts = [
        whole().with_line_end(LineEnd::CrLf),
        whole().with_line_end(LineEnd::Cr),
        whole().with_bom(),
        whole().with_comments(),
        whole().split_every(1),
        whole().events_per_write(usize::MAX),
        whole().until_close(),
        whole()
            .with_line_end(LineEnd::CrLf)
            .with_bom()
            .with_comments()
            .split_every(1),
        whole().header("content-type", "text/event-stream"),
        whole().header("content-type", "TEXT/EVENT-STREAM; charset=latin1"),
        whole().header("content-type", ""),
    ];
    for (which, script) in scripts.into_iter().enumerate() {
        let outcome = ask(script, &streamed()).await;
        let outcome = outcome.completed(&answer().expected_data());
        assert_eq!(outcome.usage()["output_tokens"], 5, "script {which}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let nobody = Nobody::new().unwrap();
    let gateway = Setup::default().upstream("fake", &nobody.base_url(), "");
    let gateway = gateway.start().await;
    for request in [streamed(), unary()] {
        let outcome = ask_gateway(&gateway, &request).await;
        let outcome = outcome.refused(502, "upstream_unreachable");
        let message = outcome.message();
        assert!(message.contains("refused"), "{message}");
        // Nothing was sent, so nothing was used, and trying again is safe.
        assert_eq!(
            *outcome.usage(),
            json!({"input_tokens": 0, "output_tokens": 0})
        );
        assert_eq!(outcome.head.header("x-should-retry"), None);
    }
}

#[tokio::test]
async fn an_answer_that_was_compressed_unasked() {
    for request in [streamed(), unary()] {
        let outcome = ask(Script::gzip_garbage(), &request).await;
        let outcome = outcome.refused(502, "upstream_invalid_response");
        assert!(outcome.message().contains("gzip"), "{}", outcome.message());
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent() {
    let gate = Gate::new("never opened");
    let script = Script::chat_stream(&answer()).gate_before_event(4, &gate);
    let outcome = ask_and_wait(script, 3).await;
    let outcome = outcome.cut_after(3, "upstream_timeout");
    assert!(
        outcome.message().contains("silent for 2s"),
        "{}",
        outcome.message()
    );

    let script = Script::chat_stream(&answer()).gate_before_head(&gate);
    let outcome = ask_and_wait(script, 0).await;
    let outcome = outcome.refused(504, "upstream_timeout");
    assert!(
        outcome.message().contains("silent for 3s"),
        "{}",
        outcome.message()
    );
}

#[tokio::test]
async fn heartbeats_of_an_upstream_are_no_progress() {
    let comments = std::iter::repeat_with(|| {
        let comment = body(": PROCESSING\n\ndata: : keepalive\n\n");
        [
            comment,
            Step::Flush,
            Step::Pause(Duration::from_millis(300)),
        ]
    });
    let steps = begun(3).into_iter().chain(comments.flatten());
    let outcome = ask_and_wait(Script::sse_steps(steps), 3).await;
    outcome.cut_after(3, "upstream_timeout");
}

#[tokio::test]
async fn usage_is_found_wherever_it_stands() {
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let figures = r#""usage":{"prompt_tokens":11,"completion_tokens":5}"#;
    let variants = [
        // On the chunk that finishes.
        vec![format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],{figures}}}"#)],
        // After it, with an empty list of choices, without one, and with an empty delta.
        vec![finish.to_owned(), format!(r#"{{"choices":[],{figures}}}"#)],
        vec![finish.to_owned(), format!("{{{figures}}}")],
        vec![
            finish.to_owned(),
            format!(r#"{{"choices":[{{"index":0,"delta":{{}}}}],{figures}}}"#),
        ],
        // Growing with every chunk: the last one counts.
        vec![
            r#"{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":11,"completion_tokens":1}}"#.to_owned(),
            finish.to_owned(),
            format!(r#"{{"choices":[],{figures}}}"#),
            format!(r#"{{"choices":[],{figures}}}"#),
        ],
    ];
    for variant in variants {
        let end: Vec<_> = variant
            .iter()
            .map(String::as_str)
            .chain(["[DONE]"])
            .map(event)
            .collect();
        let outcome = ask(begun_then(3, end), &streamed()).await;
        let begun = answer().expected_data()[..3].to_vec();
        let all: Vec<_> = begun
            .into_iter()
            .chain(variant)
            .chain(["[DONE]".to_owned()])
            .collect();
        let outcome = outcome.completed(&all);
        assert_eq!(
            *outcome.usage(),
            json!({"input_tokens": 11, "output_tokens": 5})
        );
    }
    // Without any figures they are estimated, and say so.
    let outcome = ask(begun_then(3, [event(finish), event("[DONE]")]), &streamed()).await;
    assert_eq!(outcome.usage()["estimated"], true);
    // An explicit zero is a figure.
    let zero = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let steps = [event(finish), event(zero), event("[DONE]")];
    let outcome = ask(begun_then(3, steps), &streamed()).await;
    assert_eq!(
        *outcome.usage(),
        json!({"input_tokens": 0, "output_tokens": 0})
    );
}

#[tokio::test]
async fn a_faulty_neighbour_disturbs_nobody() {
    let cut_next = AtomicBool::new(true);
    let gate = Gate::new("the neighbour is done");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| {
        if cut_next.swap(false, Ordering::Relaxed) {
            Script::chat_stream(&answer()).gate_before_event(3, &held)
        } else {
            Script::chat_stream(&answer()).cut_after_events(3, Cut::Reset)
        }
    })
    .await;
    let gateway = Setup::new(&provider).start().await;
    let (whole, cut) = (streamed(), streamed());
    let first = ask_gateway(&gateway, &whole);
    let second = async {
        provider.wait_for_calls(1).await;
        let outcome = ask_gateway(&gateway, &cut).await;
        gate.open();
        outcome
    };
    let (first, second) = tokio::join!(first, second);
    first.completed(&answer().expected_data());
    second.cut_after(3, "upstream_cut");
}
