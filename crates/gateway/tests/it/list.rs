//! `GET /v1/streams`: pages, waiting for a match, the live feed.

use std::pin::pin;
use std::time::Duration;

use everstream_testkit::client::{BodyEnd, RawClient};
use everstream_testkit::provider::{FakeProvider, Gate, Script};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup, StillTime, until};
use crate::socket::{answer, finished, generate, held_provider, soon};

async fn provider() -> FakeProvider {
    FakeProvider::start(|_| Script::chat_stream(&answer())).await
}

/// A list for `key`: the client and the status.
async fn request(gateway: &Gateway, query: &str, key: &str) -> (RawClient, u16) {
    let mut client = gateway.client().await;
    let bearer = format!("Bearer {key}");
    let path = format!("/v1/streams{query}");
    let head = client.get(&path, &[("authorization", &bearer)]).await;
    (client, head.unwrap().status)
}

async fn list(gateway: &Gateway, query: &str, key: &str) -> Value {
    let (mut client, status) = soon(request(gateway, query, key)).await;
    assert_eq!(status, 200, "{query}");
    soon(client.read_json()).await.unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    let streams = page["data"].as_array().unwrap().iter();
    streams.map(|info| info["id"].as_str().unwrap()).collect()
}

/// A finished generation of this model, not in the time of the one before it.
async fn of_model(gateway: &Gateway, model: &str) -> String {
    let now = gateway.app.clock.now();
    while gateway.app.clock.now() == now {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut client = gateway.client().await;
    let body = json!({"model": model, "stream": true, "messages": []});
    let bearer = format!("Bearer {KEY_ONE}");
    let headers = [("authorization", bearer.as_str())];
    let head = client
        .post_json("/v1/chat/completions", &body, &headers)
        .await
        .unwrap();
    soon(client.collect_sse()).await.unwrap();
    head.header("everstream-stream-id").unwrap().to_owned()
}

#[tokio::test]
async fn a_project_sees_its_own_streams_by_page_order_and_query() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let empty =
        json!({"object": "list", "data": [], "total": 0, "page": 1, "size": 20, "has_more": false});
    assert_eq!(list(&gateway, "", KEY_ONE).await, empty);
    let mut made = Vec::new();
    for model in ["alpha", "beta", "gamma", "alphabet", "delta"] {
        made.push(of_model(&gateway, model).await);
    }
    let others = finished(&gateway, KEY_TWO).await;
    let [alpha, beta, gamma, alphabet, delta] = &made[..] else {
        panic!("five were made");
    };
    for (query, expected, total) in [
        ("", vec![delta, alphabet, gamma, beta, alpha], 5),
        ("?sort=created_at:asc&size=2", vec![alpha, beta], 5),
        (
            "?sort=created_at:asc&size=2&page=2",
            vec![gamma, alphabet],
            5,
        ),
        ("?sort=created_at:asc&size=2&page=3", vec![delta], 5),
        ("?size=2&page=4", vec![], 5),
        (
            "?sort=model:asc",
            vec![alpha, alphabet, beta, delta, gamma],
            5,
        ),
        (
            "?query=model:alpha%20status:completed",
            vec![alphabet, alpha],
            2,
        ),
        ("?query=status:running", vec![], 0),
        ("?query=amm", vec![gamma], 1),
    ] {
        let page = list(&gateway, query, KEY_ONE).await;
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page["total"], total, "{query}");
        let (number, size) = (
            page["page"].as_u64().unwrap(),
            page["size"].as_u64().unwrap(),
        );
        assert_eq!(page["has_more"], number * size < total, "{query}");
    }
    let one = list(&gateway, &format!("?query=id:{alpha}"), KEY_ONE).await;
    let info = &one["data"][0];
    assert_eq!(info["status"], "completed");
    assert_eq!(info["model"], "alpha");
    assert_eq!(info["project"], "one");
    assert_eq!(info["last_seq"], 8);
    assert!(info["ended_at"].as_u64() >= info["created_at"].as_u64());
    assert_eq!(ids(&list(&gateway, "", KEY_TWO).await), [&others]);
    let theirs = format!("?query=id:{others}");
    assert_eq!(list(&gateway, &theirs, KEY_ONE).await["total"], 0);
}

#[tokio::test]
async fn a_mistake_names_its_parameter() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    for (query, param) in [
        ("page=0", "page"),
        ("page=x", "page"),
        ("size=201", "size"),
        ("sort=create_at", "sort"),
        ("sort=created_at:down", "sort"),
        ("timeout=0", "timeout"),
        ("timeout=3601", "timeout"),
        ("timeout=-1", "timeout"),
        ("stream=maybe", "stream"),
    ] {
        let (mut client, status) = soon(request(&gateway, &format!("?{query}"), KEY_ONE)).await;
        assert_eq!(status, 400, "{query}");
        let problem = soon(client.read_json()).await.unwrap();
        assert_eq!(problem["code"], "invalid_value", "{query}");
        let told = format!("{} {}", problem["param"], problem["detail"]);
        assert!(told.contains(param), "{query}: {told}");
    }
    for query in ["", "?stream=true"] {
        let (_, status) = soon(request(&gateway, query, "unknown")).await;
        assert_eq!(status, 401);
    }
}

#[tokio::test]
async fn an_empty_page_waits_for_a_match_of_its_own_project() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let waiting = request(&gateway, "?query=status:completed&timeout=60", KEY_ONE);
    let (_other, _others) = generate(&gateway, KEY_TWO).await;
    let (mine, _client) = generate(&gateway, KEY_ONE).await;
    let mut waiting = pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting);
    assert!(early.await.is_err(), "nothing has completed yet");
    gate.open();
    let (mut client, status) = soon(waiting).await;
    assert_eq!(status, 200);
    let page = soon(client.read_json()).await.unwrap();
    assert_eq!(ids(&page), [&mine]);
}

#[tokio::test]
async fn a_wait_without_a_match_ends_in_time() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let time = StillTime::begin();
    let mut waiting = pin!(request(&gateway, "?timeout=40", ""));
    soon(async {
        tokio::select! {
            _ = &mut waiting => panic!("it did not wait"),
            () = until(|| gateway.app.generator.changes.receiver_count() == 1) => {}
        }
    })
    .await;
    time.pass(Duration::from_secs(39)).await;
    assert!((&mut waiting).now_or_never().is_none(), "answered early");
    time.pass(Duration::from_secs(2)).await;
    let (mut client, status) = soon(waiting).await;
    assert_eq!(status, 200);
    assert_eq!(soon(client.read_json()).await.unwrap()["total"], 0);
}

#[tokio::test]
async fn a_feed_shows_what_is_there_and_then_each_change_that_matches() {
    let gate = Gate::new("rest");
    let provider = held_provider(&gate).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (old, _client) = generate(&gateway, KEY_ONE).await;
    let (mut feed, status) = soon(request(&gateway, "?stream=true", KEY_ONE)).await;
    assert_eq!(status, 200);
    let (mut ended, _) = soon(request(
        &gateway,
        "?stream=true&query=status:completed",
        KEY_ONE,
    ))
    .await;
    let (_theirs, _others_client) = generate(&gateway, KEY_TWO).await;
    let (new, _new_client) = generate(&gateway, KEY_ONE).await;
    gate.open();
    let mut seen = Vec::new();
    while seen
        .iter()
        .filter(|(_, status)| status == "completed")
        .count()
        < 2
    {
        let frame = soon(feed.read_event()).await.unwrap().unwrap();
        assert_eq!(frame.event.as_deref(), Some("stream"));
        assert_eq!(frame.id, None);
        let info: Value = serde_json::from_str(&frame.data.unwrap()).unwrap();
        seen.push((
            info["id"].as_str().unwrap().to_owned(),
            info["status"].as_str().unwrap().to_owned(),
        ));
    }
    assert_eq!(seen[0], (old.clone(), "running".into()));
    let of = |id: &String| {
        let states = seen.iter().filter(|(seen, _)| seen == id);
        let mut states: Vec<_> = states.map(|(_, status)| status.as_str()).collect();
        states.dedup();
        states
    };
    assert_eq!(of(&old), ["running", "completed"]);
    let news = of(&new);
    assert!(news.ends_with(&["running", "completed"]), "{news:?}");
    assert!(seen.iter().all(|(id, _)| *id == old || *id == new));
    for _ in 0..2 {
        let frame = soon(ended.read_event()).await.unwrap().unwrap();
        let info: Value = serde_json::from_str(&frame.data.unwrap()).unwrap();
        assert_eq!(info["status"], "completed");
    }
}

#[tokio::test]
async fn a_feed_is_never_silent_for_long_and_ends_in_time() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    // Others' streams change all the time: that is no news here, and no reason to be silent.
    let stream = finished(&gateway, KEY_TWO).await.parse().unwrap();
    let time = StillTime::begin();
    let (mut feed, _) = soon(request(&gateway, "?stream=true&timeout=40", KEY_ONE)).await;
    let changes = gateway.app.generator.changes.clone();
    let noise = async |seconds| {
        for _ in 0..seconds {
            let _ = changes.send(stream);
            time.pass(Duration::from_secs(1)).await;
        }
    };
    let ping = async |feed: &mut RawClient| {
        let frame = soon(feed.read_sse_frame()).await.unwrap();
        assert_eq!(frame.as_deref(), Some(&b": ping\n"[..]));
    };
    ping(&mut feed).await;
    for _ in 0..2 {
        // A heartbeat is due each 15 s; when the first one left is not known to the second.
        noise(16).await;
        ping(&mut feed).await;
    }
    noise(10).await;
    // That is all there was: it waited for this, and no news came with the noise.
    let (frames, end) = soon(feed.collect_sse()).await.unwrap();
    assert_eq!((frames, end), (Vec::new(), BodyEnd::Clean));
}

#[tokio::test]
async fn feeds_and_waits_end_with_the_process() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let (mut feed, _) = soon(request(&gateway, "?stream=true", "")).await;
    soon(feed.read_some()).await.unwrap();
    let mut waiting = gateway.client().await;
    waiting
        .send(b"GET /v1/streams?timeout=3600 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let first = soon(async {
        // Both are subscribed to the changes.
        while gateway.app.generator.changes.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
        gateway.stop().await;
        waiting.read_head().await
    });
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(soon(feed.read_body()).await.unwrap().1, BodyEnd::Clean);
}
