//! The same over HTTP/2, which a proxy in front may speak.

use bytes::Bytes;
use everstream_testkit::provider::{FakeProvider, Gate};
use everstream_testkit::sse::sse_frames;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::harness::{Gateway, Setup};
use crate::talk::{CHAT, answer, chat, data, ended, held, soon};

type Sender = SendRequest<Full<Bytes>>;

async fn connect(gateway: &Gateway) -> Sender {
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn post(
    sender: &mut Sender,
    gateway: &Gateway,
    headers: &[(&str, &str)],
) -> Response<Incoming> {
    let mut request = Request::post(format!("http://{}{CHAT}", gateway.addr));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::from(chat("x").to_string());
    soon(sender.send_request(request.body(body).unwrap()))
        .await
        .unwrap()
}

#[tokio::test]
async fn answers_share_a_connection_and_one_that_is_reset_is_a_reader_that_left() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let mut sender = connect(&gateway).await;
    let kept = post(&mut sender, &gateway, &[]).await;
    let mut left = post(
        &mut sender,
        &gateway,
        &[("everstream-on-disconnect", "cancel")],
    )
    .await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(kept.headers()[name], value);
    }
    for name in ["connection", "transfer-encoding", "content-length"] {
        assert!(!kept.headers().contains_key(name), "{name}");
    }
    let id = left.headers()["everstream-stream-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(soon(left.frame()).await.unwrap().unwrap().is_data());
    drop(left);
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
    gate.open();
    let body = soon(kept.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(
        data(&sse_frames(&body)),
        answer().expected_data_without_usage()
    );
    assert_eq!(provider.hangups(), 1);
}
