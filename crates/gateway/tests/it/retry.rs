//! An SDK's own retry belongs to the generation it repeats, unless somebody has that answer or it
//! failed.

use everstream_testkit::provider::{FakeProvider, Gate, Script};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::talk::{
    CHAT, Reply, answer, answer_to, chat, data, ended, events, held, post, readers, soon,
    unary_chat,
};

const COUNT: &str = "x-stainless-retry-count";

/// The `n`-th retry of a request as an SDK sends it; 0 is the request itself.
async fn attempt(gateway: &Gateway, body: &Value, n: &str) -> Reply {
    post(gateway, CHAT, body, &[(COUNT, n)]).await
}

/// A gateway whose provider holds its answers before event `n`, or before the head if it is 0.
async fn holding(n: usize, config: &str) -> (FakeProvider, Gateway, Gate) {
    let gate = Gate::new("held");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |request| match n {
        0 => answer_to(request).gate_before_head(&held_at),
        n => held(n, &held_at),
    })
    .await;
    let gateway = Setup::new(&provider)
        .config(&format!("[streams]\n{config}"))
        .start()
        .await;
    (provider, gateway, gate)
}

#[tokio::test]
async fn a_retry_attaches_to_an_answer_that_has_not_begun() {
    for body in [chat("x"), unary_chat("x")] {
        let (provider, gateway, gate) = holding(0, "head_hold = \"30s\"").await;
        let mut first = gateway.client().await;
        let request = body.to_string();
        let length = request.len();
        let request = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n{COUNT}: 0\r\ncontent-length: {length}\r\n\r\n{request}"
        );
        soon(first.send(request.as_bytes())).await.unwrap();
        soon(provider.wait_for_calls(1)).await;
        let mut retry = gateway.client().await;
        let retried = tokio::spawn(async move {
            let head = retry.post_json(CHAT, &body, &[(COUNT, "1")]).await.unwrap();
            Reply {
                head,
                client: retry,
            }
        });
        let id = only_stream(&gateway, 2).await;
        gate.open();
        let retried = soon(retried).await.unwrap();
        assert_eq!(retried.stream(), id);
        assert_eq!(retried.header("idempotent-replayed"), "true");
        // The request that it repeats may have been given up, or not: it gets the same.
        let head = soon(first.read_head()).await.unwrap();
        let first = Reply {
            head,
            client: first,
        };
        assert_eq!(first.header("idempotent-replayed"), "");
        assert_eq!(first.body().await, retried.body().await);
        assert_eq!(provider.calls().len(), 1);
    }
}

/// The one stream there is, once it has so many readers.
async fn only_stream(gateway: &Gateway, count: usize) -> String {
    let mut id = None;
    gateway
        .app
        .log
        .scan(&"default".parse().unwrap(), &mut |info| id = Some(info.id));
    let id = id.expect("a stream");
    let id = id.to_string();
    readers(gateway, &id, count).await;
    id
}

#[tokio::test]
async fn a_retry_attaches_to_an_answer_that_lost_its_reader() {
    let (provider, gateway, gate) = holding(4, "").await;
    let mut first = attempt(&gateway, &chat("x"), "0").await;
    let id = first.stream();
    let seen = [
        first.event().await,
        first.event().await,
        first.event().await,
    ];
    first.client.cut().unwrap();
    readers(&gateway, &id, 0).await;
    let retry = attempt(&gateway, &chat("x"), "1").await;
    assert_eq!(retry.stream(), id);
    assert_eq!(retry.header("idempotent-replayed"), "true");
    gate.open();
    let frames = retry.frames().await;
    assert_eq!(events(&frames)[..3], events(&seen));
    assert_eq!(data(&frames), answer().expected_data_without_usage());
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_retry_attaches_to_a_whole_answer_that_nobody_got() {
    let (provider, gateway, gate) = holding(4, "on_disconnect = \"continue\"").await;
    let mut first = attempt(&gateway, &chat("x"), "0").await;
    let id = first.stream();
    first.event().await;
    first.client.cut().unwrap();
    readers(&gateway, &id, 0).await;
    gate.open();
    assert_eq!(ended(&gateway, &id).await["status"], "completed");
    // The look at it above was no client of the request, which still has no answer.
    let retry = attempt(&gateway, &chat("x"), "1").await;
    assert_eq!(retry.stream(), id);
    assert_eq!(
        data(&retry.frames().await),
        answer().expected_data_without_usage()
    );
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn an_answer_that_somebody_reads_or_got_is_not_attached_to() {
    let (provider, gateway, gate) = holding(4, "").await;
    let mut first = attempt(&gateway, &chat("x"), "0").await;
    first.event().await;
    let beside = attempt(&gateway, &chat("x"), "1").await;
    assert_eq!(beside.header("idempotent-replayed"), "");
    assert_ne!(beside.stream(), first.stream());
    gate.open();
    first.frames().await;
    beside.frames().await;
    let after = attempt(&gateway, &chat("x"), "2").await;
    assert_eq!(after.header("idempotent-replayed"), "");
    after.frames().await;
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test]
async fn a_failed_answer_is_not_attached_to() {
    let provider =
        FakeProvider::start(|_| Script::openai_error(500, "server_error", "oops", "It broke."))
            .await;
    let gateway = Setup::new(&provider).start().await;
    for body in [chat("x"), unary_chat("x")] {
        let first = attempt(&gateway, &body, "0").await;
        let retry = attempt(&gateway, &body, "1").await;
        assert_ne!(retry.stream(), first.stream());
        assert_eq!(retry.header("idempotent-replayed"), "");
    }
    assert_eq!(provider.calls().len(), 4);
}

#[tokio::test]
async fn a_cancelled_answer_is_not_attached_to() {
    let (provider, gateway, gate) = holding(4, "on_disconnect = \"cancel\"").await;
    let mut first = attempt(&gateway, &chat("x"), "0").await;
    let id = first.stream();
    first.event().await;
    first.client.cut().unwrap();
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
    gate.open();
    let retry = attempt(&gateway, &chat("x"), "1").await;
    assert_ne!(retry.stream(), id);
    assert_eq!(
        data(&retry.frames().await),
        answer().expected_data_without_usage()
    );
}

#[tokio::test]
async fn an_equal_body_without_the_header_and_any_other_request_is_a_new_one() {
    let gate = Gate::new("never");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let one = ("authorization", &*format!("Bearer {KEY_ONE}"));
    let two = ("authorization", &*format!("Bearer {KEY_TWO}"));
    let first = post(&gateway, CHAT, &chat("x"), &[one, (COUNT, "0")]).await;
    let id = first.stream();
    first.client.cut().unwrap();
    readers(&gateway, &id, 0).await;
    let mut spaced = chat("x");
    spaced["seed"] = json!(1);
    for (path, body, headers) in [
        (CHAT, chat("x"), vec![one]),
        (CHAT, chat("x"), vec![one, (COUNT, "x")]),
        (CHAT, chat("y"), vec![one, (COUNT, "1")]),
        (CHAT, spaced, vec![one, (COUNT, "1")]),
        (CHAT, chat("x"), vec![two, (COUNT, "1")]),
        ("/v1/completions", chat("x"), vec![one, (COUNT, "1")]),
    ] {
        let other = post(&gateway, path, &body, &headers).await;
        assert_eq!(
            other.header("idempotent-replayed"),
            "",
            "{path} {body} {headers:?}"
        );
        assert_ne!(other.stream(), id);
    }
    assert_eq!(provider.calls().len(), 7);
    let retry = post(&gateway, CHAT, &chat("x"), &[one, (COUNT, "1")]).await;
    assert_eq!(retry.stream(), id);
    assert_eq!(provider.calls().len(), 7);
}

#[tokio::test]
async fn after_the_window_a_retry_is_a_new_request() {
    let (provider, gateway, gate) = holding(4, "retry_attach = \"0s\"").await;
    let first = attempt(&gateway, &chat("x"), "0").await;
    let id = first.stream();
    first.client.cut().unwrap();
    readers(&gateway, &id, 0).await;
    gate.open();
    let retry = attempt(&gateway, &chat("x"), "1").await;
    assert_ne!(retry.stream(), id);
    retry.frames().await;
    assert_eq!(provider.calls().len(), 2);
}
