//! `/v1/realtime`: two sockets that are one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::harness::{Gateway, KEY_ONE, Setup, StillTime, UPSTREAM_KEY, within};
use crate::socket::Socket;

/// An upstream that speaks realtime, as the test says.
pub struct Realtime {
    listener: TcpListener,
    pub addr: SocketAddr,
}

/// One session, as the upstream sees it.
pub struct Session {
    pub socket: WebSocketStream<TcpStream>,
    pub target: String,
    pub headers: Vec<(String, String)>,
}

impl Realtime {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Self { listener, addr }
    }

    pub fn setup(&self) -> Setup {
        let url = format!("http://{}/base/v1", self.addr);
        Setup::default().upstream("live", &url, "models = [\"gpt-realtime\"]")
    }

    #[expect(clippy::result_large_err, reason = "the library's callback")]
    pub async fn accept(&self) -> Session {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        let (mut target, mut headers) = (String::new(), Vec::new());
        let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            target = request.uri().to_string();
            let all = request.headers().iter();
            headers = all
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            Ok(response)
        };
        let socket = within(accept_hdr_async(stream, note)).await.unwrap();
        Session {
            socket,
            target,
            headers,
        }
    }
}

impl Session {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    async fn hear(&mut self) -> Message {
        within(self.socket.next()).await.unwrap().unwrap()
    }

    pub async fn say(&mut self, message: Message) {
        within(self.socket.send(message)).await.unwrap();
    }
}

const PATH: &str = "/v1/realtime?model=gpt-realtime";

async fn pair(upstream: &Realtime, gateway: &Gateway) -> (Socket, Session) {
    let (client, session) =
        within(async { tokio::join!(Socket::open(gateway, PATH, &[]), upstream.accept()) }).await;
    (client.unwrap(), session)
}

fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }))
}

#[tokio::test]
async fn messages_go_through_both_ways_whatever_they_are() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut client, mut session) = pair(&upstream, &gateway).await;
    for message in [
        Message::text(json!({"type": "session.update"}).to_string()),
        Message::Binary(Bytes::from_static(b"\0\xff")),
        Message::text("x".repeat(3 << 20)),
        Message::text(""),
    ] {
        let ((), heard) =
            within(async { tokio::join!(client.send(message.clone()), session.hear()) }).await;
        assert!(heard == message);
        let ((), heard) =
            within(async { tokio::join!(session.say(message.clone()), client.message()) }).await;
        assert!(heard == message);
    }
}

#[tokio::test]
async fn pings_go_through_and_come_back() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut client, mut session) = pair(&upstream, &gateway).await;
    let (ping, pong) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
    client.send(Message::Ping(ping.clone())).await;
    assert_eq!(session.hear().await, Message::Ping(ping.clone()));
    assert_eq!(client.message().await, Message::Pong(ping));
    session.say(Message::Ping(pong.clone())).await;
    let answered = within(session.socket.next()).await.unwrap().unwrap();
    assert_eq!(answered, Message::Pong(pong));
}

#[tokio::test]
async fn close_codes_go_through_both_ways() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    for (code, reason) in [(1000, "done"), (4001, "session expired"), (1011, "")] {
        let (mut client, mut session) = pair(&upstream, &gateway).await;
        session.say(close(code, reason)).await;
        assert_eq!(client.message().await, close(code, reason));
        // The answer to it, and then nothing.
        assert_eq!(session.hear().await, close(code, reason));
        assert!(within(session.socket.next()).await.is_none());

        let (mut client, mut session) = pair(&upstream, &gateway).await;
        client.send(close(code, reason)).await;
        assert_eq!(session.hear().await, close(code, reason));
        assert_eq!(client.message().await, close(code, reason));
        assert!(within(client.0.next()).await.is_none());
    }
    let (mut client, mut session) = pair(&upstream, &gateway).await;
    session.say(Message::Close(None)).await;
    assert_eq!(client.message().await, Message::Close(None));
}

#[tokio::test]
async fn the_upstream_is_called_with_its_own_key_and_its_own_name_of_the_model() {
    let upstream = Realtime::start().await;
    let gateway = upstream
        .setup()
        .config("[aliases]\nvoice = \"live/gpt-realtime\"")
        .with_keys()
        .start()
        .await;
    let bearer = format!("Bearer {KEY_ONE}");
    let protocol = format!("realtime, openai-insecure-api-key.{KEY_ONE}, openai-beta.realtime-v1");
    for (path, headers, target, beta) in [
        (
            "/v1/realtime?model=voice",
            vec![("authorization", bearer.as_str())],
            "/base/v1/realtime?model=gpt-realtime",
            None,
        ),
        (
            "/v1/realtime?x=a%20b&model=live%2Fgpt-realtime",
            vec![("sec-websocket-protocol", protocol.as_str())],
            "/base/v1/realtime?x=a%20b&model=gpt-realtime",
            Some("realtime=v1"),
        ),
        (
            "/v1/realtime?intent=transcription&upstream=live",
            vec![("x-api-key", KEY_ONE), ("openai-beta", "realtime=v2")],
            "/base/v1/realtime?intent=transcription",
            Some("realtime=v2"),
        ),
    ] {
        let opened = Socket::open(&gateway, path, &headers);
        let (client, session) = within(async { tokio::join!(opened, upstream.accept()) }).await;
        client.unwrap();
        assert_eq!(session.target, target);
        assert_eq!(session.header("openai-beta"), beta);
        let bearer = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(session.header("authorization"), Some(bearer.as_str()));
        assert!(!format!("{:?}", session.headers).contains(KEY_ONE));
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_with_a_status_before_the_upgrade() {
    let upstream = Realtime::start().await;
    let url = format!("http://{}/v1", upstream.addr);
    let gateway = upstream
        .setup()
        .upstream(
            "claude",
            &url,
            "dialect = \"anthropic\"\nmodels = [\"opus\"]",
        )
        .upstream("gone", "http://127.0.0.1:1/v1", "models = [\"gone\"]")
        .with_keys()
        .start()
        .await;
    let bearer = format!("Bearer {KEY_ONE}");
    let known = [("authorization", bearer.as_str())];
    let wrong = [(
        "sec-websocket-protocol",
        "realtime, openai-insecure-api-key.es-wrong",
    )];
    for (path, headers, status, code) in [
        (PATH, [].as_slice(), 401, "invalid_api_key"),
        (PATH, &wrong, 401, "invalid_api_key"),
        (
            "/v1/realtime?model=opus",
            &known,
            400,
            "unsupported_parameter",
        ),
        ("/v1/realtime?model=", &known, 400, "invalid_value"),
        ("/v1/realtime?model=nothing", &known, 404, "model_not_found"),
        (
            "/v1/realtime?model=gone",
            &known,
            502,
            "upstream_unreachable",
        ),
    ] {
        let refused = Socket::open(&gateway, path, headers).await.err().unwrap();
        assert_eq!(refused.0, status, "{path}");
        assert_eq!(refused.1["error"]["code"], code, "{path}");
    }
    let mut client = gateway.client().await;
    let head = within(client.get(PATH, &known)).await.unwrap();
    assert_eq!(head.status, 400);
}

#[tokio::test]
async fn an_upstream_that_refuses_is_heard() {
    let upstream = crate::raw::RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let quote = format!("{{\"error\":{{\"message\":\"no {UPSTREAM_KEY}\",\"code\":\"x\"}}}}");
    for (sent, status) in [(403, 403), (429, 429), (200, 502)] {
        let opened = Socket::open(&gateway, "/v1/realtime?model=tts", &[]);
        let (refused, ()) = within(async {
            tokio::join!(opened, async {
                let mut exchange = upstream.accept().await;
                exchange.answer(sent, "", &quote).await;
            })
        })
        .await;
        let (seen, body) = refused.err().unwrap();
        assert_eq!(seen, status);
        assert!(body["error"]["message"].is_string(), "{body}");
        assert!(!body.to_string().contains(UPSTREAM_KEY), "{body}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_closes_the_session() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut client, mut session) = pair(&upstream, &gateway).await;
    // Its head is enough: 16 MiB and one byte, masked.
    let head = [
        &[0x81, 0xff][..],
        &((16_u64 << 20) + 1).to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    let stream = client.0.get_mut();
    within(tokio::io::AsyncWriteExt::write_all(stream, &head))
        .await
        .unwrap();
    assert_eq!(client.closed().await.0, 1009);
    match session.hear().await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_breaks_off_is_told_of() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut client, session) = pair(&upstream, &gateway).await;
    drop(session);
    assert_eq!(client.closed().await.0, 1011);
    let (client, mut session) = pair(&upstream, &gateway).await;
    drop(client);
    match session.hear().await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_side_that_takes_nothing_holds_the_other_back() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut client, mut session) = pair(&upstream, &gateway).await;
    let message = Message::text("x".repeat(64 << 10));
    let mut sent = 0;
    let still = Duration::from_millis(300);
    while tokio::time::timeout(still, session.socket.send(message.clone()))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 400, "nothing holds the upstream back");
    }
    for _ in 0..sent {
        assert!(client.message().await == message);
    }
}

/// What comes to the end, unanswered.
async fn unanswered(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_silent_client_is_given_up() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (client, session) = pair(&upstream, &gateway).await;
    let time = StillTime::begin();
    time.pass(Duration::from_secs(61)).await;
    drop(time);
    // Neither answers a ping; the client is looked at first.
    let (ping, heard) = ([0x89, 0], unanswered(client.0.into_inner()).await);
    assert!(heard.starts_with(&ping), "{heard:?}");
    let close = [&1008_u16.to_be_bytes()[..], b"no answer to a ping"].concat();
    assert!(heard.ends_with(&close), "{heard:?}");
    // What is sent to an upstream is masked.
    let heard = unanswered(session.socket.into_inner()).await;
    assert_eq!(heard[..2], [0x89, 0x80]);
    let close = &heard[heard.len() - 26..];
    let (key, text) = close[2..].split_at(4);
    let code = [text[0] ^ key[0], text[1] ^ key[1]];
    assert_eq!((close[0], u16::from_be_bytes(code)), (0x88, 1001));
}

#[tokio::test]
async fn a_process_that_leaves_ends_sessions_between_responses() {
    let upstream = Realtime::start().await;
    let gateway = upstream.setup().start().await;
    let (mut idle, _idle_session) = pair(&upstream, &gateway).await;
    let (mut busy, mut session) = pair(&upstream, &gateway).await;
    let event = |kind: &str| Message::text(json!({"type": kind, "response": {}}).to_string());
    session.say(event("response.created")).await;
    assert_eq!(busy.message().await, event("response.created"));
    gateway.app.leave();
    assert_eq!(idle.closed().await.0, 1012);
    session.say(event("response.output_audio.delta")).await;
    assert_eq!(busy.message().await, event("response.output_audio.delta"));
    session.say(event("response.done")).await;
    assert_eq!(busy.message().await, event("response.done"));
    assert_eq!(busy.closed().await.0, 1012);
    match session.hear().await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
    within(gateway.app.lifecycle.sessions_over()).await;
    gateway.app.drain();
    let refused = Socket::open(&gateway, PATH, &[]).await.err().unwrap();
    assert_eq!(refused.0, 503);
}

#[tokio::test]
async fn an_upstream_that_is_no_websocket_is_a_502() {
    let upstream = crate::raw::RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let opened = Socket::open(&gateway, "/v1/realtime?model=tts", &[]);
    let (refused, ()) = within(async {
        tokio::join!(opened, async {
            let mut exchange = upstream.accept().await;
            assert_eq!(exchange.line(), "GET /base/v1/realtime?model=tts");
            exchange.send("SSH-2.0-x\r\n\r\n").await;
        })
    })
    .await;
    assert_eq!(refused.err().unwrap().0, 502);
}
