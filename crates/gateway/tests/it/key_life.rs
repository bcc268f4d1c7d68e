//! How long an `Idempotency-Key` is held: until the provider surely ran nothing, else as long as its
//! stream is remembered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_testkit::provider::{Cut, FakeProvider, Gate, Nobody, ReceivedRequest, Script};
use serde_json::json;

use crate::harness::{Gateway, Setup, StillTime};
use crate::identity::{again, keyed};
use crate::talk::{CHAT, answer, answer_to, chat, page, post};

/// Fails as the request's message says, unless it is told to answer.
fn fail_unless(answers: &AtomicBool, request: &ReceivedRequest) -> Script {
    if answers.load(Ordering::SeqCst) {
        return answer_to(request);
    }
    match request.json()["messages"][0]["content"].as_str().unwrap() {
        "cut" => Script::chat_stream(&answer()).cut_after_events(1, Cut::Reset),
        "no answer" => Script::hang_up(Cut::Close),
        "silence" => Script::chat_stream(&answer()).gate_before_head(&Gate::new("never")),
        "html" => Script::html_200(),
        status => Script::openai_error(status.parse().unwrap(), "x", "x", "Refused."),
    }
}

#[tokio::test]
async fn the_key_is_free_again_only_when_the_provider_surely_ran_nothing() {
    let answers = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&answers);
    let provider = FakeProvider::start(move |request| fail_unless(&told, request)).await;
    let setup = Setup::default();
    let mut gateway = setup
        .upstream("fake", &provider.base_url(), "first_event_timeout = \"1s\"")
        .start()
        .await;
    let time = StillTime::begin();
    let released = ["401", "403", "404", "422", "429", "503"];
    let kept = [
        "400",
        "500",
        "502",
        "504",
        "cut",
        "no answer",
        "silence",
        "html",
    ];
    let ask = async |gateway: &Gateway, how: &str, stream: bool| {
        let mut body = chat(how);
        body["stream"] = json!(stream);
        let key = format!("{how}:{stream}").replace(' ', "-");
        post(gateway, CHAT, &body, &[("idempotency-key", &key)]).await
    };
    let mut failed = Vec::new();
    for how in released.iter().chain(&kept) {
        for stream in [true, false] {
            let calls = provider.calls().len() as u64;
            let passes = async {
                provider.wait_for_calls(calls + 1).await;
                if *how == "silence" {
                    time.pass(Duration::from_secs(2)).await;
                }
            };
            let (reply, ()) = tokio::join!(ask(&gateway, how, stream), passes);
            let status = reply.head.status;
            assert!(status >= 400, "{how}");
            let id = reply.stream();
            let body = reply.body().await;
            failed.push((*how, stream, id, status, body));
        }
    }
    answers.store(true, Ordering::SeqCst);
    // What a key holds, it holds over a restart.
    let dir = gateway.stop().await;
    gateway = Setup::new(&provider).data_dir(dir).start().await;
    for (how, stream, id, status, body) in failed {
        let reply = ask(&gateway, how, stream).await;
        if released.contains(&how) {
            assert_eq!(reply.head.status, 200, "{how}");
            assert_eq!(reply.header("idempotent-replayed"), "", "{how}");
            let second = reply.stream();
            assert_ne!(second, id, "{how}");
            reply.body().await;
            // And now the new stream holds it; the old one is still there to be read.
            assert_eq!(ask(&gateway, how, stream).await.stream(), second);
            assert_eq!(page(&gateway, &id).await["status"], "failed");
        } else {
            assert_eq!(reply.header("idempotent-replayed"), "true", "{how}");
            assert_eq!((reply.stream(), reply.head.status), (id, status), "{how}");
            assert_eq!(reply.body().await, body, "{how}");
        }
    }
}

#[tokio::test]
async fn a_refused_connection_frees_the_key() {
    let nobody = Nobody::new().unwrap();
    let gateway = Setup::default().upstream("fake", &nobody.base_url(), "");
    let gateway = gateway.start().await;
    let mut streams = BTreeSet::new();
    for _ in 0..2 {
        let refused = keyed(&gateway, &chat("x")).await;
        assert_eq!(refused.header("idempotent-replayed"), "");
        streams.insert(refused.stream());
        assert_eq!(refused.error(502).await, "upstream_unreachable");
    }
    assert_eq!(streams.len(), 2);
}

#[tokio::test]
async fn a_key_outlives_its_stream_as_a_410() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let first = keyed(&gateway, &chat("x")).await;
    let id = first.stream();
    first.frames().await;
    gateway.app.log.delete(id.parse().unwrap()).await.unwrap();
    let gone = keyed(&gateway, &chat("x")).await;
    assert_eq!(gone.stream(), id);
    assert_eq!(gone.error(410).await, "stream_gone");
    assert_eq!(
        keyed(&gateway, &chat("y")).await.error(422).await,
        "idempotency_mismatch"
    );
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_key_survives_a_restart() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let first = keyed(&gateway, &chat("x")).await;
    let id = first.stream();
    let all = first.frames().await;
    let dir = gateway.stop().await;
    let gateway = Setup::new(&provider).data_dir(dir).start().await;
    assert_eq!(again(&gateway, &chat("x"), &id).await.frames().await, all);
    assert_eq!(
        keyed(&gateway, &chat("y")).await.error(422).await,
        "idempotency_mismatch"
    );
    assert_eq!(provider.calls().len(), 1);
}
