//! What bad requests get: a status, an error in the dialect's shape that names the fault, and no
//! call of a provider.

use std::time::Duration;

use everstream::http::shielded;
use everstream::server::{Patience, Shutdown};
use everstream_core::config::Config;
use everstream_testkit::client::{RawClient, ResponseHead};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup, StillTime, within};

pub const CHAT: &str = "/v1/chat/completions";

/// A provider that answers whatever it is asked.
pub async fn provider() -> FakeProvider {
    FakeProvider::start(|request| {
        let answer = ChatAnswer::new(["Hello", "."]);
        if request.wants_stream() {
            Script::chat_stream(&answer)
        } else {
            Script::chat_json(&answer)
        }
    })
    .await
}

/// Sends one request; the body of its response is `Null` when it is not JSON.
pub async fn send(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (ResponseHead, Value) {
    within(async {
        let mut client = gateway.client().await;
        let head = client.request(method, path, headers, body).await.unwrap();
        let (body, _) = client.read_body().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (head, body)
    })
    .await
}

/// A request that is right.
pub fn good() -> Vec<u8> {
    json!({"model": "m", "messages": []}).to_string().into()
}

/// Code and param of an error in the dialect's shape.
#[track_caller]
pub fn openai_error(head: &ResponseHead, body: &Value) -> (u16, String, Option<String>) {
    assert_eq!(head.header("content-type"), Some("application/json"));
    let error = &body["error"];
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    assert!(!text("message").unwrap().is_empty());
    assert!(text("type").is_some(), "{body}");
    (head.status, text("code").unwrap(), text("param"))
}

/// Code of an error as RFC 9457 has it.
#[track_caller]
pub fn problem(head: &ResponseHead, body: &Value) -> (u16, String) {
    assert_eq!(
        head.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(body["status"], head.status);
    assert!(body["detail"].is_string(), "{body}");
    (head.status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_body_that_cannot_be_names_its_fault() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(300));
    let cases: [(&[u8], &str, Option<&str>); 14] = [
        (b"", "invalid_json", None),
        (b"not json", "invalid_json", None),
        (b"{\"model\":\"m\"", "invalid_json", None),
        (b"{\"model\":\"m\"} {}", "invalid_json", None),
        (b"\xff\xfe\x00", "invalid_json", None),
        (b"[]", "invalid_value", None),
        (b"\"text\"", "invalid_value", None),
        (b"{}", "missing_field", Some("model")),
        (br#"{"model":null}"#, "invalid_value", Some("model")),
        (br#"{"model":7}"#, "invalid_value", Some("model")),
        (br#"{"model":""}"#, "invalid_value", Some("model")),
        (long.as_bytes(), "invalid_value", Some("model")),
        (
            br#"{"model":"m","stream":"yes"}"#,
            "invalid_value",
            Some("stream"),
        ),
        (
            br#"{"model":"m","stream_options":[]}"#,
            "invalid_value",
            Some("stream_options"),
        ),
    ];
    for path in [CHAT, "/v1/completions"] {
        for (body, code, param) in cases {
            let (head, reply) = send(&gateway, "POST", path, &[], body).await;
            let text = String::from_utf8_lossy(body);
            let expected = (400, code.to_owned(), param.map(str::to_owned));
            assert_eq!(
                openai_error(&head, &reply),
                expected,
                "{path} {text:?}: {reply}"
            );
            assert_eq!(head.header("everstream-stream-id"), None);
        }
    }
    let deep = format!(r#"{{"model":"m","x":{}}}"#, "[".repeat(100_000));
    let (head, reply) = send(&gateway, "POST", CHAT, &[], deep.as_bytes()).await;
    assert_eq!(openai_error(&head, &reply).0, 400);
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn an_unknown_model_is_told_the_nearest_names() {
    let (one, two) = (provider().await, provider().await);
    one.set_models(["gpt-4o", "gpt-4o-mini"]);
    two.set_models(["llama-3.1-8b"]);
    let gateway = Setup::new(&one)
        .upstream("local", &two.base_url(), "")
        .start()
        .await;
    let cases = [
        ("gtp-4o", vec!["`gpt-4o`"]),
        ("lama-3.1-8b", vec!["`llama-3.1-8b`"]),
        ("claude", vec!["GET /v1/models"]),
    ];
    for (model, hints) in cases {
        let body = json!({"model": model, "messages": []}).to_string();
        let (head, reply) = send(&gateway, "POST", CHAT, &[], body.as_bytes()).await;
        let expected = (404, "model_not_found".to_owned(), Some("model".to_owned()));
        assert_eq!(openai_error(&head, &reply), expected);
        let message = reply["error"]["message"].as_str().unwrap();
        for hint in hints.iter().chain([&model]) {
            assert!(message.contains(hint), "{message}");
        }
    }
    assert!(one.calls().is_empty() && two.calls().is_empty());
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_however_it_is_sent() {
    let provider = provider().await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nrequest_body_bytes = \"2KiB\"")
        .start()
        .await;
    // Sizes that wait in socket buffers, and one that does not fit there.
    for size in [2049 - 30, 1 << 16, 8 << 20] {
        let body = json!({"model": "m", "messages": [], "pad": "x".repeat(size)}).to_string();
        let (head, reply) = send(&gateway, "POST", CHAT, &[], body.as_bytes()).await;
        assert_eq!(openai_error(&head, &reply).0, 413, "{size}");
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("limits.request_body_bytes = 2048"),
            "{message}"
        );
    }
    // Without a length there is nothing to go by but what comes.
    let (head, reply) = within(async {
        let mut client = gateway.client().await;
        let start = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        client.send(start.as_bytes()).await.unwrap();
        let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
        for _ in 0..3 {
            client.send(chunk.as_bytes()).await.unwrap();
        }
        let head = client.read_head().await.unwrap();
        (head, client.read_json().await.unwrap())
    })
    .await;
    assert_eq!(openai_error(&head, &reply).1, "body_too_large");
    // Exactly at the limit it is taken.
    let frame = json!({"model": "m", "messages": [], "pad": ""})
        .to_string()
        .len();
    let body = json!({"model": "m", "messages": [], "pad": "x".repeat(2048 - frame)}).to_string();
    let (head, _) = send(&gateway, "POST", CHAT, &[], body.as_bytes()).await;
    assert_eq!(head.status, 200);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn a_bad_cursor_never_generates() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let (head, _) = send(&gateway, "POST", CHAT, &[], &good()).await;
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    let (head, _) = send(&gateway, "POST", CHAT, &[], &good()).await;
    let other = head.header("everstream-stream-id").unwrap().to_owned();
    let unknown = "0000000000000";
    let cases = [
        ("nonsense".to_owned(), 400, "invalid_cursor"),
        (format!("{id}."), 400, "invalid_cursor"),
        (format!("{id}.-1"), 400, "invalid_cursor"),
        (format!("{id}.1.1"), 400, "invalid_cursor"),
        (format!("{id}.{}", "9".repeat(30)), 400, "invalid_cursor"),
        ("x".repeat(1000), 400, "invalid_cursor"),
        (format!("{id}.99"), 409, "cursor_ahead"),
    ];
    let path = format!("/v1/streams/{id}");
    for (cursor, status, code) in &cases {
        let header = [("last-event-id", cursor.as_str())];
        let (head, body) = send(&gateway, "POST", CHAT, &header, &good()).await;
        let (got, name, _) = openai_error(&head, &body);
        assert_eq!((got, name.as_str()), (*status, *code), "POST {cursor}");
        let (head, body) = send(&gateway, "GET", &path, &header, b"").await;
        assert_eq!(
            problem(&head, &body),
            (*status, (*code).to_owned()),
            "GET {cursor}"
        );
        let query = format!("{path}?after={cursor}");
        let (head, body) = send(&gateway, "GET", &query, &[], b"").await;
        assert_eq!(
            problem(&head, &body),
            (*status, (*code).to_owned()),
            "after {cursor}"
        );
    }
    // A POST's cursor names its stream, a GET's belongs to the stream of the path.
    let (head, body) = send(&gateway, "POST", CHAT, &[("last-event-id", "1")], &good()).await;
    assert_eq!(openai_error(&head, &body).1, "invalid_cursor");
    let others = format!("{other}.1");
    let (head, body) = send(&gateway, "GET", &path, &[("last-event-id", &others)], b"").await;
    assert_eq!(problem(&head, &body).0, 400);
    assert!(body["detail"].as_str().unwrap().contains(&other), "{body}");
    let nobodys = format!("{unknown}.1");
    let (head, body) = send(
        &gateway,
        "POST",
        CHAT,
        &[("last-event-id", &nobodys)],
        &good(),
    )
    .await;
    assert_eq!(openai_error(&head, &body).1, "stream_not_found");
    for bad in ["x", unknown, &"0".repeat(500), "..%2f"] {
        let (head, body) = send(&gateway, "GET", &format!("/v1/streams/{bad}"), &[], b"").await;
        assert_eq!(
            problem(&head, &body),
            (404, "stream_not_found".to_owned()),
            "{bad}"
        );
    }
    let (head, body) = send(&gateway, "GET", "/v1/streams/%ff", &[], b"").await;
    assert_eq!(problem(&head, &body), (400, "invalid_value".to_owned()));
    let (head, body) = send(&gateway, "GET", "/v1/models/%ff", &[], b"").await;
    assert_eq!(openai_error(&head, &body).1, "invalid_value");
    assert_eq!(provider.calls().len(), 2);
}

#[tokio::test]
async fn slow_clients_are_given_up() {
    let provider = provider().await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nrequest_read_timeout = \"30s\"")
        .start()
        .await;
    let (time, longer) = (StillTime::begin(), Duration::from_secs(31));
    // Nothing, the start of HTTP/2, of a request line, of the headers: closed without a word.
    for start in [
        "",
        "PRI * HT",
        "POST /v1/cha",
        "GET / HTTP/1.1\r\nhost: local",
    ] {
        within(async {
            let mut client = gateway.client().await;
            client.send(start.as_bytes()).await.unwrap();
            // Others are served all the while.
            assert_eq!(
                send(&gateway, "POST", CHAT, &[], &good()).await.0.status,
                200
            );
            time.pass(longer).await;
            let head = client.read_head().await;
            assert!(head.is_err() || head.unwrap().status == 408, "{start:?}");
        })
        .await;
    }
    // The body of a request that is understood so far: told why.
    let (head, reply) = within(async {
        let mut client = gateway.client().await;
        let start =
            format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
        client.send(start.as_bytes()).await.unwrap();
        assert_eq!(
            send(&gateway, "GET", "/healthz", &[], b"").await.0.status,
            200
        );
        time.pass(longer).await;
        let head = client.read_head().await.unwrap();
        (head, client.read_json().await.unwrap())
    })
    .await;
    assert_eq!(
        openai_error(&head, &reply),
        (408, "request_timeout".to_owned(), None)
    );
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("limits.request_read_timeout = 30s"),
        "{message}"
    );
    assert_eq!(provider.calls().len(), 4, "those of the others");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    within(async {
        let mut client = gateway.client().await;
        let body = String::from_utf8(good()).unwrap();
        let start =
            format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{body}");
        client.send(start.as_bytes()).await.unwrap();
        client.cut().unwrap();
    })
    .await;
    let (head, _) = send(&gateway, "POST", CHAT, &[], &good()).await;
    assert_eq!(head.status, 200);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test]
async fn garbage_gets_a_400_and_costs_nobody_else() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage garbage garbage\r\n\r\n";
    let two_lengths = b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx";
    let smuggled =
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\
        transfer-encoding: chunked\r\n\r\nzz\r\n";
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    for garbage in [
        tls_hello.as_slice(),
        two_lengths,
        smuggled,
        b"\0\0\0\0\r\n\r\n",
        &endless,
    ] {
        within(async {
            let mut client = gateway.client().await;
            // The server may close before all of it was sent.
            let _ = client.send(garbage).await;
            let head = client.read_head().await;
            assert!(head.is_err() || (400..500).contains(&head.unwrap().status));
        })
        .await;
        let (head, _) = send(&gateway, "GET", "/healthz", &[], b"").await;
        assert_eq!(head.status, 200);
    }
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn http_2_without_an_upgrade_is_spoken() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    within(async {
        let socket = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        let running = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = http::Request::post(format!("http://localhost{CHAT}"));
        let (response, mut body) = client
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        let asked = json!({"model": "m", "stream": true, "messages": []}).to_string();
        body.send_data(asked.into(), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut got = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        let frames = everstream_testkit::sse::sse_frames(&got);
        let expected = ChatAnswer::new(["Hello", "."]).expected_data();
        assert_eq!(crate::harness::data(&frames), expected);
        // A page from elsewhere is one in any version of HTTP.
        let request = http::Request::get("http://evil.example/v1/models").body(());
        let (response, _) = client.send_request(request.unwrap(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 403);
        drop((client, body));
        running.abort();
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_and_methods_say_so_in_the_right_shape() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    for path in [
        "/v1/nothing",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/message",
    ] {
        let (head, body) = send(&gateway, "POST", path, &[], &good()).await;
        assert_eq!(
            openai_error(&head, &body),
            (404, "route_not_found".to_owned(), None),
            "{path}"
        );
    }
    for path in [
        "/",
        "/nothing",
        "/v1/streams/0000000000000/nothing",
        "/V1/models",
        "//",
    ] {
        let (head, body) = send(&gateway, "GET", path, &[], b"").await;
        assert_eq!(
            problem(&head, &body),
            (404, "route_not_found".to_owned()),
            "{path}"
        );
    }
    for path in [CHAT, "/v1/completions", "/v1/embeddings"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let (head, body) = send(&gateway, method, path, &[], b"").await;
            let expected = (405, "method_not_allowed".to_owned(), None);
            assert_eq!(openai_error(&head, &body), expected, "{method} {path}");
            assert_eq!(head.header("allow"), Some("POST"), "{method} {path}");
        }
    }
    let (head, body) = send(&gateway, "POST", "/v1/models", &[], b"").await;
    assert_eq!(openai_error(&head, &body).0, 405);
    assert_eq!(head.header("allow"), Some("GET,HEAD"));
    let (head, body) = send(&gateway, "PUT", "/v1/streams/0000000000000", &[], b"").await;
    assert_eq!(problem(&head, &body).0, 405);
    assert_eq!(head.header("allow"), Some("GET,HEAD,DELETE"));
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn request_ids_come_back_and_traces_go_on() {
    let provider = provider().await;
    let gateway = Setup::new(&provider).start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let long = "x".repeat(129);
    let id_of = |head: &ResponseHead| head.header("x-request-id").unwrap().to_owned();

    let (head, _) = send(
        &gateway,
        "GET",
        "/nothing",
        &[("x-request-id", "my-id/7")],
        b"",
    )
    .await;
    assert_eq!(id_of(&head), "my-id/7");
    for insane in ["", "two words", "\u{e9}", long.as_str()] {
        let (head, _) = send(
            &gateway,
            "GET",
            "/healthz",
            &[("x-request-id", insane)],
            b"",
        )
        .await;
        assert_eq!(id_of(&head).len(), 16, "{insane:?}");
    }
    let (one, _) = send(&gateway, "GET", "/healthz", &[], b"").await;
    let (two, _) = send(&gateway, "GET", "/healthz", &[], b"").await;
    assert_ne!(id_of(&one), id_of(&two));

    let (head, _) = send(&gateway, "POST", CHAT, &[("traceparent", trace)], &good()).await;
    assert_eq!(id_of(&head), trace_id);
    assert_eq!(
        provider.calls().pop().unwrap().header("traceparent"),
        Some(trace)
    );
    let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let version = "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let upper = "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01";
    let more = format!("{trace}-more");
    for broken in ["", "00-1-2-3", &trace[..54], zero, version, upper, &more] {
        let header = [("traceparent", broken)];
        let (head, _) = send(&gateway, "POST", CHAT, &header, &good()).await;
        assert_eq!(id_of(&head).len(), 16, "{broken:?}");
        assert_eq!(
            provider.calls().pop().unwrap().header("traceparent"),
            None,
            "{broken:?}"
        );
    }
    // A later version may have more behind what is known of it.
    let later = format!("cc{}-what-the-future-holds", &trace[2..]);
    let (head, _) = send(&gateway, "POST", CHAT, &[("traceparent", &later)], &good()).await;
    assert_eq!(id_of(&head), trace_id);
}

#[tokio::test]
async fn a_panic_costs_one_request_and_names_it() {
    async fn panics() -> &'static str {
        panic!("sk-canary in a panic")
    }
    let router = axum::Router::new()
        .route("/boom", axum::routing::get(panics))
        .route("/v1/boom", axum::routing::get(panics))
        .route("/fine", axum::routing::get(|| async { "fine" }));
    let listener = everstream::server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let patience = Patience::new(&Config::default());
    let router = TowerToHyperService::new(shielded(router));
    let serving = everstream::server::serve(listener, router, patience, shutdown.clone());
    let serving = tokio::spawn(serving);
    within(async {
        let mut client = RawClient::connect(addr).await.unwrap();
        let id = [("x-request-id", "the-one-that-broke")];
        let head = client.get("/boom", &id).await.unwrap();
        let body = client.read_json().await.unwrap();
        assert_eq!(problem(&head, &body), (500, "internal_error".to_owned()));
        assert_eq!(head.header("x-request-id"), Some("the-one-that-broke"));
        assert!(
            body["detail"]
                .as_str()
                .unwrap()
                .contains("the-one-that-broke"),
            "{body}"
        );
        assert!(!body.to_string().contains("canary"), "{body}");
        let head = client.get("/v1/boom", &id).await.unwrap();
        let body = client.read_json().await.unwrap();
        assert_eq!(openai_error(&head, &body).0, 500);
        // The same connection goes on.
        assert_eq!(client.get("/fine", &[]).await.unwrap().status, 200);
        drop(client);
        shutdown.refuse.cancel();
        serving.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn patience_with_a_request_is_not_patience_with_an_answer() {
    let gate = Gate::new("later");
    let held = gate.clone();
    let provider = FakeProvider::start(move |_| {
        Script::chat_json(&ChatAnswer::new(["late"])).gate_before_head(&held)
    })
    .await;
    let gateway = Setup::new(&provider)
        .config("[limits]\nrequest_read_timeout = \"10s\"")
        .start()
        .await;
    let (time, request) = (StillTime::begin(), good());
    let later = async {
        gate.reached_by(1).await;
        time.pass(Duration::from_secs(30)).await;
        gate.open();
    };
    let ((head, _), ()) = tokio::join!(send(&gateway, "POST", CHAT, &[], &request), later);
    assert_eq!(head.status, 200);
}
