//! An upstream whose connection is cut while its run goes on: another Everstream, or a response in the
//! background. The client gets every byte, and the provider is called once.

use everstream_core::id::StreamId;
use everstream_core::record::{Record, SeamKind};
use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::json;

use crate::harness::{Gateway, Setup};
use crate::proxy::{Manner, Proxy};
use crate::talk::{
    CHAT, Reply, answer, answer_to, chat, data, ended, held, page, post, running, send, soon,
    unary_chat,
};

/// A gateway in front of another one at this address.
fn before(url: &str, more: &str) -> Setup {
    let more = format!("models = [\"m\"]\n{more}");
    Setup::default().upstream("behind", &format!("{url}/v1"), &more)
}

const KEYED: &str = "provider = \"everstream\"";

/// A gateway that cuts connections, in front of a provider: this many, each after so many bytes.
async fn cutting(behind: &Gateway, connections: usize, bytes: usize) -> Proxy {
    Proxy::start(behind.addr, Manner::Cut { connections, bytes }).await
}

/// The seams of a stream, as its log has them, and how often somebody was asked.
async fn seams(gateway: &Gateway, stream: &str) -> (Vec<(SeamKind, u64)>, usize) {
    let id: StreamId = stream.parse().unwrap();
    let records = gateway.app.log.audit(id).await.unwrap();
    let seam = |record: &Record| match record {
        Record::Seam(seam) => Some((seam.kind, seam.seq.get())),
        _ => None,
    };
    let dialled = |record: &&Record| matches!(record, Record::Dialled(_));
    let dialled = records.iter().filter(dialled).count();
    (records.iter().filter_map(seam).collect(), dialled)
}

/// The data of all events of an answer that came by way of somebody else.
async fn whole(reply: Reply) {
    let expected = answer().expected_data_without_usage();
    assert_eq!(data(&reply.frames().await), expected);
}

#[tokio::test]
async fn wherever_the_connection_is_cut_the_client_gets_every_byte() {
    let provider = FakeProvider::start(answer_to).await;
    let behind = Setup::new(&provider).start().await;
    let mut calls = provider.calls().len();
    let mut reattached = 0;
    for bytes in [0, 1, 300, 600, 700, 800, 900, 1000, 1200, 1400] {
        for connections in [1, 3] {
            let proxy = cutting(&behind, connections, bytes).await;
            let gateway = before(&proxy.url, KEYED).start().await;
            let reply = post(&gateway, CHAT, &chat("x"), &[]).await;
            let id = reply.stream();
            whole(reply).await;
            calls += 1;
            assert_eq!(provider.calls().len(), calls, "cut after {bytes}");
            let stream = page(&gateway, &id).await;
            assert_eq!(stream["status"], "completed");
            assert_eq!(stream["usage"]["input_tokens"], 7, "cut after {bytes}");
            let (seams, dialled) = seams(&gateway, &id).await;
            assert_eq!(dialled, 1);
            assert!(seams.iter().all(|seam| seam.0 == SeamKind::Reattached));
            reattached += seams.len();
        }
    }
    assert!(reattached >= 10, "{reattached}");
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_asked_for_again_under_its_key() {
    let provider = FakeProvider::start(answer_to).await;
    let behind = Setup::new(&provider).start().await;
    let before_it = provider.calls().len();
    let proxy = cutting(&behind, 1, 10).await;
    let gateway = before(&proxy.url, KEYED).start().await;
    let reply = post(&gateway, CHAT, &unary_chat("x"), &[]).await;
    assert_eq!(reply.json(200).await, answer().to_json());
    assert_eq!(provider.calls().len(), before_it + 1);
}

#[tokio::test]
async fn every_api_is_read_on() {
    for (path, body) in [
        (CHAT, chat("x")),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "stream": true, "input": "x"}),
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
        ),
    ] {
        let provider = FakeProvider::start(answer_to).await;
        let behind = Setup::new(&provider).start().await;
        let proxy = cutting(&behind, 2, 1000).await;
        let gateway = before(&proxy.url, KEYED).start().await;
        let before_it = provider.calls().len();
        let reply = post(&gateway, path, &body, &[]).await;
        let id = reply.stream();
        let frames = reply.frames().await;
        let text = data(&frames).concat();
        assert!(text.contains("Wind") && text.contains("風"), "{text}");
        assert!(!text.contains("\"error\":{"), "{path}: {text}");
        assert_eq!(page(&gateway, &id).await["status"], "completed", "{path}");
        assert_eq!(provider.calls().len(), before_it + 1, "{path}");
        assert!(!seams(&gateway, &id).await.0.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn who_says_so_itself_needs_no_row_to_be_found_again() {
    let gate = Gate::new("third");
    let script = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &script)).await;
    let behind = Setup::new(&provider).start().await;
    let proxy = cutting(&behind, 1, 1100).await;
    let gateway = before(&proxy.url, "").start().await;
    let (reply, id, _) = running(&gateway, 2).await;
    gate.open();
    let frames = reply.frames().await;
    assert_eq!(data(&frames).last().unwrap(), "[DONE]");
    assert_eq!(ended(&gateway, &id).await["status"], "completed");
    assert_eq!(seams(&gateway, &id).await.0.len(), 1);
}

#[tokio::test]
async fn a_cancellation_reaches_the_provider_behind_another_gateway() {
    let gate = Gate::new("never");
    let script = gate.clone();
    let provider = FakeProvider::start(move |_| held(3, &script)).await;
    let behind = Setup::new(&provider).start().await;
    let url = format!("http://{}", behind.addr);
    let gateway = before(&url, KEYED).start().await;
    let (_reply, id, _) = running(&gateway, 3).await;
    let other = behind.app.generator.registry.all()[0].id().to_string();
    let reply = send(&gateway, "DELETE", &format!("/v1/streams/{id}"), &[]).await;
    assert_eq!(reply.json(200).await["status"], "cancelled");
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&behind, &other).await["status"], "cancelled");
}
