//! Everstream inside somebody's own program: the example, run.

use everstream_testkit::client::{BodyEnd, RawClient};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use serde_json::json;

use crate::harness::{Setup, data, within};

#[expect(dead_code, reason = "its main is not called here")]
#[path = "../../examples/embed.rs"]
mod embed;

#[tokio::test]
async fn the_example_serves_its_own_route_beside_everstreams() {
    let answer = ChatAnswer::new(["from", " within"]);
    let expected = answer.expected_data();
    let provider = FakeProvider::start(move |_| Script::chat_stream(&answer)).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Setup::new(&provider).parsed(dir.path());
    let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let routes = embed::routes(config).await.unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });

    within(async {
        let mut client = RawClient::connect(addr).await.unwrap();
        let head = client.get("/countdown", &[]).await.unwrap();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        let (frames, end) = client.collect_sse().await.unwrap();
        assert_eq!(
            (data(&frames), end),
            (
                ["3", "2", "1", "0"].map(str::to_owned).to_vec(),
                BodyEnd::Clean
            )
        );
        assert!(
            frames
                .iter()
                .all(|frame| frame.event.as_deref() == Some("left"))
        );

        let body = json!({"model": "m", "stream": true, "messages": []});
        let head = client
            .post_json("/v1/chat/completions", &body, &[])
            .await
            .unwrap();
        assert!(head.header("x-request-id").is_some());
        let (frames, _) = client.collect_sse().await.unwrap();
        assert_eq!(data(&frames), expected);
        let id = head.header("everstream-stream-id").unwrap();
        client.get(&format!("/v1/streams/{id}"), &[]).await.unwrap();
        assert_eq!(client.read_json().await.unwrap()["status"], "completed");
    })
    .await;
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn messages_go_out_one_by_one_with_comments_in_silence() {
    use axum::response::IntoResponse;
    use everstream::sse::{Sse, SseMessage};
    use futures_util::StreamExt;
    use http_body_util::BodyExt;
    use std::time::Duration;

    let second = Duration::from_secs(1);
    let messages = futures_util::stream::iter([0, 1, 5]).then(move |wait| async move {
        tokio::time::sleep(second * wait).await;
        SseMessage::new().data(format!("after {wait}")).id("7")
    });
    let response = Sse::new(messages).heartbeat(2 * second).into_response();
    let mut body = response.into_body();
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        got.push(frame.unwrap().into_data().unwrap());
    }
    let event = |wait| format!("data: after {wait}\nid: 7\n\n");
    let ping = ": ping\n".to_owned();
    assert_eq!(got, [event(0), event(1), ping.clone(), ping, event(5)]);
}
