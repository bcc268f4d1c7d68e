//! Requests that pass through: what arrives at the upstream, and what at the client. What is refused,
//! breaks or stalls is in `relay_refused` and `relay_life`.

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::json;

use crate::harness::{KEY_ONE, Setup, within};
use crate::raw::{RawUpstream, noise};

const TRANSCRIBE: &str = "/v1/audio/transcriptions";
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"b-42\"");

/// A body with a model and a file, in this order or the other.
fn form(model: &str, file: &[u8], model_first: bool) -> Vec<u8> {
    let model =
        format!("--b-42\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
    let mut part =
        b"--b-42\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
                     Content-Type: audio/wav\r\n\r\n"
            .to_vec();
    part.extend_from_slice(file);
    part.extend_from_slice(b"\r\n");
    let parts = if model_first {
        [model.as_bytes(), &part]
    } else {
        [&part, model.as_bytes()]
    };
    [parts[0], parts[1], b"--b-42--\r\n"].concat()
}

#[tokio::test]
async fn a_large_upload_arrives_byte_for_byte_with_the_models_name_there() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().with_keys().start().await;
    let audio = noise(20 << 20);
    let bearer = format!("Bearer {KEY_ONE}");
    for model_first in [true, false] {
        let body = form("raw/whisper", &audio, model_first);
        let client = async {
            let mut client = gateway.client().await;
            let headers = [
                FORM,
                ("authorization", &bearer),
                ("cookie", "session=es-key"),
                ("openai-beta", "x=1"),
            ];
            let head = client.request("POST", TRANSCRIBE, &headers, &body).await;
            let head = head.unwrap();
            assert_eq!(head.status, 200);
            assert_eq!(head.header("everstream-upstream"), Some("raw"));
            assert_eq!(head.header("set-cookie"), None);
            assert!(head.header("x-request-id").is_some());
            client.read_json().await.unwrap()
        };
        let server = async {
            let mut exchange = upstream.accept().await;
            assert_eq!(exchange.line(), "POST /base/v1/audio/transcriptions");
            assert_eq!(exchange.header("content-type"), Some(FORM.1));
            assert_eq!(exchange.header("openai-beta"), Some("x=1"));
            assert_eq!(exchange.header("cookie"), None);
            exchange.assert_called_by_the_gateway();
            let received = exchange.body().await;
            assert!(received == form("whisper", &audio, model_first));
            let headers = "content-type: application/json\r\nset-cookie: a=b\r\n";
            exchange.answer(200, headers, "{\"text\":\"hello\"}").await;
        };
        let (answer, ()) = within(async { tokio::join!(client, server) }).await;
        assert_eq!(answer, json!({"text": "hello"}));
    }
}

#[tokio::test]
async fn an_upload_is_not_held_whether_its_length_is_known_or_not() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let body = form("whisper", &noise(64 << 10), true);
    // All of the model's part, and a bit of the file.
    let (first, rest) = body.split_at(300);
    for chunked in [false, true] {
        let mut client = gateway.client().await;
        let frame = |bytes: &[u8]| match chunked {
            true => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
            false => bytes.to_vec(),
        };
        let framing = match chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("content-length: {}", body.len()),
        };
        let head = format!(
            "POST {TRANSCRIBE} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\n{framing}\r\n\r\n",
            FORM.0, FORM.1
        );
        client.send(head.as_bytes()).await.unwrap();
        client.send(&frame(first)).await.unwrap();
        // The upstream sees the beginning before the client goes on.
        let mut exchange = upstream.accept().await;
        let mut received = exchange.beginning(first.len()).await;
        client.send(&frame(rest)).await.unwrap();
        if chunked {
            client.send(b"0\r\n\r\n").await.unwrap();
            received.extend(exchange.body().await);
        } else {
            received.extend(exchange.read(rest.len()).await);
        }
        assert!(received == body);
        exchange.answer(200, "", "{}").await;
        assert_eq!(within(client.read_head()).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_large_download_arrives_byte_for_byte_as_it_comes() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let audio = noise(20 << 20);
    for chunked in [false, true] {
        let client = async {
            let mut client = gateway.client().await;
            let body = json!({"model": "tts", "input": "hi", "voice": "alloy"});
            let head = client
                .post_json("/v1/audio/speech", &body, &[])
                .await
                .unwrap();
            assert_eq!(head.header("content-type"), Some("audio/mpeg"));
            let disposition = "attachment; filename=\"a.mp3\"";
            assert_eq!(head.header("content-disposition"), Some(disposition));
            let length = head.header("content-length").map(str::to_owned);
            assert_eq!(length.is_none(), chunked);
            client.read_body().await.unwrap()
        };
        let server = async {
            let mut exchange = upstream.accept().await;
            exchange.body().await;
            let framing = match chunked {
                true => "transfer-encoding: chunked".to_owned(),
                false => format!("content-length: {}", audio.len()),
            };
            exchange
                .send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\n\
                     content-disposition: attachment; filename=\"a.mp3\"\r\n{framing}\r\n\r\n"
                ))
                .await;
            for piece in audio.chunks(100_000) {
                if chunked {
                    exchange.send(format!("{:x}\r\n", piece.len())).await;
                }
                exchange.send(piece).await;
                if chunked {
                    exchange.send("\r\n").await;
                }
            }
            if chunked {
                exchange.send("0\r\n\r\n").await;
            }
            exchange
        };
        let (received, _) = within(async { tokio::join!(client, server) }).await;
        assert!(received.0 == audio && received.1 == BodyEnd::Clean);
    }
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let mut client = gateway.client().await;
    let body = json!({"model": "tts", "stream": true, "partial_images": 1, "prompt": "a cat"});
    let (head, mut exchange) = within(async {
        tokio::join!(
            client.post_json("/v1/images/generations", &body, &[]),
            async {
                let mut exchange = upstream.accept().await;
                exchange.body().await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                exchange.send(head).await;
                exchange
            }
        )
    })
    .await;
    let head = head.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    for n in 0..3 {
        let event = format!("event: image_generation.partial_image\ndata: {{\"n\":{n}}}\n\n");
        exchange.send(&event).await;
        // The upstream says nothing more until the client has it.
        let frame = within(client.read_sse_frame()).await.unwrap().unwrap();
        assert_eq!(frame, event);
    }
    drop(exchange);
    assert_eq!(within(client.read_body()).await.unwrap().1, BodyEnd::Clean);
}

/// Answers with what was asked.
fn echo(request: &ReceivedRequest) -> Script {
    let query = match request.query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let path = request.path.clone() + &query;
    Script::json(200, &json!({"path": path, "body": request.body.as_ref()}))
}

#[tokio::test]
async fn every_path_goes_to_the_same_path_below_the_base_url() {
    let provider = FakeProvider::start(echo).await;
    let gateway = Setup::new(&provider).start().await;
    let named = [
        "images/generations",
        "images/edits",
        "images/variations",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "moderations",
        "rerank",
    ];
    let nameless = [
        ("POST", "files"),
        ("GET", "files?purpose=batch&limit=2"),
        ("GET", "files/file-a_1"),
        ("DELETE", "files/file-a_1"),
        ("GET", "files/file-a_1/content"),
        ("POST", "uploads"),
        ("POST", "uploads/upload_1/parts"),
        ("POST", "uploads/upload_1/complete"),
        ("POST", "uploads/upload_1/cancel"),
        ("POST", "batches"),
        ("GET", "batches?after=batch_1"),
        ("GET", "batches/batch_1"),
        ("POST", "batches/batch_1/cancel"),
    ];
    let named = named.map(|path| ("POST", path));
    let mut client = gateway.client().await;
    for (method, path) in named.into_iter().chain(nameless) {
        let body: &[u8] = match method {
            "POST" => b"{\"model\":\"m\",\"x\":1}",
            _ => b"",
        };
        let target = format!("/v1/{path}");
        let headers = [("content-type", "application/json")];
        let head = within(client.request(method, &target, &headers, body)).await;
        assert_eq!(head.unwrap().status, 200, "{method} {path}");
        let answer = within(client.read_json()).await.unwrap();
        assert_eq!(answer["path"], target);
        assert_eq!(answer["body"], json!(body), "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_model_the_client_names_the_upstream_or_it_is_the_first() {
    let (one, two) = (
        FakeProvider::start(echo).await,
        FakeProvider::start(echo).await,
    );
    let claude = FakeProvider::start(echo).await;
    let gateway = Setup::default()
        .upstream(
            "claude",
            &claude.base_url(),
            "dialect = \"anthropic\"\nmodels = [\"opus\"]",
        )
        .upstream("one", &one.base_url(), "models = [\"m\"]")
        .upstream("two", &two.base_url(), "models = [\"omni\"]")
        .start()
        .await;
    let mut client = gateway.client().await;
    for (path, headers, expected) in [
        ("/v1/files", vec![], "one"),
        ("/v1/files?upstream=two&limit=1", vec![], "two"),
        (
            "/v1/batches/b1",
            vec![("everstream-upstream", "two")],
            "two",
        ),
    ] {
        let head = within(client.get(path, &headers)).await.unwrap();
        assert_eq!(head.header("everstream-upstream"), Some(expected), "{path}");
        within(client.read_json()).await.unwrap();
    }
    assert_eq!(two.calls()[0].query, "limit=1");
    // An upstream that has a default for the model may be named too.
    for (body, expected) in [
        (json!({"input": "a"}), "one"),
        (json!({"input": "a", "model": "omni"}), "two"),
    ] {
        let head = within(client.post_json("/v1/moderations", &body, &[]))
            .await
            .unwrap();
        assert_eq!(head.header("everstream-upstream"), Some(expected));
        within(client.read_json()).await.unwrap();
    }
    assert!(claude.calls().is_empty());
}

#[tokio::test]
async fn cohere_and_azure_have_their_paths_elsewhere() {
    let provider = FakeProvider::start(echo).await;
    let base = provider.base_url();
    let root = base.strip_suffix("/v1").unwrap();
    let azure = "provider = \"azure\"\napi_version = \"2024-10-21\"\nmodels = [\"whisper\"]";
    let gateway = Setup::default()
        .upstream(
            "cohere",
            root,
            "provider = \"cohere\"\nmodels = [\"rerank-v3.5\"]",
        )
        .upstream("azure", root, azure)
        .start()
        .await;
    let mut client = gateway.client().await;
    for (path, model, expected) in [
        ("/v1/rerank", "rerank-v3.5", "/v2/rerank"),
        (
            "/v1/audio/speech",
            "whisper",
            "/openai/deployments/whisper/audio/speech?api-version=2024-10-21",
        ),
    ] {
        let body = json!({"model": model}).to_string();
        let headers = [("content-type", "application/json")];
        let head = within(client.request("POST", path, &headers, body.as_bytes())).await;
        assert_eq!(head.unwrap().status, 200, "{path}");
        let answer = within(client.read_json()).await.unwrap();
        assert_eq!(answer["path"], expected);
    }
}
