//! Web pages: those that may call get what browsers need, strangers get nothing.

use everstream_testkit::client::ResponseHead;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bad_client::{CHAT, good, openai_error, problem, provider, send};
use crate::harness::{KEY_ONE, Setup, within};

#[tokio::test]
async fn a_preflight_is_answered_for_the_pages_that_may_call() {
    let provider = provider().await;
    let gateway = Setup::new(&provider)
        .config("cors_origins = [\"https://app.example.org\"]")
        .start()
        .await;
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,last-event-id,x-stainless-lang",
            ),
        ]
    };
    let allowed = |head: &ResponseHead| {
        head.header("access-control-allow-origin")
            .map(str::to_owned)
    };
    let (head, _) = send(
        &gateway,
        "OPTIONS",
        CHAT,
        &preflight("https://app.example.org"),
        b"",
    )
    .await;
    assert_eq!(head.status, 200);
    assert_eq!(allowed(&head).as_deref(), Some("https://app.example.org"));
    let headers = head.header("access-control-allow-headers").unwrap();
    for name in [
        "authorization",
        "last-event-id",
        "content-type",
        "x-stainless-lang",
    ] {
        assert!(headers.contains(name), "{headers}");
    }
    let (head, _) = send(
        &gateway,
        "OPTIONS",
        CHAT,
        &preflight("https://evil.example"),
        b"",
    )
    .await;
    assert_eq!(allowed(&head), None);

    let origin = [("origin", "https://app.example.org")];
    let (head, _) = send(&gateway, "POST", CHAT, &origin, &good()).await;
    assert_eq!(head.status, 200);
    assert_eq!(allowed(&head).as_deref(), Some("https://app.example.org"));
    let exposed = head.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("everstream-stream-id"), "{exposed}");
}

#[tokio::test]
async fn a_strangers_web_page_cannot_use_a_gateway_without_keys() {
    let provider = provider().await;
    let gateway = Setup::new(&provider)
        .config("cors_origins = [\"https://app.example.org:8443\"]")
        .start()
        .await;
    let strange = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", ""),
        ("origin", "http://localhost.evil.example"),
        ("origin", "http://127.0.0.1.evil.example"),
        ("origin", "http://localhost@evil.example"),
        ("origin", "https://app.example.org"),
        ("host", "rebound.evil.example"),
        ("host", "rebound.evil.example:8080"),
        ("host", "192.168.1.7"),
        ("host", "0.0.0.0"),
        ("host", "not a host"),
    ];
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for header in strange {
        // What a page may send without a preflight.
        let simple = [header, ("content-type", "text/plain")];
        let (head, body) = send(&gateway, "POST", CHAT, &simple, &good()).await;
        let (status, code, param) = openai_error(&head, &body);
        assert_eq!((status, code.as_str()), (403, "forbidden"), "{header:?}");
        assert_eq!(param.unwrap().to_ascii_lowercase(), header.0);
        let (head, body) = send(&gateway, "GET", "/v1/streams", &[header], b"").await;
        assert_eq!(problem(&head, &body).0, 403, "{header:?}");
        let upgrade = [&upgrade[..], &[header]].concat();
        let (head, body) = send(&gateway, "GET", "/v1/ws", &upgrade, b"").await;
        assert_eq!(problem(&head, &body).0, 403, "{header:?}");
    }
    assert!(provider.calls().is_empty());
    let welcome = [
        ("origin", "http://localhost:3000"),
        ("origin", "http://127.0.0.1:5173"),
        ("origin", "http://[::1]:5173"),
        ("origin", "https://app.example.org:8443"),
        ("host", "localhost"),
        ("host", "LOCALHOST:8080"),
        ("host", "chat.localhost:8080"),
        ("host", "[::1]:8080"),
        ("host", "app.example.org:8443"),
    ];
    for header in welcome {
        let (head, body) = send(&gateway, "GET", "/v1/models", &[header], b"").await;
        assert_eq!(head.status, 200, "{header:?}: {body}");
    }
    let mut socket = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let mut text = "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\n".to_owned();
    for (name, value) in upgrade.iter().chain(&welcome[..1]) {
        text.extend([name, ": ", value, "\r\n"]);
    }
    socket.write_all((text + "\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    within(socket.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
}

#[tokio::test]
async fn with_keys_or_for_all_origins_any_page_may_ask() {
    let provider = provider().await;
    let page = [
        ("origin", "https://any.example"),
        ("host", "gateway.example"),
    ];
    let keyed = Setup::new(&provider).with_keys().start().await;
    let (head, body) = send(&keyed, "POST", CHAT, &page, &good()).await;
    assert_eq!(openai_error(&head, &body).1, "invalid_api_key");
    let bearer = format!("Bearer {KEY_ONE}");
    let with_key = [&page[..], &[("authorization", &bearer)]].concat();
    let (head, _) = send(&keyed, "POST", CHAT, &with_key, &good()).await;
    assert_eq!(head.status, 200);
    let all = Setup::new(&provider).config("cors_origins = [\"*\"]");
    let all = all.start().await;
    let (head, _) = send(&all, "POST", CHAT, &page, &good()).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("access-control-allow-origin"), Some("*"));
}
