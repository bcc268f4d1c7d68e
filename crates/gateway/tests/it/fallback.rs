//! Routes of several deployments: what the client sees, who is asked how often, what the log keeps.

use std::sync::Mutex;
use std::time::Duration;

use everstream_core::id::StreamId;
use everstream_core::record::Record;
use everstream_testkit::provider::{Cut, FakeProvider, Gate, Nobody, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, StillTime, until};
use crate::talk::{
    CHAT, Reply, answer, answer_to, chat, data, event, get, page, post, send, soon, unary_chat,
};

/// A route for the model `m` by way of these upstreams, each with a model `<name>-m`; `more` is TOML
/// for each.
fn route(names: &[(&str, &str)]) -> String {
    let deployments = names.iter().map(|(name, more)| {
        format!("[[routes.deployments]]\nupstream = \"{name}\"\nmodel = \"{name}-m\"\n{more}\n")
    });
    format!(
        "[[routes]]\nmodel = \"m\"\n{}",
        deployments.collect::<String>()
    )
}

/// A gateway with a route by way of `one` and `two`.
fn two(one: &str, other: &str) -> Setup {
    Setup::default()
        .upstream("one", one, "models = [\"one-m\"]")
        .upstream("two", other, "")
        .upstream_fields(&route(&[("one", ""), ("two", "")]))
}

/// A provider that plays each script once, and from then on answers.
async fn playing(scripts: impl IntoIterator<Item = Script>) -> FakeProvider {
    let mut scripts: Vec<_> = scripts.into_iter().collect();
    scripts.reverse();
    let scripts = Mutex::new(scripts);
    FakeProvider::start(move |request| {
        let next = scripts.lock().unwrap().pop();
        next.unwrap_or_else(|| answer_to(request))
    })
    .await
}

/// A provider that fails in the same way for ever.
async fn failing(status: u16) -> FakeProvider {
    FakeProvider::start(move |_| refusal(status, "nothing_special")).await
}

fn refusal(status: u16, code: &str) -> Script {
    Script::openai_error(status, "some_error", code, "The provider says no.")
}

/// What became of the attempts of a stream, from its log.
async fn audit(gateway: &Gateway, stream: &str) -> Vec<String> {
    let id: StreamId = stream.parse().unwrap();
    let shown = |record: &Record| match record {
        Record::Dialled(at) => Some(format!("{} {} {}", at.attempt, at.upstream, at.model)),
        Record::Abandoned(at) => Some(format!("{} {} {}", at.attempt, at.upstream, at.reason)),
        _ => None,
    };
    let records = gateway.app.log.audit(id).await.unwrap();
    records.iter().filter_map(shown).collect()
}

/// The whole answer, and who gave it.
async fn whole(reply: Reply, upstream: &str) {
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.header("everstream-upstream"), upstream);
    if reply.header("content-type") == "text/event-stream" {
        let expected = answer().expected_data_without_usage();
        assert_eq!(data(&reply.frames().await), expected);
    } else {
        assert_eq!(reply.json(200).await, answer().to_json());
    }
}

/// Each way to fail before content, with its name in the log.
fn faults() -> Vec<(&'static str, Script)> {
    let stream = || Script::chat_stream(&answer());
    vec![
        ("rate_limited", refusal(429, "x").header("retry-after", "9")),
        ("rate_limited", refusal(429, "rate_limit_exceeded")),
        ("overloaded", refusal(503, "x")),
        ("server_error", refusal(500, "x")),
        ("server_error", refusal(502, "x")),
        ("key_refused", refusal(401, "invalid_api_key")),
        ("model_missing", refusal(404, "model_not_found")),
        ("broken", Script::hang_up(Cut::Close)),
        ("broken", Script::hang_up(Cut::Reset)),
        ("broken", stream().cut_after_events(0, Cut::Close)),
        ("broken", stream().cut_after_events(1, Cut::Reset)),
        ("server_error", stream().error_event_after(1)),
        ("invalid", Script::sse(["{\"choices\":["])),
        ("invalid", Script::html_200()),
        ("invalid", Script::gzip_garbage()),
    ]
}

#[tokio::test]
async fn a_failure_before_content_is_unseen() {
    for (reason, script) in faults() {
        let one = playing([script]).await;
        let other = playing([]).await;
        let gateway = two(&one.base_url(), &other.base_url()).start().await;
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        let id = reply.stream();
        whole(reply, "two").await;
        assert_eq!((one.calls().len(), other.calls().len()), (1, 1), "{reason}");
        assert_eq!(one.calls()[0].json()["model"], "one-m");
        assert_eq!(other.calls()[0].json()["model"], "two-m");
        let stream = page(&gateway, &id).await;
        assert_eq!(
            (&stream["status"], &stream["upstream"]),
            (&json!("completed"), &json!("two"))
        );
        assert_eq!(stream["usage"]["input_tokens"], 7);
        let reason = format!("1 one {reason}");
        assert_eq!(
            audit(&gateway, &id).await,
            ["1 one one-m", reason.as_str(), "2 two two-m"]
        );
    }
}

#[tokio::test]
async fn a_failure_of_a_body_is_unseen_too() {
    for script in [
        refusal(500, "x"),
        refusal(429, "x"),
        Script::hang_up(Cut::Reset),
        Script::half_json(),
    ] {
        let one = playing([script]).await;
        let other = playing([]).await;
        let gateway = two(&one.base_url(), &other.base_url()).start().await;
        whole(post(&gateway, CHAT, &unary_chat("x"), &[]).await, "two").await;
        assert_eq!((one.calls().len(), other.calls().len()), (1, 1));
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_passed_over() {
    let nobody = Nobody::new().unwrap();
    let other = playing([]).await;
    let gateway = two(&nobody.base_url(), &other.base_url()).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    whole(reply, "two").await;
    assert_eq!(audit(&gateway, &id).await[1], "1 one unreachable");
}

#[tokio::test]
async fn after_content_nobody_else_answers() {
    let one = playing([Script::chat_stream(&answer()).cut_after_events(3, Cut::Close)]).await;
    let other = playing([]).await;
    let gateway = two(&one.base_url(), &other.base_url()).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("everstream-upstream"), "one");
    let got = data(&reply.frames().await);
    assert_eq!(got[..3], answer().expected_data()[..3]);
    assert_eq!(got.len(), 4);
    assert!(got[3].contains("upstream_cut"), "{got:?}");
    assert_eq!((one.calls().len(), other.calls().len()), (1, 0));
}

#[tokio::test]
async fn mistakes_of_the_request_are_asked_of_nobody_else() {
    for code in ["content_filter", "invalid_value", "context_length_exceeded"] {
        let one = playing([refusal(400, code)]).await;
        let other = playing([]).await;
        let gateway = two(&one.base_url(), &other.base_url()).start().await;
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        assert_eq!(reply.header("everstream-upstream"), "one");
        assert_eq!(reply.error(400).await, code);
        assert_eq!((one.calls().len(), other.calls().len()), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn a_request_that_is_too_long_goes_to_the_larger_window() {
    let small = playing([refusal(400, "context_length_exceeded")]).await;
    let same = playing([]).await;
    let large = playing([]).await;
    let gateway = Setup::default()
        .upstream("small", &small.base_url(), "")
        .upstream("same", &same.base_url(), "")
        .upstream("large", &large.base_url(), "")
        .upstream_fields(&route(&[
            ("small", "context_window = 8000"),
            ("same", "context_window = 8000"),
            ("large", "context_window = 200000"),
        ]))
        .start()
        .await;
    whole(post(&gateway, CHAT, &chat("x"), &[]).await, "large").await;
    assert_eq!((small.calls().len(), same.calls().len()), (1, 0));
}

#[tokio::test]
async fn if_all_fail_the_first_ones_words_are_the_answer() {
    for body in [chat("x"), unary_chat("x")] {
        let one = failing(429).await;
        let other = failing(401).await;
        let gateway = two(&one.base_url(), &other.base_url()).start().await;
        let reply = post(&gateway, CHAT, &body, &[]).await;
        assert_eq!(reply.header("everstream-upstream"), "one");
        assert_eq!(reply.error(429).await, "nothing_special");
        assert_eq!((one.calls().len(), other.calls().len()), (1, 1));
    }
}

/// A gateway whose route has but one deployment.
fn alone(provider: &FakeProvider, more: &str) -> Setup {
    let route =
        route(&[("one", "")]).replace("model = \"m\"\n", &format!("model = \"m\"\n{more}\n"));
    Setup::default()
        .upstream("one", &provider.base_url(), "")
        .upstream_fields(&route)
}

#[tokio::test]
async fn the_only_deployment_is_asked_again_where_nothing_ran() {
    let soon = || refusal(429, "x").header("retry-after-ms", "20");
    for scripts in [vec![soon()], vec![soon(), soon()], vec![refusal(503, "x")]] {
        let calls = scripts.len() + 1;
        let one = playing(scripts).await;
        let gateway = alone(&one, "").start().await;
        whole(post(&gateway, CHAT, &chat("x"), &[]).await, "one").await;
        assert_eq!(one.calls().len(), calls);
    }
    // These may have run, so they are not repeated unless the route says that this is no matter.
    for script in [|| refusal(500, "x"), || Script::hang_up(Cut::Reset)] {
        let one = playing([script()]).await;
        let gateway = alone(&one, "").start().await;
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        assert!(matches!(reply.head.status, 500 | 502));
        assert_eq!(reply.header("x-should-retry"), "false");
        assert_eq!(one.calls().len(), 1);
        let one = playing([script()]).await;
        let gateway = alone(&one, "idempotent = true").start().await;
        whole(post(&gateway, CHAT, &chat("x"), &[]).await, "one").await;
        assert_eq!(one.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_limit_for_ever_costs_no_more_than_the_budget_and_is_told_with_its_time() {
    let one = FakeProvider::start(|_| refusal(429, "x").header("retry-after-ms", "5")).await;
    let gateway = alone(&one, "attempts = 2").start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(reply.error(429).await, "x");
    assert_eq!(one.calls().len(), 2);

    let one = FakeProvider::start(|_| refusal(429, "x").header("retry-after", "60")).await;
    let gateway = alone(&one, "").start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("retry-after"), "60");
    assert_eq!(reply.error(429).await, "x");
    // Until then it is left alone.
    let reply = post(&gateway, CHAT, &chat("y"), &[]).await;
    assert_eq!(reply.header("retry-after"), "60");
    assert_eq!(reply.header("x-should-retry"), "");
    assert_eq!(reply.error(429).await, "upstream_rate_limited");
    assert_eq!(one.calls().len(), 1);
}

#[tokio::test]
async fn failures_open_the_breaker_and_a_recovery_closes_it_within_seconds() {
    let time = StillTime::begin();
    let one = playing((0..5).map(|_| refusal(503, "x"))).await;
    let gateway = alone(&one, "attempts = 1").start().await;
    for _ in 0..5 {
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        assert_eq!(reply.error(503).await, "x");
    }
    for _ in 0..3 {
        let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
        assert_eq!(reply.header("retry-after"), "1");
        assert_eq!(reply.header("x-should-retry"), "");
        assert_eq!(reply.error(503).await, "upstream_unavailable");
    }
    assert_eq!(one.calls().len(), 5);
    time.pass(Duration::from_secs(1)).await;
    for _ in 0..4 {
        whole(post(&gateway, CHAT, &chat("x"), &[]).await, "one").await;
    }
    assert_eq!(one.calls().len(), 9);
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_and_the_next_one_asked() {
    let gate = Gate::new("never");
    let silent = gate.clone();
    let one =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_head(&silent))
            .await;
    let other = playing([]).await;
    let gateway = Setup::default()
        .config("[streams]\nhead_hold = \"30s\"")
        .upstream("one", &one.base_url(), "head_timeout = \"3s\"")
        .upstream("two", &other.base_url(), "")
        .upstream_fields(&route(&[("one", ""), ("two", "")]))
        .start()
        .await;
    let time = StillTime::begin();
    let mut client = gateway.client().await;
    let asking = tokio::spawn(async move {
        let head = client.post_json(CHAT, &chat("x"), &[]).await.unwrap();
        Reply { head, client }
    });
    soon(gate.reached_by(1)).await;
    time.pass(Duration::from_secs(4)).await;
    let reply = soon(asking).await.unwrap();
    let id = reply.stream();
    whole(reply, "two").await;
    assert_eq!(audit(&gateway, &id).await[1], "1 one silent");
    soon(one.wait_for_hangups(1)).await;
}

#[tokio::test]
async fn a_client_says_how_long_it_waits() {
    for (path, headers) in [
        (CHAT.to_owned(), vec![("everstream-timeout", "2s")]),
        (format!("{CHAT}?timeout=2s"), vec![]),
    ] {
        let gate = Gate::new("never");
        let silent = gate.clone();
        let one =
            FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_head(&silent))
                .await;
        let gateway = Setup::new(&one).start().await;
        let time = StillTime::begin();
        let mut client = gateway.client().await;
        let asking = tokio::spawn(async move {
            let head = client.post_json(&path, &chat("x"), &headers).await.unwrap();
            Reply { head, client }
        });
        soon(gate.reached_by(1)).await;
        time.pass(Duration::from_secs(3)).await;
        assert_eq!(
            soon(asking).await.unwrap().error(504).await,
            "upstream_timeout"
        );
    }
    let one = playing([]).await;
    let gateway = Setup::new(&one).start().await;
    for wrong in ["0s", "soon", "", "2"] {
        let reply = post(&gateway, CHAT, &chat("x"), &[("everstream-timeout", wrong)]).await;
        assert_eq!(reply.error(400).await, "invalid_value");
    }
    assert_eq!(one.calls().len(), 0);
}

/// The answer `Hi` of Anthropic's API.
fn anthropic() -> Script {
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
        "role": "assistant", "model": "claude", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 1}}});
    let block = json!({"type": "text", "text": ""});
    let delta = json!({"type": "text_delta", "text": "Hi"});
    let end = json!({"stop_reason": "end_turn", "stop_sequence": null});
    Script::sse_steps(
        [
            start,
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}}),
            json!({"type": "message_stop"}),
        ]
        .map(|data| event(&data.to_string())),
    )
}

#[tokio::test]
async fn an_upstream_of_another_dialect_answers_in_the_clients() {
    let one = playing([refusal(500, "x"), refusal(500, "x")]).await;
    let other = FakeProvider::start(|_| anthropic()).await;
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream("two", &other.base_url(), "dialect = \"anthropic\"")
        .upstream_fields(&route(&[("one", ""), ("two", "")]))
        .start()
        .await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(reply.header("everstream-upstream"), "two");
    let got = data(&reply.frames().await).join("\n");
    assert!(got.contains(r#""content":"Hi""#), "{got}");
    // As its provider says, and not as the client asked.
    assert!(got.contains(r#""model":"claude""#), "{got}");
    assert!(got.ends_with("[DONE]"), "{got}");
    assert_eq!(other.call_count("/v1/messages"), 1);
    assert_eq!(other.calls()[0].json()["model"], "two-m");
    // What it cannot be asked it is not asked.
    let mut body = chat("x");
    body["n"] = json!(2);
    let reply = post(&gateway, CHAT, &body, &[]).await;
    assert_eq!(reply.error(500).await, "x");
    assert_eq!((one.calls().len(), other.calls().len()), (2, 1));
}

#[tokio::test]
async fn what_is_full_is_passed_over_and_a_cancelled_answer_makes_room() {
    let gate = Gate::new("held");
    let held = gate.clone();
    let one =
        FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_event(3, &held))
            .await;
    let other = playing([]).await;
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "max_concurrency = 1")
        .upstream("two", &other.base_url(), "")
        .upstream_fields(&route(&[("one", ""), ("two", "")]))
        .start()
        .await;
    let first = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(first.header("everstream-upstream"), "one");
    for _ in 0..3 {
        whole(post(&gateway, CHAT, &chat("x"), &[]).await, "two").await;
    }
    let path = format!("/v1/streams/{}", first.stream());
    send(&gateway, "DELETE", &path, &[]).await;
    until(|| gateway.app.generator.registry.all().is_empty()).await;
    let next = post(&gateway, CHAT, &chat("x"), &[]).await;
    assert_eq!(next.header("everstream-upstream"), "one");
    gate.open();
    next.frames().await;
    assert_eq!((one.calls().len(), other.calls().len()), (2, 3));
}

#[tokio::test]
async fn a_route_is_a_model_and_may_have_other_names() {
    let one = playing([]).await;
    let other = playing([]).await;
    let gateway = two(&one.base_url(), &other.base_url())
        .upstream_fields("[aliases]\nfast = \"m\"")
        .start()
        .await;
    let models = get(&gateway, "/v1/models", &[]).await.json(200).await;
    let models = models["data"].as_array().unwrap().clone();
    let ids: Vec<&Value> = models.iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["fast", "m", "one-m", "fake-model"]);
    let mut body = chat("x");
    body["model"] = json!("fast");
    whole(post(&gateway, CHAT, &body, &[]).await, "one").await;
    assert_eq!(one.calls()[0].json()["model"], "one-m");
}

#[tokio::test]
async fn sticky_requests_find_the_same_deployment_again() {
    let one = playing([]).await;
    let other = playing([]).await;
    let route = route(&[("one", ""), ("two", "")]);
    let route = route.replace("model = \"m\"\n", "model = \"m\"\nstrategy = \"sticky\"\n");
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream("two", &other.base_url(), "")
        .upstream_fields(&route)
        .start()
        .await;
    for session in 0..12 {
        let name = session.to_string();
        let headers = [("everstream-session", name.as_str())];
        let mut seen = Vec::new();
        for text in ["a", "b", "c"] {
            let reply = post(&gateway, CHAT, &chat(text), &headers).await;
            seen.push(reply.header("everstream-upstream").to_owned());
            reply.frames().await;
        }
        assert!(seen.iter().all(|name| *name == seen[0]), "{seen:?}");
    }
    assert!(!one.calls().is_empty() && !other.calls().is_empty());
}
