//! Timeouts and pauses on a route, through sockets.

use std::time::{Duration, UNIX_EPOCH};

use everstream_testkit::provider::{FakeProvider, Gate, Script};
use tokio::time::Instant;

use crate::harness::{Gateway, Setup, StillTime, until};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, page, post, soon};

const ROUTE: &str = "[[routes]]\nmodel = \"m\"\n\
    [[routes.deployments]]\nupstream = \"one\"\n[[routes.deployments]]\nupstream = \"two\"\n";

/// Two providers, of which the first waits for ever before an event.
async fn held(event: usize, fields: &str) -> (Gate, [FakeProvider; 2], Gateway) {
    let gate = Gate::new("never opened");
    let closed = gate.clone();
    let one = FakeProvider::start(move |_| {
        Script::chat_stream(&answer()).gate_before_event(event, &closed)
    })
    .await;
    let two = FakeProvider::start(answer_to).await;
    let gateway = Setup::default()
        .config("[streams]\nhead_hold = \"30s\"")
        .upstream("one", &one.base_url(), fields)
        .upstream("two", &two.base_url(), "")
        .upstream_fields(ROUTE)
        .start()
        .await;
    (gate, [one, two], gateway)
}

async fn asking(gateway: &Gateway) -> tokio::task::JoinHandle<Reply> {
    let mut client = gateway.client().await;
    tokio::spawn(async move {
        let head = client.post_json(CHAT, &chat("x"), &[]).await.unwrap();
        Reply { head, client }
    })
}

#[tokio::test]
async fn a_first_event_that_is_late_comes_from_somebody_else() {
    let (gate, [one, two], gateway) = held(2, "first_event_timeout = \"4s\"").await;
    let time = StillTime::begin();
    let reply = asking(&gateway).await;
    soon(gate.reached_by(1)).await;
    time.pass(Duration::from_secs(3)).await;
    assert_eq!(two.calls().len(), 0);
    time.pass(Duration::from_secs(2)).await;
    let reply = soon(reply).await.unwrap();
    assert_eq!(reply.header("everstream-upstream"), "two");
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
    soon(one.wait_for_hangups(1)).await;
}

#[tokio::test]
async fn a_total_time_bounds_all_of_an_answer_of_one_deployment() {
    // Before content it is a failure like others.
    let (gate, [one, two], gateway) = held(1, "total_timeout = \"4s\"").await;
    let time = StillTime::begin();
    let reply = asking(&gateway).await;
    soon(gate.reached_by(1)).await;
    time.pass(Duration::from_secs(5)).await;
    let reply = soon(reply).await.unwrap();
    assert_eq!(reply.header("everstream-upstream"), "two");
    assert_eq!((one.calls().len(), two.calls().len()), (1, 1));
    drop(time);
    // After content it is the end.
    let (_gate, [_one, two], gateway) = held(4, "total_timeout = \"4s\"").await;
    let time = StillTime::begin();
    let reply = soon(asking(&gateway).await).await.unwrap();
    let id = reply.stream();
    time.pass(Duration::from_secs(5)).await;
    let got = data(&reply.frames().await);
    assert!(got.last().unwrap().contains("total_timeout"), "{got:?}");
    assert_eq!(page(&gateway, &id).await["status"], "failed");
    assert_eq!(two.calls().len(), 0);
}

#[tokio::test]
async fn a_date_to_come_back_at_is_kept_to() {
    let time = StillTime::begin();
    let first = std::sync::atomic::AtomicBool::new(true);
    // Dates have whole seconds, and the gateway's clock started with the machine's.
    let wall = std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap();
    let date = httpdate::fmt_http_date(UNIX_EPOCH + wall + Duration::from_secs(8));
    let one = FakeProvider::start(move |request| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let limit = Script::openai_error(429, "requests", "rate_limit_exceeded", "Slow down.");
            return limit.header("retry-after", &date);
        }
        answer_to(request)
    })
    .await;
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream_fields("[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n")
        .start()
        .await;
    let began = Instant::now();
    let reply = asking(&gateway).await;
    soon(one.wait_for_calls(1)).await;
    let mut steps = 0;
    while one.calls().len() < 2 {
        steps += 1;
        assert!(steps < 100, "it was not asked again");
        time.pass(Duration::from_millis(100)).await;
        let idle = std::time::Instant::now();
        until(|| idle.elapsed() > Duration::from_millis(2)).await;
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(6), "{waited:?}");
    assert!(waited <= Duration::from_secs(9), "{waited:?}");
    let reply = soon(reply).await.unwrap();
    assert_eq!(reply.head.status, 200);
    // A date that is too far away is told, and nobody waits for it.
    let far = httpdate::fmt_http_date(UNIX_EPOCH + wall + Duration::from_mins(15));
    let one = FakeProvider::start(move |_| {
        let limit = Script::openai_error(429, "requests", "rate_limit_exceeded", "Slow down.");
        limit.header("retry-after", &far)
    })
    .await;
    let gateway = Setup::new(&one).start().await;
    let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
    let told: u64 = reply.header("retry-after").parse().unwrap();
    assert!((880..=901).contains(&told), "{told}");
    assert_eq!(reply.error(429).await, "rate_limit_exceeded");
}
