use std::time::Duration;

use everstream_core::error::ErrorCode;
use everstream_core::limits::{UPSTREAM_PING_AFTER, UPSTREAM_PONG_PATIENCE};
use futures_util::future::join_all;

use super::*;
use crate::upstream::UpstreamErrorKind;

/// So many alarms go off, and everything runs that can.
async fn pass(alarms: u32) {
    for _ in 0..alarms {
        // Timers are a millisecond late at most.
        tokio::time::advance(UPSTREAM_PING_AFTER + Duration::from_millis(1)).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}

/// Time that stands still: it does not leap while bytes are on their way.
fn still() -> std::sync::mpsc::Sender<()> {
    let (held, dropped) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || dropped.recv_timeout(Duration::from_mins(1)));
    tokio::time::pause();
    held
}

#[tokio::test]
async fn a_silent_connection_is_kept_as_long_as_it_answers_pings() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let serving = async {
        let mut raw = Raw::accept(&server).await;
        let stream = raw.asked().await;
        raw.write(HEADERS, END_HEADERS, stream, OK).await;
        raw
    };
    let (response, mut raw) = both(upstream.send(post("{}")), serving).await;
    let mut body = response.expect("a head").body;
    let held = still();
    for _ in 0..4 {
        // The first look finds what was heard before it, the second one asks.
        pass(2).await;
        let ping = raw.until(PING, 0).await;
        raw.write(PING, ACK, 0, &ping.payload).await;
        // The answer to this says that what came before was read.
        raw.write(PING, 0, 0, b"tell me!").await;
        raw.until(PING, ACK).await;
    }
    // From now on nobody is there.
    let (error, ()) = both(body.read(), pass(2 + UPSTREAM_PONG_PATIENCE)).await;
    let error = error.expect_err("given up");
    assert_eq!(error.code(), ErrorCode::UpstreamCut, "{error}");
    assert_eq!(upstream.shared_connections(), 0);
    drop(held);
}

#[tokio::test]
async fn who_does_not_say_what_it_takes_is_given_up() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let sending = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { upstream.send(post("{}")).await }
    });
    let mut stream = server.accept().await.expect("agreed");
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("a preface");
    let held = still();
    pass(1).await;
    let error = sending.await.expect("no panic").expect_err("given up");
    assert_eq!(error.code(), ErrorCode::UpstreamCut, "{error}");
    drop(held);
}

#[tokio::test]
async fn those_who_wait_for_a_connection_that_fails_try_for_themselves() {
    let (listener, address) = listen().await;
    let mut spec = UpstreamSpec::new("test", format!("https://{address}/v1"));
    spec.connect_timeout = Duration::from_mins(1);
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let requests = join_all((0..3).map(|_| upstream.send(post("{}"))));
    let serving = async {
        for _ in 0..3 {
            drop(listener.accept().await.expect("a connection"));
        }
    };
    let (responses, ()) = both(requests, serving).await;
    for response in responses {
        let error = response.expect_err("no TLS there");
        assert!(matches!(error.kind, UpstreamErrorKind::Tls(_)), "{error}");
        assert!(error.nothing_was_sent());
    }
}

#[tokio::test]
async fn who_waits_is_not_lost_with_the_request_that_made_the_connection() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let mut first = Box::pin(upstream.send(post("{}")));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx))).await;
    assert!(begun.is_pending(), "it makes a connection");
    let (response, ()) = both(upstream.send(post("{}")), async {
        // The second one waits by now.
        tokio::task::yield_now().await;
        drop(first);
        let mut raw = loop {
            // The connection of the first may be there, and is not spoken on.
            if let Ok(mut stream) = server.accept().await {
                let mut preface = [0; 24];
                if stream.read_exact(&mut preface).await.is_ok() {
                    break Raw(stream);
                }
            }
        };
        raw.write(SETTINGS, 0, 0, &[]).await;
        let stream = raw.asked().await;
        raw.say(stream, "ok").await;
        // Until the client has read it.
        raw.write(PING, 0, 0, b"tell me!").await;
        raw.until(PING, ACK).await;
    })
    .await;
    let mut body = response.expect("an answer").body;
    assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
}
