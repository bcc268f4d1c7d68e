//! A second deployment is asked when the first is late: who answers, who is dropped, what the log keeps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use everstream_core::id::StreamId;
use everstream_core::limits::HEDGE_FLOOR;
use everstream_core::record::{Abandoned, Record};
use everstream_testkit::provider::{FakeProvider, Gate, ReceivedRequest, Script};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Gateway, Setup, StillTime};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, held, page, soon};

const LATE: Duration = Duration::from_millis(800);
/// Timers ring at the next whole millisecond.
const SOON: Duration = Duration::from_millis(5);

/// A gateway with a route for `m` by way of `one` and `two`, each of which takes one request at a
/// time; `more` is TOML for the route.
async fn gateway(one: &FakeProvider, two: &FakeProvider, more: &str) -> Gateway {
    let narrow = "max_concurrency = 1";
    Setup::default()
        .upstream("one", &one.base_url(), narrow)
        .upstream("two", &two.base_url(), narrow)
        .upstream_fields(&format!(
            "[[routes]]\nmodel = \"m\"\n{more}\n\
             [[routes.deployments]]\nupstream = \"one\"\nmodel = \"one-m\"\n\
             [[routes.deployments]]\nupstream = \"two\"\nmodel = \"two-m\"\n"
        ))
        .start()
        .await
}

/// A provider that answers, but plays `script` the `n`-th time, from 0.
async fn playing(n: usize, script: impl Fn() -> Script + Send + Sync + 'static) -> FakeProvider {
    let calls = AtomicUsize::new(0);
    FakeProvider::start(move |request: &ReceivedRequest| {
        if calls.fetch_add(1, Ordering::Relaxed) == n {
            script()
        } else {
            answer_to(request)
        }
    })
    .await
}

/// A provider that plays `script` the first time, when `gate` opens.
async fn behind(gate: &Gate, script: fn(&Gate) -> Script) -> FakeProvider {
    let gate = gate.clone();
    playing(0, move || script(&gate)).await
}

/// Says that it is there, and no more until the gate opens.
fn late(gate: &Gate) -> Script {
    held(2, gate)
}

async fn ask(gateway: &Gateway, model: &str) -> JoinHandle<Reply> {
    let mut client = gateway.client().await;
    let mut body = chat("x");
    body["model"] = json!(model);
    tokio::spawn(async move {
        let head = client.post_json(CHAT, &body, &[]).await.unwrap();
        Reply { head, client }
    })
}

/// Asks, and lets time pass until the second one is asked too.
async fn ask_both(
    gateway: &Gateway,
    time: &StillTime,
    first: &Gate,
    second: &Gate,
) -> JoinHandle<Reply> {
    let asking = ask(gateway, "m").await;
    soon(first.reached_by(1)).await;
    time.pass(LATE + SOON).await;
    soon(second.reached_by(1)).await;
    asking
}

async fn whole(reply: Reply, upstream: &str) {
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.header("everstream-upstream"), upstream);
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
}

/// What became of the attempts of a stream, from its log.
async fn audit(gateway: &Gateway, stream: &str) -> (Vec<String>, Vec<Abandoned>) {
    let id: StreamId = stream.parse().unwrap();
    let mut told = Vec::new();
    let mut gone = Vec::new();
    for record in gateway.app.log.audit(id).await.unwrap() {
        match record {
            Record::Dialled(at) => told.push(format!("{} {}", at.attempt, at.upstream)),
            Record::Abandoned(at) => {
                told.push(format!("{} {} {}", at.attempt, at.upstream, at.reason));
                gone.push(at);
            }
            _ => {}
        }
    }
    (told, gone)
}

fn calls(one: &FakeProvider, two: &FakeProvider) -> (usize, usize) {
    (one.calls().len(), two.calls().len())
}

#[tokio::test]
async fn who_is_late_is_dropped_for_who_answers() {
    let never = Gate::new("never");
    let one = behind(&never, late).await;
    let two = playing(usize::MAX, Script::html_200).await;
    let gateway = gateway(&one, &two, "hedge_after = \"800ms\"").await;
    let time = StillTime::begin();
    let asking = ask(&gateway, "m").await;
    soon(never.reached_by(1)).await;
    time.pass(LATE.saturating_sub(SOON)).await;
    assert_eq!(calls(&one, &two), (1, 0));
    time.pass(SOON * 2).await;
    let reply = soon(asking).await.unwrap();
    let id = reply.stream();
    whole(reply, "two").await;
    soon(one.wait_for_hangups(1)).await;
    assert_eq!(calls(&one, &two), (1, 1));
    assert_eq!(two.calls()[0].json()["model"], "two-m");
    let (told, gone) = audit(&gateway, &id).await;
    assert_eq!(told, ["1 one", "2 two", "1 one hedge_lost"]);
    let usage = gone[0].usage.as_ref().unwrap();
    assert!(usage.estimated && usage.input_tokens > 0, "{usage:?}");
    let stream = page(&gateway, &id).await;
    let answered = (&stream["status"], &stream["upstream"]);
    assert_eq!(answered, (&json!("completed"), &json!("two")));
    assert_eq!(stream["usage"]["input_tokens"], 7);
    // It has not failed, and there is room again.
    let next = ask(&gateway, "m").await;
    whole(soon(next).await.unwrap(), "one").await;
}

#[tokio::test]
async fn who_is_late_may_still_be_first() {
    let [first, rest, second] = ["first", "rest", "second"].map(Gate::new);
    let (begin, end) = (first.clone(), rest.clone());
    let one = playing(0, move || held(2, &begin).gate_before_event(4, &end)).await;
    let two = behind(&second, late).await;
    let gateway = gateway(&one, &two, "hedge_after = \"800ms\"").await;
    let time = StillTime::begin();
    let asking = ask_both(&gateway, &time, &first, &second).await;
    first.open();
    let reply = soon(asking).await.unwrap();
    soon(two.wait_for_hangups(1)).await;
    let id = reply.stream();
    // The one that was asked last is not the one that answers.
    let stream = page(&gateway, &id).await;
    assert_eq!(stream["status"], "running");
    assert_eq!(stream["upstream"], "one");
    rest.open();
    whole(reply, "one").await;
    let (told, gone) = audit(&gateway, &id).await;
    assert_eq!(told, ["1 one", "2 two", "2 two hedge_lost"]);
    assert_eq!(gone[0].instead.as_deref(), Some("one"));
    assert_eq!(calls(&one, &two), (1, 1));
}

#[tokio::test]
async fn if_one_fails_the_other_answers() {
    let [first, second] = ["first", "second"].map(Gate::new);
    let one = behind(&first, late).await;
    let two = behind(&second, |gate| refusal("two").gate_before_head(gate)).await;
    let gateway = gateway(&one, &two, "hedge_after = \"800ms\"").await;
    let time = StillTime::begin();
    let asking = ask_both(&gateway, &time, &first, &second).await;
    second.open();
    first.open();
    let reply = soon(asking).await.unwrap();
    let id = reply.stream();
    whole(reply, "one").await;
    let (told, _) = audit(&gateway, &id).await;
    assert!(told[2].starts_with("2 two "), "{told:?}");
}

fn refusal(code: &str) -> Script {
    Script::openai_error(500, "some_error", code, "The provider says no.")
}

#[tokio::test]
async fn if_both_fail_the_first_ones_words_are_the_answer() {
    let [first, second] = ["first", "second"].map(Gate::new);
    let one = behind(&first, |gate| refusal("of_one").gate_before_head(gate)).await;
    let two = behind(&second, |gate| refusal("of_two").gate_before_head(gate)).await;
    let gateway = gateway(&one, &two, "hedge_after = \"800ms\"").await;
    let time = StillTime::begin();
    let asking = ask_both(&gateway, &time, &first, &second).await;
    second.open();
    first.open();
    let reply = soon(asking).await.unwrap();
    let id = reply.stream();
    assert_eq!(reply.header("everstream-upstream"), "one");
    assert_eq!(reply.header("x-should-retry"), "false");
    assert_eq!(reply.error(500).await, "of_one");
    assert_eq!(calls(&one, &two), (1, 1));
    let (told, _) = audit(&gateway, &id).await;
    assert_eq!(told[..2], ["1 one", "2 two"]);
    assert!(told[2].ends_with(" server_error"), "{told:?}");
}

#[tokio::test]
async fn nobody_is_asked_twice_unless_the_route_says_so() {
    for route in ["", "hedge_after = \"800ms\"\nattempts = 1"] {
        let gate = Gate::new("late");
        let one = behind(&gate, late).await;
        let two = playing(usize::MAX, Script::html_200).await;
        let gateway = gateway(&one, &two, route).await;
        let time = StillTime::begin();
        let asking = ask(&gateway, "m").await;
        soon(gate.reached_by(1)).await;
        time.pass(LATE * 4).await;
        gate.open();
        whole(soon(asking).await.unwrap(), "one").await;
        assert_eq!(calls(&one, &two), (1, 0));
    }
}

#[tokio::test]
async fn who_is_full_is_not_asked_beside() {
    let [first, busy] = ["first", "busy"].map(Gate::new);
    let one = behind(&first, late).await;
    let two = behind(&busy, late).await;
    let gateway = gateway(&one, &two, "hedge_after = \"800ms\"").await;
    let time = StillTime::begin();
    let other = ask(&gateway, "two/two-m").await;
    soon(busy.reached_by(1)).await;
    let asking = ask(&gateway, "m").await;
    soon(first.reached_by(1)).await;
    time.pass(LATE * 2).await;
    first.open();
    whole(soon(asking).await.unwrap(), "one").await;
    busy.open();
    whole(soon(other).await.unwrap(), "two").await;
    assert_eq!(calls(&one, &two), (1, 1));
}

#[tokio::test]
async fn a_percentile_is_learnt_before_it_is_kept_to() {
    let [unknown, known] = ["unknown", "known"].map(Gate::new);
    let gates = [(0, unknown.clone()), (20, known.clone())];
    let count = AtomicUsize::new(0);
    let one = FakeProvider::start(move |request: &ReceivedRequest| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let gate = gates.iter().find(|(at, _)| *at == n);
        gate.map_or_else(|| answer_to(request), |(_, gate)| late(gate))
    })
    .await;
    let two = playing(usize::MAX, Script::html_200).await;
    let gateway = gateway(&one, &two, "hedge_after = \"p90\"").await;
    let time = StillTime::begin();
    let asking = ask(&gateway, "m").await;
    soon(unknown.reached_by(1)).await;
    time.pass(LATE * 4).await;
    unknown.open();
    whole(soon(asking).await.unwrap(), "one").await;
    for _ in 1..20 {
        let asking = ask(&gateway, "m").await;
        whole(soon(asking).await.unwrap(), "one").await;
    }
    assert_eq!(calls(&one, &two), (20, 0));
    // Nine in ten came at once.
    let asking = ask(&gateway, "m").await;
    soon(known.reached_by(1)).await;
    time.pass(HEDGE_FLOOR + SOON).await;
    whole(soon(asking).await.unwrap(), "two").await;
    assert_eq!(calls(&one, &two), (21, 1));
    let served: Vec<Value> = two.calls().iter().map(ReceivedRequest::json).collect();
    assert_eq!(served[0]["model"], "two-m");
}
