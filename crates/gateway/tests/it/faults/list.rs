//! The faults: what a provider does wrong, and when.

use std::time::Duration;

use bytes::Bytes;
use everstream_testkit::provider::{Cut, Script, Step};
use serde_json::json;

use super::cell::Form;
use super::script::{Fault, First, Phase, fault};
use crate::talk::{answer, event};

/// All of them, by phase.
pub(super) fn faults() -> Vec<Fault> {
    [connecting(), status(), head(), preamble(), content(), end()].concat()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const FIRST_EVENT: Duration = seconds(600);
const EVENT: Duration = seconds(120);
const HEAD: (&str, Duration) = ("head_timeout = \"30s\"", seconds(30));
const TOTAL: (&str, Duration) = ("total_timeout = \"5m\"", seconds(300));
const CLIENT: &[(&str, &str)] = &[("everstream-timeout", "20s")];

fn connecting() -> Vec<Fault> {
    let fault = |name| fault(Phase::Connecting, name, |form, _| whole(form));
    vec![
        fault("the connection is refused")
            .first(First::Nobody)
            .pauses(seconds(1)),
        fault("it speaks no TLS")
            .first(First::NoTls(|form, _| whole(form)))
            .pauses(seconds(1)),
    ]
}

fn status() -> Vec<Fault> {
    let fault = |name, play| fault(Phase::Status, name, play);
    vec![
        fault("429 once", |_, _| limit()).once().pauses(seconds(1)),
        fault("429 once, `Retry-After: 2`", |_, _| {
            limit().header("retry-after", "2")
        })
        .once()
        .pauses(seconds(2)),
        fault("429 for ever", |_, _| limit()).pauses(seconds(1)),
        fault("429 for ever, `Retry-After: 2`", |_, _| {
            limit().header("retry-after", "2")
        })
        .pauses(seconds(4)),
        fault("429 for ever, `Retry-After: 60`", |_, _| {
            limit().header("retry-after", "60")
        }),
        fault("500 once", |_, _| {
            error(500, "server_error", "internal_error")
        })
        .once(),
        fault("500 for ever", |_, _| {
            error(500, "server_error", "internal_error")
        }),
        fault("503 once", |_, _| unavailable())
            .once()
            .pauses(seconds(1)),
        fault("503 for ever", |_, _| unavailable()).pauses(seconds(1)),
        fault("529 for ever", |_, _| {
            error(529, "overloaded_error", "overloaded")
        }),
        fault("401", |_, _| {
            error(401, "invalid_request_error", "invalid_api_key")
        }),
        fault("404", |_, _| {
            error(404, "invalid_request_error", "model_not_found")
        }),
        fault("400", |_, _| {
            error(400, "invalid_request_error", "invalid_value")
        }),
        fault("400, a content filter", |_, _| {
            error(400, "invalid_request_error", "content_filter")
        }),
        fault("400, too long for the model", |_, _| too_long()),
        fault(
            "400, too long for the model, and the second takes more",
            |_, _| too_long(),
        )
        .deployments("context_window = 8000", "context_window = 200000"),
    ]
}

fn head() -> Vec<Fault> {
    let fault = |name, play| fault(Phase::Head, name, play);
    vec![
        fault("it closes the connection", |_, _| {
            Script::hang_up(Cut::Close)
        }),
        fault("it resets the connection", |_, _| {
            Script::hang_up(Cut::Reset)
        }),
        fault("it does not speak HTTP", |_, _| {
            Script::raw("220 smtp.example.org ESMTP\r\n")
        }),
        fault("it is silent", |form, gate| {
            whole(form).gate_before_head(gate)
        })
        .silent(0, FIRST_EVENT),
        fault("it is silent, `head_timeout = \"30s\"`", |form, gate| {
            whole(form).gate_before_head(gate)
        })
        .upstream(HEAD.0)
        .silent(0, HEAD.1),
        fault(
            "it is silent, and the client's `timeout` is 20 s",
            |form, gate| whole(form).gate_before_head(gate),
        )
        .headers(CLIENT)
        .shared(0, seconds(20)),
        fault("200 with a page for people", |_, _| Script::html_200()),
        fault("200 with an error object", |_, _| {
            Script::json(200, &error_object())
        }),
        fault("200, compressed unasked", |_, _| Script::gzip_garbage()),
    ]
}

fn preamble() -> Vec<Fault> {
    let fault = |name, play| fault(Phase::Preamble, name, play);
    vec![
        fault("the connection is closed", |_, _| {
            stream().cut_after_events(1, Cut::Close)
        })
        .streamed(),
        fault("the connection is reset", |_, _| {
            stream().cut_after_events(1, Cut::Reset)
        })
        .streamed(),
        fault("the stream ends without an event", |_, _| begun(0, [])).streamed(),
        fault("`[DONE]`, and nothing before it", |_, _| {
            begun(0, [event("[DONE]")])
        })
        .streamed(),
        fault("an error event", |_, _| stream().error_event_after(1)).streamed(),
        fault("half a chunk of JSON", |_, _| {
            begun(1, [event("{\"choices\":[")])
        })
        .streamed(),
        fault("a chunk of another shape", |_, _| begun(1, [event(WRONG)])).streamed(),
        fault("silence", |_, gate| stream().gate_before_event(2, gate))
            .streamed()
            .silent(0, FIRST_EVENT),
        fault("heartbeats, and no content", |_, _| begun(1, heartbeats()))
            .streamed()
            .going(0, FIRST_EVENT),
        fault("silence, and the client's `timeout` is 20 s", |_, gate| {
            stream().gate_before_event(2, gate)
        })
        .streamed()
        .headers(CLIENT)
        .shared(0, seconds(20)),
    ]
}

fn content() -> Vec<Fault> {
    let fault = |name, play| fault(Phase::Content, name, play);
    vec![
        fault("the connection is closed", |form, _| match form {
            Form::Streamed => stream().cut_after_events(3, Cut::Close),
            Form::Body => half(Step::CloseClean),
        }),
        fault("the connection is reset", |form, _| match form {
            Form::Streamed => stream().cut_after_events(3, Cut::Reset),
            Form::Body => half(Step::Reset),
        }),
        fault(
            "it ends as HTTP should, and not as its API should",
            |form, _| match form {
                Form::Streamed => begun(3, []),
                Form::Body => Script::half_json(),
            },
        ),
        fault("an error event", |_, _| stream().error_event_after(3)).streamed(),
        fault("half a chunk of JSON", |_, _| {
            begun(3, [event("{\"choices\":[")])
        })
        .streamed(),
        fault("a chunk of another shape", |form, _| match form {
            Form::Streamed => begun(3, [event(WRONG)]),
            Form::Body => Script::json(200, &json!({"choices": "none"})),
        }),
        fault("silence", |form, gate| match form {
            Form::Streamed => stream().gate_before_event(4, gate),
            Form::Body => half(Step::Wait(gate.clone())),
        })
        .silent(3, EVENT),
        fault("heartbeats, and no event", |_, _| begun(3, heartbeats()))
            .streamed()
            .going(3, EVENT),
        fault("no end, `total_timeout = \"5m\"`", |_, _| {
            stream()
                .step_before_event(4, Step::Pause(seconds(100)))
                .step_before_event(5, Step::Pause(seconds(100)))
                .step_before_event(6, Step::Pause(seconds(119)))
        })
        .streamed()
        .upstream(TOTAL.0)
        .going(3, TOTAL.1),
    ]
}

fn end() -> Vec<Fault> {
    let fault = |name, play| fault(Phase::End, name, play).streamed();
    vec![
        fault("no `[DONE]`", |_, _| stream().without_done()),
        fault("no `[DONE]`, the connection is reset", |_, _| {
            stream().cut_after_events(8, Cut::Reset)
        }),
        fault("no `[DONE]`, and silence", |_, gate| {
            stream().gate_before_event(9, gate)
        })
        .silent(7, seconds(5)),
        fault("no `[DONE]`, but half a chunk of JSON", |_, _| {
            begun(8, [event("{\"choices\":[")])
        }),
        fault("no `[DONE]`, but an error event", |_, _| {
            stream().error_event_after(8)
        }),
        fault("`[DONE]` without a reason for the end", |_, _| {
            begun(6, [event("[DONE]")])
        }),
        fault("more behind `[DONE]`", |_, _| {
            begun(9, [event("[DONE]"), event("{\"choices\":["), Step::Reset])
        }),
    ]
}

/// JSON, and no chunk.
const WRONG: &str = r#"{"id":"chatcmpl-1","choices":"none"}"#;

fn error(status: u16, kind: &str, code: &str) -> Script {
    Script::openai_error(status, kind, code, "The provider says no.")
}

fn limit() -> Script {
    error(429, "requests", "rate_limit_exceeded")
}

fn unavailable() -> Script {
    error(503, "server_error", "unavailable")
}

fn stream() -> Script {
    Script::chat_stream(&answer())
}

fn body() -> Script {
    Script::chat_json(&answer())
}

/// The answer in the form that was asked for.
fn whole(form: Form) -> Script {
    match form {
        Form::Streamed => stream(),
        Form::Body => body(),
    }
}

/// The first events of the answer, and then these steps.
fn begun(events: usize, then: impl IntoIterator<Item = Step, IntoIter: Send + 'static>) -> Script {
    let begun = answer().expected_data().into_iter().take(events);
    let begun = begun.map(|data| event(&data));
    Script::sse_steps(begun.chain(then))
}

/// The first half of the answer's body, and then this.
fn half(then: Step) -> Script {
    let whole = answer().to_json().to_string();
    let half = whole[..whole.len() / 2].to_owned();
    let steps = [Step::Bytes(half.into()), Step::Flush, then];
    Script::sse_steps(steps).header("content-type", "application/json")
}

/// A comment now and then, for ever.
fn heartbeats() -> impl Iterator<Item = Step> {
    let beat = || {
        [
            Step::Bytes(Bytes::from_static(b": PROCESSING\n\n")),
            Step::Flush,
            Step::Pause(Duration::from_secs(10)),
        ]
    };
    std::iter::repeat_with(beat).flatten()
}

fn too_long() -> Script {
    error(400, "invalid_request_error", "context_length_exceeded")
}

fn error_object() -> serde_json::Value {
    json!({"error": {"message": "Overloaded.", "type": "server_error", "param": null,
        "code": "overloaded"}})
}
