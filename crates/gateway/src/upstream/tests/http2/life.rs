use everstream_core::limits::{
    UPSTREAM_IDLE_TIMEOUT, UPSTREAM_SHARED_STREAMS, UPSTREAM_STREAM_WINDOW,
};
use everstream_core::policy::connection::ConnectionState;
use everstream_core::secret::Secret;
use futures_util::future::join_all;
use futures_util::stream;
use h2::Reason;

use super::*;
use crate::upstream::Upload;

#[tokio::test]
async fn a_request_and_its_answer_are_what_they_are_in_http_1() {
    let server = Server::offering(&["h2", "http/1.1"]).await;
    let mut spec = server.spec();
    spec.api_key = Some(Secret::new("sk-canary"));
    let authority = spec.base_url["https://".len()..]
        .trim_end_matches("/v1")
        .to_owned();
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    let (sender, mut asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let stream = server.accept().await.expect("agreed");
        serve(stream, None, 0, sender).await;
    });
    let serving = async {
        let mut asked: Asked = asked.recv().await.expect("a request");
        let head = asked.request.uri().to_string();
        assert_eq!(head, format!("https://{authority}/v1/chat/completions"));
        let headers = asked.request.headers().iter();
        let mut headers: Vec<_> = headers
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
            .collect();
        headers.sort();
        let expected = [
            "accept-encoding: identity",
            "authorization: Bearer sk-canary",
            "content-length: 2",
            "content-type: application/json",
        ];
        let own: Vec<_> = headers
            .iter()
            .filter(|line| !line.starts_with("user-agent"))
            .collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
        assert_eq!(asked.body().await, b"{}");
        let early = Response::builder().status(103).body(()).expect("a head");
        asked.answer.send_informational(early).expect("taken");
        let head = Response::builder().status(429).header("Retry-After", "7");
        let head = head.body(()).expect("a head");
        let mut body = asked.answer.send_response(head, false).expect("taken");
        body.send_data("hel".into(), false).expect("taken");
        body.send_data("lo".into(), false).expect("taken");
        let trailers = [(
            "x-sum".parse().expect("a name"),
            "1".parse().expect("a value"),
        )];
        let trailers = trailers.into_iter().collect();
        body.send_trailers(trailers).expect("taken");
    };
    let (response, ()) = both(upstream.send(post("{}")), serving).await;
    let mut response = response.expect("an answer");
    assert_eq!(response.head.status, 429);
    assert_eq!(response.head.get_str("retry-after"), Some("7"));
    let pieces = read_all(&mut response.body).await.expect("whole");
    assert_eq!(pieces.concat(), b"hello");
    assert!(response.body.is_at_end());
    assert!(response.body.read().await.expect("still").is_none());
    let link = upstream.link();
    let seen = (link.state, link.in_use, link.idle);
    assert_eq!(seen, (ConnectionState::Connected, 0, 1));
}

#[tokio::test]
async fn many_share_few_connections_and_none_waits_for_a_stream() {
    for (says, many, most) in [(None, 70, UPSTREAM_SHARED_STREAMS), (Some(10), 25, 10)] {
        let mut provider = Provider::start(says).await;
        let upstream = Arc::clone(&provider.upstream);
        let requests = join_all((0..many).map(|_| upstream.send(post("{}"))));
        let serving = async {
            let mut counts = [0; 3];
            let mut open = Vec::new();
            // None of them ends before all have begun.
            for _ in 0..many {
                let asked = provider.asked().await;
                counts[asked.connection] += 1;
                open.push(asked.begin());
            }
            assert!(counts.iter().all(|&count| count <= most), "{counts:?}");
            open
        };
        let (responses, open) = both(requests, serving).await;
        assert_eq!((upstream.link().in_use, upstream.link().idle), (3, 0));
        for mut body in open {
            body.send_data("ok".into(), true).expect("taken");
        }
        for response in responses {
            let mut body = response.expect("an answer").body;
            assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
        }
        assert_eq!((upstream.link().in_use, upstream.link().idle), (0, 3));
        // What comes now goes to the oldest, so that the others grow old.
        for _ in 0..3 {
            let (response, ()) = both(upstream.send(post("{}")), async {
                let asked = provider.asked().await;
                assert_eq!(asked.connection, 0);
                asked.say("ok");
            })
            .await;
            read_all(&mut response.expect("an answer").body)
                .await
                .expect("whole");
        }
    }
}

#[tokio::test]
async fn idle_connections_are_few_and_do_not_grow_old() {
    let mut provider = Provider::start(Some(1)).await;
    let upstream = Arc::clone(&provider.upstream);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(provider.ask().await);
    }
    for (response, mut sending) in held {
        sending.send_data("ok".into(), true).expect("taken");
        read_all(&mut response.expect("an answer").body)
            .await
            .expect("whole");
    }
    assert_eq!(upstream.link().idle, 2);
    tokio::time::pause();
    tokio::time::advance(UPSTREAM_IDLE_TIMEOUT / 2).await;
    upstream.watch();
    assert_eq!(upstream.shared_connections(), 2);
    tokio::time::advance(UPSTREAM_IDLE_TIMEOUT / 2).await;
    upstream.watch();
    assert_eq!(upstream.shared_connections(), 0);
    tokio::time::resume();

    let mut spec = upstream.spec().clone();
    spec.idle_connections = 0;
    let upstream = Arc::new(Upstream::new(spec).expect("valid"));
    provider.upstream = Arc::clone(&upstream);
    let (response, mut sending) = provider.ask().await;
    assert_eq!(upstream.shared_connections(), 1);
    sending.send_data("ok".into(), true).expect("taken");
    read_all(&mut response.expect("an answer").body)
        .await
        .expect("whole");
    assert_eq!(upstream.shared_connections(), 0);
}

#[tokio::test]
async fn a_dropped_body_ends_its_stream_and_no_other() {
    let mut provider = Provider::start(None).await;
    let (dropped, mut unwanted) = provider.ask().await;
    let (kept, mut wanted) = provider.ask().await;
    drop(dropped.expect("an answer"));
    let reason = std::future::poll_fn(|cx| unwanted.poll_reset(cx)).await;
    assert_eq!(reason.expect("reset, and not closed"), Reason::CANCEL);
    wanted.send_data("ok".into(), true).expect("taken");
    let mut body = kept.expect("an answer").body;
    assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
    assert_eq!(provider.upstream.shared_connections(), 1);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_is_ended() {
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    let mut asked = {
        let request = post("{}");
        let sending = upstream.send(request);
        tokio::pin!(sending);
        tokio::select! {
            answered = &mut sending => panic!("nobody answered: {answered:?}"),
            asked = provider.asked() => asked,
        }
    };
    let reason = std::future::poll_fn(|cx| asked.answer.poll_reset(cx)).await;
    assert_eq!(reason.expect("reset, and not closed"), Reason::CANCEL);
    assert_eq!((upstream.link().in_use, upstream.link().idle), (0, 1));
}

#[tokio::test]
async fn who_reads_slowly_is_sent_a_window_and_holds_up_no_other() {
    const WINDOW: usize = UPSTREAM_STREAM_WINDOW as usize;
    const SIZE: usize = 3 * WINDOW;
    let mut provider = Provider::start(None).await;
    let (response, mut sending) = provider.ask().await;
    let (sender, mut sent) = tokio::sync::watch::channel(0);
    let pouring = tokio::spawn(async move {
        let mut left = SIZE;
        while left > 0 {
            sending.reserve_capacity(left);
            let room = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
            let room = room.expect("open").expect("open").min(left);
            left -= room;
            sending
                .send_data(vec![b'a'; room].into(), left == 0)
                .expect("taken");
            sender.send_modify(|sent| *sent += room);
        }
    });
    sent.wait_for(|&sent| sent >= WINDOW)
        .await
        .expect("it runs");
    // Whole exchanges come and go meanwhile.
    for _ in 0..3 {
        let (response, mut other) = provider.ask().await;
        other.send_data("ok".into(), true).expect("taken");
        read_all(&mut response.expect("an answer").body)
            .await
            .expect("whole");
    }
    assert_eq!(*sent.borrow(), WINDOW, "nobody read it");
    assert_eq!(provider.upstream.shared_connections(), 1);
    let mut body = response.expect("an answer").body;
    let read = read_all(&mut body).await.expect("whole");
    assert_eq!(read.iter().map(Bytes::len).sum::<usize>(), SIZE);
    pouring.await.expect("all was sent");
}

#[tokio::test]
async fn an_upload_goes_as_it_comes_and_no_faster_than_it_is_taken() {
    const PIECE: usize = 16 << 10;
    const PIECES: usize = 64;
    let mut provider = Provider::start(None).await;
    let upstream = Arc::clone(&provider.upstream);
    for length in [Some((PIECE * PIECES) as u64), None] {
        let (sender, mut given) = tokio::sync::watch::channel(0);
        let source = stream::iter((0..PIECES).map(move |_| {
            sender.send_modify(|given| *given += 1);
            Ok(Bytes::from_static(&[b'q'; PIECE]))
        }));
        let upload = Upload::new(Box::pin(source), length);
        let sending = upstream.upload(post(""), upload);
        let serving = async {
            let mut asked = provider.asked().await;
            let announced = asked.request.headers().get("content-length").is_some();
            assert_eq!(announced, length.is_some());
            assert!(!asked.request.headers().contains_key("transfer-encoding"));
            // The window of this server has 65,535 bytes.
            given.wait_for(|&given| given >= 4).await.expect("it runs");
            assert!(*given.borrow_and_update() <= 5);
            assert_eq!(asked.body().await.len(), PIECE * PIECES);
            asked.say("ok");
        };
        let (response, ()) = both(sending, serving).await;
        let mut body = response.expect("an answer").body;
        assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
    }
}

#[tokio::test]
async fn http_1_is_spoken_where_the_server_or_the_operator_wants_it() {
    for (offers, http2) in [
        (&["http/1.1"][..], true),
        (&["h2", "http/1.1"], false),
        (&[], true),
    ] {
        let server = Server::offering(offers).await;
        let mut spec = server.spec();
        spec.http2 = http2;
        let upstream = Arc::new(Upstream::new(spec).expect("valid"));
        let requests = join_all((0..3).map(|_| upstream.send(post("{}"))));
        let serving = async {
            let mut held = Vec::new();
            // All at once: each has a connection of its own.
            for _ in 0..3 {
                let mut stream = server.accept().await.expect("agreed");
                crate::upstream::tests::tls::request(&mut stream).await;
                held.push(stream);
            }
            for stream in &mut held {
                let text = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                crate::upstream::tests::tls::say(stream, text).await;
            }
            held
        };
        let (responses, _held) = both(requests, serving).await;
        for response in responses {
            let mut body = response.expect("an answer").body;
            assert_eq!(read_all(&mut body).await.expect("whole").concat(), b"ok");
        }
        assert_eq!(
            (upstream.idle_connections(), upstream.shared_connections()),
            (3, 0)
        );
    }
}
