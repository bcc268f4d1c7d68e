//! The same over HTTP/2, which a proxy in front may speak.

use everstream_testkit::provider::{FakeProvider, Gate};
use everstream_testkit::sse::sse_frames;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::net::TcpStream;

use crate::harness::{Gateway, Setup};
use crate::talk::{CHAT, answer, chat, data, ended, held, soon};

async fn connect(gateway: &Gateway) -> SendRequest<bytes::Bytes> {
    let socket = TcpStream::connect(gateway.addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn post(
    sender: &SendRequest<bytes::Bytes>,
    gateway: &Gateway,
    headers: &[(&str, &str)],
) -> Response<RecvStream> {
    let mut request = Request::post(format!("http://{}{CHAT}", gateway.addr));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut sender = soon(sender.clone().ready()).await.unwrap();
    let (reply, mut body) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    body.send_data(chat("x").to_string().into(), true).unwrap();
    soon(reply).await.unwrap()
}

/// Some more of a body; `None` at its proper end.
async fn more(body: &mut RecvStream) -> Option<bytes::Bytes> {
    let bytes = soon(body.data()).await?.unwrap();
    body.flow_control().release_capacity(bytes.len()).unwrap();
    Some(bytes)
}

#[tokio::test]
async fn answers_share_a_connection_and_one_that_is_reset_is_a_reader_that_left() {
    let gate = Gate::new("fourth event");
    let held_at = gate.clone();
    let provider = FakeProvider::start(move |_| held(4, &held_at)).await;
    let gateway = Setup::new(&provider).start().await;
    let sender = connect(&gateway).await;
    let kept = post(&sender, &gateway, &[]).await;
    let mut left = post(&sender, &gateway, &[("everstream-on-disconnect", "cancel")]).await;
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
    assert!(more(left.body_mut()).await.is_some());
    // Dropping what is not at its end resets it, and nothing else on the connection.
    drop(left);
    soon(provider.wait_for_hangups(1)).await;
    assert_eq!(ended(&gateway, &id).await["status"], "cancelled");
    gate.open();
    let (mut kept, mut body) = (kept.into_body(), Vec::new());
    while let Some(bytes) = more(&mut kept).await {
        body.extend(bytes);
    }
    assert_eq!(
        data(&sse_frames(&body)),
        answer().expected_data_without_usage()
    );
    assert_eq!(provider.hangups(), 1);
}
