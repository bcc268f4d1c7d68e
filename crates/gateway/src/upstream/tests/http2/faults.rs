use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits::UPSTREAM_UNREAD_TRIES;
use futures_util::stream;
use h2::Reason;

use super::*;
use crate::upstream::{Upload, UpstreamErrorKind};

#[tokio::test]
async fn a_stream_that_is_reset_is_a_cut_answer_after_its_last_byte() {
    for reason in [
        Reason::INTERNAL_ERROR,
        Reason::NO_ERROR,
        Reason::REFUSED_STREAM,
    ] {
        let mut provider = Provider::start(None).await;
        let (response, mut sending) = provider.ask().await;
        let mut body = response.expect("an answer").body;
        sending.send_data("abc".into(), false).expect("taken");
        assert_eq!(body.read().await.expect("a piece").expect("one"), "abc");
        sending.send_reset(reason);
        let error = body.read().await.expect_err("cut");
        assert!(
            matches!(error.kind, UpstreamErrorKind::StreamReset(told) if told == reason),
            "{error}"
        );
        for error in [error, body.read().await.expect_err("still")] {
            assert_eq!(error.code(), ErrorCode::UpstreamCut, "{error}");
            assert!(!error.nothing_was_sent() && !body.is_at_end());
        }
        assert_eq!(provider.upstream.link().idle, 1, "the connection goes on");
    }
}

#[tokio::test]
async fn an_answer_of_another_length_than_it_says_is_cut() {
    for (length, whole) in [("9", false), ("2", false), ("3", true)] {
        let mut provider = Provider::start(None).await;
        let upstream = Arc::clone(&provider.upstream);
        let serving = async {
            let mut asked = provider.asked().await;
            let head = Response::builder().header("content-length", length);
            let mut body = asked
                .answer
                .send_response(head.body(()).expect("a head"), false)
                .expect("taken");
            body.send_data("abc".into(), true).expect("taken");
        };
        let (response, ()) = both(upstream.send(post("{}")), serving).await;
        let read = read_all(&mut response.expect("a head").body).await;
        match read {
            Ok(pieces) => assert!(whole && pieces.concat() == b"abc", "{length}: {pieces:?}"),
            Err(error) => {
                assert!(
                    !whole && error.code() == ErrorCode::UpstreamCut,
                    "{length}: {error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_lost_connection_cuts_its_answers() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let serving = async {
        let mut raw = Raw::accept(&server).await;
        let stream = raw.asked().await;
        raw.write(HEADERS, END_HEADERS, stream, OK).await;
        raw.write(DATA, 0, stream, b"abc").await;
    };
    let (response, ()) = both(upstream.send(post("{}")), serving).await;
    let error = read_all(&mut response.expect("a head").body)
        .await
        .expect_err("cut");
    assert_eq!(error.code(), ErrorCode::UpstreamCut, "{error}");
    assert_eq!(upstream.shared_connections(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_not_asked_twice() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let serving = async {
        let mut raw = Raw::accept(&server).await;
        raw.asked().await;
    };
    let (error, ()) = both(upstream.send(post("{}")), serving).await;
    let error = error.expect_err("no answer");
    assert_eq!(error.code(), ErrorCode::UpstreamCut, "{error}");
    assert!(!error.nothing_was_sent(), "it may have run");
}

#[tokio::test]
async fn a_refused_stream_is_asked_again_and_runs_once() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    let serving = async {
        for _ in 1..UPSTREAM_UNREAD_TRIES {
            provider
                .asked()
                .await
                .answer
                .send_reset(Reason::REFUSED_STREAM);
        }
        let mut asked = provider.asked().await;
        assert_eq!(asked.body().await, b"{}");
        asked.say("ok");
    };
    let (response, ()) = both(upstream.send(post("{}")), serving).await;
    let mut body = response.expect("an answer").body;
    assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
    assert!(provider.asked.try_recv().is_err(), "asked once more");
}

#[tokio::test]
async fn who_refuses_always_is_left_alone_and_who_may_have_begun_at_once() {
    for (reason, tries, unread) in [
        (Reason::REFUSED_STREAM, UPSTREAM_UNREAD_TRIES, true),
        (Reason::INTERNAL_ERROR, 1, false),
        (Reason::ENHANCE_YOUR_CALM, 1, false),
        (Reason::CANCEL, 1, false),
    ] {
        let mut provider = Provider::start(None).await;
        let upstream = Arc::clone(&provider.upstream);
        let serving = async {
            for _ in 0..tries {
                provider.asked().await.answer.send_reset(reason);
            }
        };
        let (error, ()) = both(upstream.send(post("{}")), serving).await;
        let error = error.expect_err("refused");
        assert_eq!(error.nothing_was_sent(), unread, "{error}");
        let code = if unread {
            ErrorCode::UpstreamUnreachable
        } else {
            ErrorCode::UpstreamCut
        };
        assert_eq!(error.code(), code, "{error}");
        assert!(
            provider.asked.try_recv().is_err(),
            "{reason:?}: asked once more"
        );
    }
}

#[tokio::test]
async fn what_came_after_the_last_stream_of_a_farewell_is_asked_elsewhere() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let serving = async {
        let mut first = Raw::accept(&server).await;
        let stream = first.asked().await;
        first.go_away(0, Reason::NO_ERROR).await;
        let mut second = Raw::accept(&server).await;
        let again = second.asked().await;
        second.say(again, "ok").await;
        (stream, first, second)
    };
    let (response, _held) = both(upstream.send(post("{}")), serving).await;
    let mut body = response.expect("an answer").body;
    assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
}

#[tokio::test]
async fn who_asks_for_calm_is_not_asked_again_at_once() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let serving = async {
        let mut raw = Raw::accept(&server).await;
        raw.asked().await;
        raw.go_away(0, Reason::ENHANCE_YOUR_CALM).await;
        raw
    };
    let (error, _raw) = both(upstream.send(post("{}")), serving).await;
    let error = error.expect_err("turned away");
    assert!(
        matches!(error.kind, UpstreamErrorKind::TurnedAway(_)),
        "{error}"
    );
    assert!(error.nothing_was_sent(), "for others to be asked");
}

#[tokio::test]
async fn a_farewell_lets_answers_end_and_takes_no_more() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    let (response, (mut sending, farewell)) = both(upstream.send(post("{}")), async {
        let asked = provider.asked().await;
        let farewell = Arc::clone(&asked.farewell);
        (asked.begin(), farewell)
    })
    .await;
    let mut body = response.expect("an answer").body;
    farewell.notify_one();
    // What comes after it has come after the farewell.
    loop {
        let (response, connection) = both(upstream.send(post("{}")), async {
            let asked = provider.asked().await;
            let connection = asked.connection;
            asked.say("ok");
            connection
        })
        .await;
        read_all(&mut response.expect("an answer").body)
            .await
            .expect("whole");
        if connection > 0 {
            break;
        }
    }
    sending.send_data("the rest".into(), true).expect("taken");
    assert_eq!(
        read_all(&mut body).await.expect("whole").concat(),
        b"the rest"
    );
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_used() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    for goes_away in [false, true] {
        let (response, mut raw) = both(upstream.send(post("{}")), async {
            let mut raw = Raw::accept(&server).await;
            let stream = raw.asked().await;
            raw.say(stream, "ok").await;
            raw
        })
        .await;
        read_all(&mut response.expect("an answer").body)
            .await
            .expect("whole");
        assert_eq!(upstream.shared_connections(), 1);
        if goes_away {
            raw.go_away(1, Reason::NO_ERROR).await;
        }
        // The next request leaves before the runtime can have heard of it.
        drop(raw);
    }
    let (response, _raw) = both(upstream.send(post("{}")), async {
        let mut raw = Raw::accept(&server).await;
        let stream = raw.asked().await;
        raw.say(stream, "ok").await;
        raw
    })
    .await;
    read_all(&mut response.expect("an answer").body)
        .await
        .expect("whole");
}

#[tokio::test]
async fn an_upload_that_breaks_off_ends_its_stream_with_its_own_words() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    let broken = Error::new(ErrorCode::RequestTimeout, "The client sleeps.");
    for (length, pieces, code) in [
        (
            None,
            vec![Ok("abc".into()), Err(broken)],
            ErrorCode::RequestTimeout,
        ),
        (Some(6), vec![Ok("abc".into())], ErrorCode::InvalidValue),
        (Some(2), vec![Ok("abc".into())], ErrorCode::InvalidValue),
    ] {
        let upload = Upload::new(Box::pin(stream::iter(pieces)), length);
        let serving = async {
            let mut asked = provider.asked().await;
            let reason = std::future::poll_fn(|cx| asked.answer.poll_reset(cx)).await;
            assert_eq!(reason.expect("reset, and not closed"), Reason::CANCEL);
        };
        let (sent, ()) = both(upstream.upload(post(""), upload), serving).await;
        let error = sent.expect_err("broken");
        assert!(!error.nothing_was_sent());
        assert_eq!(error.into_error().code, code);
    }
    assert_eq!(upstream.shared_connections(), 1);
}

#[tokio::test]
async fn an_answer_counts_whatever_becomes_of_the_request() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    // More than the server takes without being asked, and it never asks.
    let upload = Upload::new(
        Box::pin(stream::repeat_with(|| {
            Ok(Bytes::from_static(&[b'q'; 9_000]))
        })),
        None,
    );
    let serving = async {
        let mut asked = provider.asked().await;
        let head = Response::builder().status(413).body(()).expect("a head");
        let mut body = asked.answer.send_response(head, false).expect("taken");
        body.send_data("big".into(), true).expect("taken");
        // Held, so that it is not this side which ends the request.
        (asked, body)
    };
    let (response, _held) = both(upstream.upload(post(""), upload), serving).await;
    let mut response = response.expect("the refusal");
    assert_eq!(response.head.status, 413);
    assert_eq!(
        read_all(&mut response.body).await.expect("whole").concat(),
        b"big"
    );
    assert_eq!((upstream.link().in_use, upstream.link().idle), (0, 1));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    let serving = async {
        let mut asked = provider.asked().await;
        let mut head = Response::builder();
        for n in 0..70 {
            head = head.header(format!("x-{n}"), "y".repeat(1_000));
        }
        // It may not even be allowed to leave the server.
        let _ = asked
            .answer
            .send_response(head.body(()).expect("a head"), true);
        asked
    };
    let (error, _asked) = both(upstream.send(post("{}")), serving).await;
    let error = error.expect_err("refused");
    assert_eq!(error.code(), ErrorCode::UpstreamInvalid, "{error}");
}

#[tokio::test]
async fn what_is_no_http_2_is_told() {
    let server = Server::offering(&["h2"]).await;
    let upstream = raw_upstream(&server);
    let (error, _stream) = both(upstream.send(post("{}")), async {
        let mut stream = server.accept().await.expect("agreed");
        crate::upstream::tests::tls::say(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        stream
    })
    .await;
    let error = error.expect_err("not HTTP/2");
    assert_eq!(error.code(), ErrorCode::UpstreamInvalid, "{error}");
    assert!(error.to_string().contains("http2 = false"), "{error}");
}
