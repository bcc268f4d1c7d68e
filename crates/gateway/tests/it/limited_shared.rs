//! Limits that gateways share by way of one Postgres.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use everstream_testkit::provider::{FakeProvider, Gate};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Gateway, KEY_ONE, Setup, within};
use crate::talk::{CHAT, Reply, answer_to, chat, held, post, unary_chat};

/// The server of `scripts/postgres.sh`.
fn server() -> String {
    let address = std::env::var("EVERSTREAM_TEST_POSTGRES")
        .expect("EVERSTREAM_TEST_POSTGRES: run this with scripts/postgres.sh");
    // Its certificate is of no known authority.
    address + "?sslmode=disable"
}

/// A project that no other test knows, as all share one database.
fn project() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("limited-{}-{number}", std::process::id())
}

async fn gateway(provider: &FakeProvider, database: &str, project: &str, bounds: &str) -> Gateway {
    let hash = everstream_core::config::key_hash(KEY_ONE);
    let hash = everstream_core::config::show_key_hash(hash);
    let config = format!(
        "[database]\nurl = \"{database}\"\n[[rate_limits]]\nper = \"project\"\nbounds = [{bounds}]\n\
         [[keys]]\nproject = \"{project}\"\nhash = \"{hash}\"\n"
    );
    Setup::new(provider).config(&config).start().await
}

async fn ask(gateway: &Gateway, stream: bool) -> Reply {
    let body = if stream { chat("x") } else { unary_chat("x") };
    let key = format!("Bearer {KEY_ONE}");
    post(gateway, CHAT, &body, &[("authorization", &key)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn two_gateways_never_let_in_more_than_there_is() {
    let provider = FakeProvider::start(answer_to).await;
    let project = project();
    let bounds = "\"requests=50/1h\", \"concurrency=200\"";
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(Arc::new(
            gateway(&provider, &server(), &project, bounds).await,
        ));
    }
    // The first request of each opens the connection, for which there is time.
    let mut let_in = 0;
    for gateway in &gateways {
        let_in += usize::from(ask(gateway, false).await.head.status == 200);
    }
    let asked = (0..200).map(|n| {
        let gateway = Arc::clone(&gateways[n % 2]);
        tokio::spawn(async move { ask(&gateway, false).await.head.status })
    });
    for status in asked.collect::<Vec<_>>() {
        let status = within(status).await.unwrap();
        assert!(status == 200 || status == 429, "{status}");
        let_in += usize::from(status == 200);
    }
    assert!(
        gateways
            .iter()
            .all(|one| one.app.limits.is_shared() == Some(true))
    );
    assert_eq!((let_in, provider.calls().len()), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn slots_are_shared_and_come_back() {
    let gate = Gate::new("held");
    let held_by = gate.clone();
    let provider = FakeProvider::start(move |request| match request.wants_stream() {
        true => held(3, &held_by),
        false => answer_to(request),
    })
    .await;
    let project = project();
    let one = gateway(&provider, &server(), &project, "\"concurrency=3\"").await;
    let two = gateway(&provider, &server(), &project, "\"concurrency=3\"").await;
    let mut running = vec![
        ask(&one, true).await,
        ask(&two, true).await,
        ask(&two, true).await,
    ];
    assert!(running.iter().all(|reply| reply.head.status == 200));
    for gateway in [&one, &two] {
        assert_eq!(
            ask(gateway, true).await.error(429).await,
            "rate_limit_exceeded"
        );
    }
    gate.open();
    running.remove(0).frames().await;
    // What a gateway has given back, it can have again at once, told or not.
    for _ in 0..50 {
        let reply = ask(&one, false).await;
        assert_eq!(reply.head.status, 200);
        reply.body().await;
    }
    for reply in running {
        reply.frames().await;
    }
    for _ in 0..50 {
        let replies = [ask(&two, false).await, ask(&two, false).await];
        for reply in replies {
            assert_eq!(reply.head.status, 200);
            reply.body().await;
        }
    }
}

/// A line to the server that can be cut.
async fn line() -> (String, watch::Sender<bool>) {
    let address = server();
    let (before, rest) = address.split_once('@').unwrap();
    let (place, database) = rest.split_once('/').unwrap();
    let (place, listener) = (
        place.to_owned(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let port = listener.local_addr().unwrap().port();
    let (is_open, state) = watch::channel(true);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (place, mut state) = (place.clone(), state.clone());
            tokio::spawn(async move {
                if !*state.borrow_and_update() {
                    return;
                }
                let mut server = TcpStream::connect(&place).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = state.wait_for(|is_open| !is_open) => {}
                }
            });
        }
    });
    (format!("{before}@127.0.0.1:{port}/{database}"), is_open)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: scripts/postgres.sh"]
async fn without_the_database_each_counts_for_itself_until_it_is_back() {
    let provider = FakeProvider::start(answer_to).await;
    let (database, is_open) = line().await;
    let project = project();
    let bounds = "\"requests=5/31d\", \"concurrency=9\"";
    let one = gateway(&provider, &database, &project, bounds).await;
    let two = gateway(&provider, &server(), &project, bounds).await;
    let left = |reply: &Reply| reply.header("x-ratelimit-remaining-requests").to_owned();
    for (gateway, expected) in [(&one, "4"), (&two, "3")] {
        assert_eq!(left(&ask(gateway, false).await), expected);
    }
    is_open.send(false).unwrap();
    for expected in ["4", "3", "2", "1", "0"] {
        let reply = ask(&one, false).await;
        assert_eq!(
            (reply.head.status, left(&reply)),
            (200, expected.to_owned())
        );
    }
    assert_eq!(one.app.limits.is_shared(), Some(false));
    assert_eq!(ask(&one, false).await.head.status, 429);
    assert_eq!(left(&ask(&two, false).await), "2");
    is_open.send(true).unwrap();
    within(async {
        while one.app.limits.is_shared() != Some(true) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(left(&ask(&one, false).await), "1");
    assert_eq!(left(&ask(&two, false).await), "0");
    assert_eq!(ask(&one, false).await.head.status, 429);
}
