use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::accept;
use super::*;
use crate::client::{BodyEnd, RawClient};

const CHAT: &str = "/v1/chat/completions";

/// A running named provider; the set owns its task.
async fn start(key: Option<&'static str>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let traffic = Arc::new(Traffic::default());
    let counted = Arc::clone(&traffic);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, counted, move |request| {
        answer(request, &traffic, key)
    }));
    (addr, tasks)
}

async fn data_of(addr: SocketAddr, path: &str, body: Value) -> (Vec<String>, BodyEnd) {
    let mut client = RawClient::connect(addr).await.unwrap();
    client.post_json(path, &body, &[]).await.unwrap();
    let (frames, end) = client.collect_sse().await.unwrap();
    (
        frames.into_iter().filter_map(|frame| frame.data).collect(),
        end,
    )
}

async fn json_of(addr: SocketAddr, path: &str, body: Value) -> (u16, Value) {
    let mut client = RawClient::connect(addr).await.unwrap();
    let head = client.post_json(path, &body, &[]).await.unwrap();
    (head.status, client.read_json().await.unwrap())
}

#[test]
fn names_that_are_none_are_refused() {
    for model in [
        "fake",
        "fake-3-0",
        "fake-3-0-x8",
        "fake-x2",
        "fake-cut-0",
        "fake-slow-first-9",
    ] {
        assert!(Behaviour::of(model).is_some(), "{model}");
    }
    for model in [
        "",
        "gpt-5",
        "fakes",
        "fake-",
        "fake-1",
        "fake-1-2-3",
        "fake--1",
        "fake-+1-1",
        "fake-x0",
        "fake-error-200",
        "fake-error-99999",
        "fake-cut",
        "fake-1000001-0",
        "x8",
    ] {
        assert_eq!(Behaviour::of(model), None, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_sets_tokens_and_pace() {
    let (addr, _tasks) = start(None).await;
    for (model, millis) in [
        ("fake", 95),
        ("fake-9-100", 800),
        ("fake-9-100-x4", 200),
        ("fake-9-0", 0),
        ("fake-slow-first-1000", 1095),
    ] {
        let started = tokio::time::Instant::now();
        let (data, end) = data_of(addr, CHAT, json!({"model": model, "stream": true})).await;
        assert_eq!(started.elapsed().as_millis(), millis, "{model}");
        let tokens = if model.starts_with("fake-9") { 9 } else { 20 };
        assert_eq!((data.len(), end), (tokens + 3, BodyEnd::Clean), "{model}");
        assert!(data[1].contains(&format!("{:?}", token(0))));
    }
}

#[tokio::test]
async fn a_stream_and_a_body_have_the_same_text() {
    let (addr, _tasks) = start(None).await;
    for (path, field) in [(CHAT, "/delta/content"), ("/v1/completions", "/text")] {
        let asked = json!({"model": "fake-40-0", "stream": true, "stream_options": {"include_usage": true}});
        let (data, _) = data_of(addr, path, asked).await;
        let chunks: Vec<Value> = data[..data.len() - 1]
            .iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let streamed: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0].pointer(field)?.as_str())
            .collect();
        let (status, body) = json_of(addr, path, json!({"model": "fake-40-0"})).await;
        let whole = field.replace("delta", "message");
        assert_eq!(status, 200);
        assert_eq!(body["choices"][0].pointer(&whole).unwrap(), &streamed);
        assert_eq!(body["usage"], chunks.last().unwrap()["usage"]);
        assert_eq!(body["usage"]["completion_tokens"], 40);
        assert!(streamed.contains("東京") && streamed.contains('🦀'));
    }
}

#[tokio::test]
async fn faults_are_as_the_name_says() {
    let (addr, _tasks) = start(None).await;
    let ask =
        async |model: &str| data_of(addr, CHAT, json!({"model": model, "stream": true})).await;
    let (data, end) = ask("fake-cut-3").await;
    assert_eq!((data.len(), end), (4, BodyEnd::Cut));
    let (data, end) = ask("fake-midstream-error-2").await;
    assert_eq!((data.len(), end), (4, BodyEnd::Clean));
    assert!(data[3].contains("error"));
    let (data, end) = ask("fake-nodone").await;
    assert_eq!((data.len(), end), (22, BodyEnd::Clean));
    assert!(data[21].contains(r#""finish_reason":"stop""#));

    let mut client = RawClient::connect(addr).await.unwrap();
    let head = client
        .post_json(CHAT, &json!({"model": "fake-error-429"}), &[])
        .await
        .unwrap();
    assert_eq!((head.status, head.header("retry-after")), (429, Some("1")));
    assert_eq!(
        client.read_json().await.unwrap()["error"]["type"],
        "rate_limit_error"
    );
    client
        .post_json(CHAT, &json!({"model": "fake-cut-3"}), &[])
        .await
        .unwrap();
    assert_eq!(client.read_body().await.unwrap().1, BodyEnd::Cut);

    let (status, body) = json_of(addr, CHAT, json!({"model": "gpt-5"})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}

#[tokio::test]
async fn embeddings_depend_on_the_input_alone() {
    let (addr, _tasks) = start(None).await;
    let asked = json!({"model": "fake", "input": ["one", "two"], "dimensions": 4});
    let (_, floats) = json_of(addr, "/v1/embeddings", asked.clone()).await;
    let mut asked = asked;
    asked["encoding_format"] = json!("base64");
    let (_, packed) = json_of(addr, "/v1/embeddings", asked).await;
    assert_eq!(floats["data"].as_array().unwrap().len(), 2);
    for n in 0..2 {
        let bytes = BASE64
            .decode(packed["data"][n]["embedding"].as_str().unwrap())
            .unwrap();
        let unpacked: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(unpacked.len(), 4);
        assert_eq!(json!(unpacked), floats["data"][n]["embedding"]);
    }
    assert_ne!(
        floats["data"][0]["embedding"],
        floats["data"][1]["embedding"]
    );
    let (_, one) = json_of(addr, "/v1/embeddings", json!({"input": [1, 2, 3]})).await;
    assert_eq!(
        one["data"].as_array().unwrap().len(),
        1,
        "token ids are one input"
    );
}

#[tokio::test]
async fn calls_are_counted_by_path_and_set_back() {
    let (addr, _tasks) = start(None).await;
    data_of(addr, CHAT, json!({"model": "fake-2-0", "stream": true})).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    client.get("/v1/models", &[]).await.unwrap();
    assert_eq!(client.read_json().await.unwrap()["data"][0]["id"], "fake");
    client.get("/_calls", &[]).await.unwrap();
    let by_path = json!({CHAT: 1, "/v1/models": 1});
    let counts = json!({"total": 1, "by_path": by_path, "hangups": 0, "events_written": 5});
    assert_eq!(client.read_json().await.unwrap(), counts);
    client.request("POST", "/_reset", &[], b"").await.unwrap();
    assert_eq!(client.read_json().await.unwrap()["by_path"], json!({}));
}

#[tokio::test]
async fn a_key_is_wanted_only_when_set() {
    let (addr, _tasks) = start(Some("secret")).await;
    let mut client = RawClient::connect(addr).await.unwrap();
    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer wrong")][..], 401),
        (&[("authorization", "Bearer secret")][..], 200),
    ] {
        assert_eq!(
            client.get("/v1/models", headers).await.unwrap().status,
            status
        );
        client.read_body().await.unwrap();
    }
    assert_eq!(client.get("/_calls", &[]).await.unwrap().status, 200);
}
