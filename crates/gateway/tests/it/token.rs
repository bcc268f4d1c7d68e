//! Who may read a stream: its project, and the bearer of a read token for it. To everybody else it
//! does not exist.

use everstream_testkit::provider::{FakeProvider, Gate};
use serde_json::{Value, json};

use crate::harness::{Gateway, KEY_ONE, KEY_TWO, Setup};
use crate::talk::{
    CHAT, EVENTS, Reply, answer, answer_to, chat, data, events, get, held, post, send, soon,
};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// A stream of project one, whole or held.
async fn stream_of_one(gateway: &Gateway) -> (Reply, String) {
    let key = bearer(KEY_ONE);
    let reply = post(gateway, CHAT, &chat("x"), &[("authorization", &key)]).await;
    let id = reply.stream();
    (reply, id)
}

/// Asks for a read token with this body.
async fn ask_token(gateway: &Gateway, stream: &str, key: &str, body: &Value) -> Reply {
    let key = bearer(key);
    let path = format!("/v1/streams/{stream}/token");
    post(gateway, &path, body, &[("authorization", &key)]).await
}

async fn token(gateway: &Gateway, stream: &str) -> String {
    let reply = ask_token(gateway, stream, KEY_ONE, &json!({})).await;
    reply.json(200).await["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_lets_an_event_source_read_its_stream_without_a_key() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (first, id) = stream_of_one(&gateway).await;
    let reply = ask_token(&gateway, &id, KEY_ONE, &json!({})).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let made = reply.json(200).await;
    let token = made["token"].as_str().unwrap();
    let url = made["url"].as_str().unwrap();
    assert_eq!(url, format!("/v1/streams/{id}?token={token}"));
    let now = gateway.app.clock.now().0 / 1000;
    let expires_at = made["expires_at"].as_u64().unwrap();
    assert!(
        (now + 540..=now + 600).contains(&expires_at),
        "{expires_at}, now {now}"
    );
    // As a browser does: no key, the token in the URL, later a Last-Event-ID.
    let mut source = get(&gateway, url, &[EVENTS]).await;
    assert_eq!(source.head.status, 200);
    let mut last = source.event().await;
    for _ in 1..3 {
        last = source.event().await;
    }
    drop(source);
    let cursor = last.id.unwrap();
    let back = get(&gateway, url, &[EVENTS, ("last-event-id", &cursor)]).await;
    let later = get(&gateway, &format!("{url}&after=3"), &[EVENTS]).await;
    gate.open();
    let all = first.frames().await;
    assert_eq!(events(&back.frames().await), events(&all)[3..]);
    assert_eq!(events(&later.frames().await), events(&all)[3..]);
    let at_end = get(
        &gateway,
        url,
        &[EVENTS, ("last-event-id", &format!("{id}.8"))],
    )
    .await;
    assert_eq!(at_end.head.status, 204);
    let page = get(&gateway, url, &[]).await.json(200).await;
    assert_eq!(page["status"], "completed");
}

#[tokio::test]
async fn a_token_is_for_its_stream_for_its_time_and_for_reading_only() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (reply, id) = stream_of_one(&gateway).await;
    reply.frames().await;
    let (reply, other) = stream_of_one(&gateway).await;
    reply.frames().await;
    let token = token(&gateway, &id).await;
    let long_ago = gateway
        .app
        .tokens
        .sign(id.parse().unwrap(), everstream_core::id::UnixMillis(1000));
    let altered = token.replacen('.', ".A", 1);
    for (stream, token) in [
        (&other, &*token),
        (&id, &long_ago),
        (&id, &altered),
        (&id, ""),
        (&id, "x"),
        (&id, KEY_ONE),
        (&"0000000000000".to_owned(), &token),
    ] {
        let path = format!("/v1/streams/{stream}?token={token}");
        for headers in [vec![], vec![EVENTS]] {
            let refused = get(&gateway, &path, &headers).await;
            assert_eq!(refused.problem(401).await, "invalid_api_key", "{path}");
        }
    }
    let path = format!("/v1/streams/{id}?token={token}");
    assert_eq!(
        send(&gateway, "DELETE", &path, &[])
            .await
            .problem(401)
            .await,
        "invalid_api_key"
    );
    let again = format!("/v1/streams/{id}/token?token={token}");
    let refused = post(&gateway, &again, &json!({}), &[]).await;
    assert_eq!(refused.problem(401).await, "invalid_api_key");
    let list = get(&gateway, &format!("/v1/streams?token={token}"), &[]).await;
    assert_eq!(list.problem(401).await, "invalid_api_key");
    let headers = [("authorization", &*bearer(&token))];
    let as_key = get(&gateway, &format!("/v1/streams/{id}"), &headers).await;
    assert_eq!(as_key.problem(401).await, "invalid_api_key");
    assert_eq!(get(&gateway, &path, &[]).await.head.status, 200);
    gateway.app.log.delete(id.parse().unwrap()).await.unwrap();
    assert_eq!(
        get(&gateway, &path, &[EVENTS]).await.problem(410).await,
        "stream_gone"
    );
}

#[tokio::test]
async fn a_tokens_time_is_asked_for_within_bounds() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (reply, id) = stream_of_one(&gateway).await;
    reply.frames().await;
    for seconds in [1, 60, 86_400] {
        let body = json!({"expires_in": seconds});
        let made = ask_token(&gateway, &id, KEY_ONE, &body)
            .await
            .json(200)
            .await;
        let now = gateway.app.clock.now().0 / 1000;
        let expires_at = made["expires_at"].as_u64().unwrap();
        assert!((now.saturating_sub(60) + seconds..=now + seconds).contains(&expires_at));
    }
    for (body, code) in [
        (json!({"expires_in": 0}), "invalid_value"),
        (json!({"expires_in": 86_401}), "invalid_value"),
        (json!({"expires_in": "60"}), "invalid_json"),
        (json!({"expires_in": -1}), "invalid_json"),
        (json!({"expire_in": 60}), "invalid_json"),
        (json!("60"), "invalid_json"),
    ] {
        let refused = ask_token(&gateway, &id, KEY_ONE, &body).await;
        assert_eq!(refused.problem(400).await, code, "{body}");
    }
    let huge = json!({"expires_in": 60, "x": "x".repeat(5000)});
    let refused = ask_token(&gateway, &id, KEY_ONE, &huge).await;
    assert_eq!(refused.problem(413).await, "body_too_large");
}

#[tokio::test]
async fn a_token_survives_a_restart() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (reply, id) = stream_of_one(&gateway).await;
    let all = reply.frames().await;
    let path = format!("/v1/streams/{id}?token={}", token(&gateway, &id).await);
    let dir = gateway.stop().await;
    let gateway = Setup::new(&provider)
        .with_keys()
        .data_dir(dir)
        .start()
        .await;
    assert_eq!(get(&gateway, &path, &[EVENTS]).await.frames().await, all);
}

#[tokio::test]
async fn without_a_key_or_with_a_wrong_one_nothing_is_answered() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (reply, id) = stream_of_one(&gateway).await;
    reply.frames().await;
    let own = [
        format!("/v1/streams/{id}"),
        "/v1/streams".to_owned(),
        "/v1/streams/x".to_owned(),
    ];
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer no-key-of-ours",
        "Basic es-key-of-project-one",
    ] {
        let headers = [("authorization", wrong)];
        for path in &own {
            let refused = get(&gateway, path, &headers).await;
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            assert_eq!(
                refused.problem(401).await,
                "invalid_api_key",
                "{wrong:?} {path}"
            );
        }
        for path in [CHAT, "/v1/completions", "/v1/embeddings"] {
            let refused = post(&gateway, path, &chat("x"), &headers).await;
            assert_eq!(
                refused.error(401).await,
                "invalid_api_key",
                "{wrong:?} {path}"
            );
        }
        let refused = get(&gateway, "/v1/models", &headers).await;
        assert_eq!(refused.error(401).await, "invalid_api_key", "{wrong:?}");
    }
    // Each SDK has its own way to send a key.
    let bearer = bearer(KEY_ONE);
    for header in [
        ("authorization", &*bearer),
        ("authorization", &*bearer.replace("Bearer", "bearer")),
        ("x-api-key", KEY_ONE),
        ("api-key", KEY_ONE),
    ] {
        assert_eq!(get(&gateway, &own[0], &[header]).await.head.status, 200);
    }
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn another_projects_stream_does_not_exist() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let (mut reply, id) = stream_of_one(&gateway).await;
    reply.event().await;
    let key = bearer(KEY_TWO);
    let two = ("authorization", &*key);
    let path = format!("/v1/streams/{id}");
    let cursor = format!("{id}.1");
    for running in [true, false] {
        let unknown = get(&gateway, "/v1/streams/0000000000000", &[two])
            .await
            .body()
            .await;
        let unknown = String::from_utf8_lossy(&unknown).replace("0000000000000", &id);
        // Word for word what is said of a stream that never was.
        assert_eq!(get(&gateway, &path, &[two]).await.body().await, unknown);
        for headers in [
            vec![two],
            vec![two, EVENTS],
            vec![two, EVENTS, ("last-event-id", &*cursor)],
        ] {
            let refused = get(&gateway, &path, &headers).await;
            assert_eq!(refused.header("content-location"), "");
            assert_eq!(refused.problem(404).await, "stream_not_found");
        }
        let ndjson = get(&gateway, &path, &[two, ("accept", "application/x-ndjson")]).await;
        assert_eq!(ndjson.problem(404).await, "stream_not_found");
        let delete = send(&gateway, "DELETE", &path, &[two]).await;
        assert_eq!(delete.problem(404).await, "stream_not_found");
        let token = ask_token(&gateway, &id, KEY_TWO, &json!({})).await;
        assert_eq!(token.problem(404).await, "stream_not_found");
        let upgrade = [
            two,
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let socket = get(&gateway, &format!("{path}/ws"), &upgrade).await;
        assert_eq!(socket.problem(404).await, "stream_not_found");
        let resumed = post(
            &gateway,
            CHAT,
            &chat("x"),
            &[two, ("last-event-id", &cursor)],
        )
        .await;
        assert_eq!(resumed.header("everstream-stream-id"), "");
        assert_eq!(resumed.error(404).await, "stream_not_found");
        let list = get(&gateway, "/v1/streams", &[two]).await.json(200).await;
        assert!(!list.to_string().contains(&id), "{list}");
        if running {
            gate.open();
            soon(reply.client.read_body()).await.unwrap();
        }
    }
    let key = bearer(KEY_ONE);
    let own = get(&gateway, &path, &[("authorization", &key), EVENTS]).await;
    assert_eq!(
        data(&own.frames().await),
        answer().expected_data_without_usage()
    );
    assert_eq!(provider.calls().len(), 1);
}
