use super::*;
use crate::upstream::UpstreamSpec;
use crate::upstream::tests::{answer, both, json, listen};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};

const OPENAI: ProviderDialect = ProviderDialect::OpenAiChat;

fn upstream(name: &str, address: SocketAddr, models: Option<&[&str]>) -> Arc<Upstream> {
    let mut spec = UpstreamSpec::new(name, format!("http://{address}/v1"));
    spec.models = models.map(|models| models.iter().map(|&model| model.to_owned()).collect());
    Arc::new(Upstream::new(spec).expect("valid"))
}

fn aliases(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned()));
    pairs.collect()
}

fn names(directory: &ModelDirectory) -> Vec<(String, String)> {
    let entries = directory.list().into_iter();
    entries.map(|entry| (entry.id, entry.upstream)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let expected = expected.iter().map(|&(a, b)| (a.to_owned(), b.to_owned()));
    expected.collect()
}

#[test]
fn only_lists_of_models_are_taken() {
    for (text, models, openai) in [
        (
            r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b"}]}"#,
            vec!["a", "b"],
            true,
        ),
        (r#"{"object":"list","data":null}"#, vec![], true),
        (r#"{"data":[{"id":"a"}]}"#, vec!["a"], false),
        (r#"[{"id":"a"}]"#, vec!["a"], false),
    ] {
        let list = parse_models(text.as_bytes()).expect(text);
        assert_eq!(
            (list.models, list.openai),
            (models.iter().map(ToString::to_string).collect(), openai)
        );
    }
    for text in [
        "",
        "{}",
        "null",
        r#"{"object":"list"}"#,
        r#"{"data":[1]}"#,
        r#"{"data":[{}]}"#,
        "<html>",
    ] {
        assert!(parse_models(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn a_name_appears_once_with_the_upstream_that_serves_it() {
    let address = "127.0.0.1:9".parse().expect("an address");
    let directory = ModelDirectory::new(
        vec![
            upstream("a", address, Some(&["x", "shared"])),
            upstream("b", address, Some(&["shared", "y"])),
        ],
        aliases(&[("fast", "b/q"), ("y", "x"), ("gone", "nowhere")]),
    );
    let expected = pairs(&[("fast", "b"), ("y", "a"), ("x", "a"), ("shared", "a")]);
    assert_eq!(names(&directory), expected);
    let route = directory.route("fast", OPENAI).expect("an alias");
    assert_eq!((route.upstream.name(), route.model.as_str()), ("b", "q"));
    assert_eq!(
        directory
            .route("sharde", OPENAI)
            .expect_err("unknown")
            .nearest,
        ["shared"]
    );
}

#[tokio::test]
async fn lists_are_fetched_and_a_failure_keeps_the_old_one() {
    let (listener, address) = listen().await;
    let (silent, nobody) = listen().await;
    drop(silent);
    let directory = ModelDirectory::new(
        vec![upstream("a", address, None), upstream("b", nobody, None)],
        BTreeMap::new(),
    );
    assert_eq!(
        directory
            .route("m", OPENAI)
            .expect_err("both unknown")
            .unlisted,
        ["a", "b"]
    );
    let list = json(r#"{"object":"list","data":[{"id":"m"}]}"#)
        .replace("200 OK", "200 OK\r\nconnection: close");
    let ((), (_, request)) = both(directory.refresh(), answer(&listener, &list)).await;
    assert!(
        request.starts_with("GET /v1/models HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(!request.contains("content-length"), "{request}");
    assert_eq!(names(&directory), pairs(&[("m", "a")]));
    assert_eq!(
        directory
            .route("n", OPENAI)
            .expect("b is unknown")
            .upstream
            .name(),
        "b"
    );
    let failure = "HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    both(directory.refresh(), answer(&listener, failure)).await;
    assert_eq!(names(&directory), pairs(&[("m", "a")]));
}

#[tokio::test]
async fn a_list_without_an_end_is_not_read_for_ever() {
    let (listener, address) = listen().await;
    let upstream = upstream("a", address, None);
    let endless = format!(
        "HTTP/1.1 200 OK\r\n\r\n[{}",
        " ".repeat(UPSTREAM_MODELS_BYTES)
    );
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        crate::upstream::tests::request(&mut stream).await;
        // The client hangs up before all of it is written.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, endless.as_bytes()).await;
    };
    let (result, ()) = both(fetch_models(&upstream), serve).await;
    assert!(matches!(result, Err(ModelsError::TooLarge)));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_was_down_at_the_start_is_asked_again_soon() {
    let (listener, address) = listen().await;
    let directory = ModelDirectory::new(vec![upstream("a", address, None)], BTreeMap::new());
    let list = json(r#"{"data":[{"id":"m"}]}"#);
    let stop = CancellationToken::new();
    // While this task runs, paused time does not leap to a timeout when bytes are on their way.
    let (_still, dropped) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || dropped.recv_timeout(Duration::from_mins(1)));
    let started = Instant::now();
    let serve = async {
        drop(listener.accept().await.expect("the first attempt"));
        let mut stream = loop {
            tokio::time::advance(UPSTREAM_MODELS_RETRY).await;
            // Once more, should it not have heard of its failure yet.
            if let Some(stream) = accept_soon(&listener).await {
                break stream;
            }
        };
        crate::upstream::tests::request(&mut stream).await;
        let answer = tokio::io::AsyncWriteExt::write_all(&mut stream, list.as_bytes());
        answer.await.expect("written");
        while names(&directory).is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    both(directory.run(stop.clone()), serve).await;
    assert_eq!(names(&directory), pairs(&[("m", "a")]));
    assert!(started.elapsed() >= UPSTREAM_MODELS_RETRY);
    assert!(started.elapsed() < UPSTREAM_MODELS_REFRESH);
}

/// A connection that comes within a second of the machine's time, as tokio's may stand still.
async fn accept_soon(listener: &TcpListener) -> Option<TcpStream> {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        if let Some(accepted) = listener.accept().now_or_never() {
            return accepted.ok().map(|(stream, _)| stream);
        }
        tokio::task::yield_now().await;
    }
    None
}
