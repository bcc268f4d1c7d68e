//! The OpenAI dialect, passed through.

use everstream_testkit::provider::{ChatAnswer, FakeProvider, Script};
use serde_json::json;

use crate::harness::{Setup, UPSTREAM_KEY, data};

fn answer() -> ChatAnswer {
    ChatAnswer::new(["Wind", " auf", " 風", " 🌬️", "."]).with_usage(7)
}

#[tokio::test]
async fn a_streamed_answer_has_the_upstreams_own_bytes_and_hides_usage_nobody_asked_for() {
    let provider = FakeProvider::start(|_| Script::chat_stream(&answer())).await;
    let gateway = Setup::new(&provider).start().await;
    for asked in [false, true] {
        let mut body =
            json!({"model": "m", "stream": true, "messages": [], "x_vendor": {"k": [1, 2.50]}});
        if asked {
            body["stream_options"] = json!({"include_usage": true});
        }
        let mut client = gateway.client().await;
        let head = client
            .post_json("/v1/chat/completions", &body, &[])
            .await
            .unwrap();
        assert_eq!(head.status, 200);
        let (frames, _) = client.collect_sse().await.unwrap();
        let expected = if asked {
            answer().expected_data()
        } else {
            answer().expected_data_without_usage()
        };
        assert_eq!(data(&frames), expected);
        let id = head.header("everstream-stream-id").unwrap().to_owned();
        assert_eq!(
            head.header("content-location"),
            Some(format!("/v1/streams/{id}").as_str())
        );
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!(frame.id, Some(format!("{id}.{}", at + 1)));
        }
        let call = provider.calls().pop().unwrap();
        assert_eq!(
            call.header("authorization"),
            Some(format!("Bearer {UPSTREAM_KEY}").as_str())
        );
        assert!(call.wants_usage());
        assert_eq!(call.json()["x_vendor"], body["x_vendor"]);
    }
}
