//! Requests for what passes through that are refused, by the gateway before anything is sent, or by
//! the upstream.

use everstream_testkit::provider::{FakeProvider, Script};
use serde_json::{Value, json};

use crate::harness::{KEY_ONE, Setup, UPSTREAM_KEY, within};
use crate::raw::RawUpstream;

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");
const JSON: (&str, &str) = ("content-type", "application/json");

fn field(name: &str, value: &str) -> String {
    format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[tokio::test]
async fn nothing_is_sent_of_a_request_that_is_wrong() {
    let provider = FakeProvider::start(|_| Script::json(200, &json!({}))).await;
    let gateway = Setup::default()
        .config("[limits]\nrequest_body_bytes = \"2KiB\"\nupload_bytes = \"8KiB\"")
        .upstream("fake", &provider.base_url(), "models = [\"m\"]")
        .upstream("other", &provider.base_url(), "models = [\"n\"]")
        .upstream(
            "claude",
            &provider.base_url(),
            "dialect = \"anthropic\"\nmodels = [\"opus\"]",
        )
        .start()
        .await;
    let model = field("model", "m");
    let far = field("file", &"x".repeat(4 << 10)) + &model + "--b--";
    let large = model.clone() + &field("file", &"x".repeat(9 << 10)) + "--b--";
    let long = "x".repeat(257);
    let long_id = format!("GET /v1/files/{long}");
    let speech = "POST /v1/audio/speech";
    let transcribe = "POST /v1/audio/transcriptions";
    let opus = "{\"model\":\"opus\"}";
    for (line, headers, body, status, code, param) in [
        (speech, vec![JSON], "{}", 400, "missing_field", "model"),
        (speech, vec![JSON], "{", 400, "invalid_json", ""),
        (
            speech,
            vec![JSON],
            "{\"model\":1}",
            400,
            "invalid_value",
            "model",
        ),
        (
            speech,
            vec![JSON],
            opus,
            400,
            "unsupported_parameter",
            "model",
        ),
        (
            speech,
            vec![JSON],
            "{\"model\":\"none\"}",
            404,
            "model_not_found",
            "model",
        ),
        (speech, vec![JSON], &large, 413, "body_too_large", ""),
        (
            "GET /v1/audio/speech",
            vec![],
            "",
            405,
            "method_not_allowed",
            "",
        ),
        (
            transcribe,
            vec![FORM],
            "--b--",
            400,
            "missing_field",
            "model",
        ),
        (transcribe, vec![FORM], "--bc\r\n", 400, "invalid_value", ""),
        (transcribe, vec![FORM], &far, 400, "invalid_value", "model"),
        (transcribe, vec![FORM], &large, 413, "body_too_large", ""),
        (
            transcribe,
            vec![FORM],
            &(field("model", "opus") + "--b--"),
            400,
            "unsupported_parameter",
            "model",
        ),
        (
            transcribe,
            vec![FORM],
            &(field("model", "") + "--b--"),
            400,
            "invalid_value",
            "model",
        ),
        (
            transcribe,
            vec![FORM],
            &(model.clone() + &model + "--b--"),
            400,
            "invalid_value",
            "model",
        ),
        (
            "POST /v1/files",
            vec![FORM],
            &large,
            413,
            "body_too_large",
            "",
        ),
        (
            "GET /v1/files?upstream=claude",
            vec![],
            "",
            400,
            "unsupported_parameter",
            "Everstream-Upstream",
        ),
        (
            "GET /v1/files?upstream=nobody",
            vec![],
            "",
            400,
            "invalid_value",
            "Everstream-Upstream",
        ),
        ("GET /v1/files/..", vec![], "", 400, "invalid_value", ""),
        ("GET /v1/files/a%2fb", vec![], "", 400, "invalid_value", ""),
        (
            "GET /v1/files/a;b/content",
            vec![],
            "",
            400,
            "invalid_value",
            "",
        ),
        (&long_id, vec![], "", 400, "invalid_value", ""),
        ("PUT /v1/batches", vec![], "", 405, "method_not_allowed", ""),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let mut client = gateway.client().await;
        let head = within(client.request(method, path, &headers, body.as_bytes())).await;
        let head = head.unwrap();
        let answer = within(client.read_json()).await.unwrap();
        assert_eq!(head.status, status, "{line}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert_eq!(
            answer["error"]["param"].as_str().unwrap_or_default(),
            param,
            "{line}"
        );
        assert!(head.header("x-request-id").is_some());
    }
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn a_stranger_and_a_strangers_page_are_refused() {
    let provider = FakeProvider::start(|_| Script::json(200, &json!({}))).await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let mut client = gateway.client().await;
    for headers in [vec![], vec![("authorization", "Bearer es-wrong")]] {
        let head = within(client.get("/v1/files", &headers)).await.unwrap();
        assert_eq!(head.status, 401);
        assert_eq!(head.header("www-authenticate"), Some("Bearer"));
        within(client.read_json()).await.unwrap();
    }
    let open = Setup::new(&provider).start().await;
    let mut client = open.client().await;
    let headers = [("origin", "https://elsewhere.example")];
    let head = within(client.get("/v1/files", &headers)).await.unwrap();
    assert_eq!(head.status, 403);
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn a_second_model_behind_what_was_sent_breaks_the_request_off() {
    let upstream = RawUpstream::start();
    let gateway = upstream.setup().start().await;
    let body =
        field("model", "whisper") + &field("file", "audio") + &field("model", "tts") + "--b--";
    // The second comes when the first was sent.
    let (first, rest) = body.split_at(120);
    let mut client = gateway.client().await;
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\n\
         content-length: {}\r\n\r\n{first}",
        FORM.0,
        FORM.1,
        body.len()
    );
    client.send(head.as_bytes()).await.unwrap();
    let mut exchange = upstream.accept().await;
    exchange.read(first.len()).await;
    client.send(rest.as_bytes()).await.unwrap();
    exchange.hung_up().await;
    let head = within(client.read_head()).await.unwrap();
    assert_eq!(head.status, 400);
    let answer = within(client.read_json()).await.unwrap();
    assert_eq!(answer["error"]["param"], "model");
}

#[tokio::test]
async fn an_upstreams_refusal_keeps_its_status_and_words_but_no_key() {
    let quote = format!("Bad key {UPSTREAM_KEY}.");
    let error = json!({"error": {"message": quote, "type": "auth", "param": null, "code": "bad"}});
    let provider = FakeProvider::start(move |request| match request.path.as_str() {
        "/v1/files/busy" => Script::json(429, &error).header("retry-after", "7"),
        "/v1/files/moved" => Script::status(302, &[("location", "https://elsewhere")], "x"),
        "/v1/files/page" => Script::status(404, &[("content-type", "text/html")], "<p>no"),
        "/v1/files/huge" => Script::status(500, &[], "x".repeat(1 << 20)),
        _ => Script::json(401, &error),
    })
    .await;
    let gateway = Setup::new(&provider).with_keys().start().await;
    let bearer = format!("Bearer {KEY_ONE}");
    for (id, status, words) in [
        (
            "any",
            401,
            "refused this gateway's key: Bad key [redacted].",
        ),
        ("busy", 429, "Bad key [redacted]."),
        ("page", 404, ""),
        ("huge", 500, ""),
        ("moved", 502, "redirect"),
    ] {
        let mut client = gateway.client().await;
        let path = format!("/v1/files/{id}");
        let headers = [("authorization", bearer.as_str())];
        let head = within(client.get(&path, &headers)).await.unwrap();
        assert_eq!(head.status, status, "{id}");
        assert_eq!(head.header("everstream-upstream"), Some("fake"));
        assert_eq!(head.header("content-type"), Some("application/json"));
        let after = (id == "busy").then_some("7");
        assert_eq!(head.header("retry-after"), after);
        assert_eq!(head.header("location"), None);
        let answer: Value = within(client.read_json()).await.unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{id}: {message}");
        assert!(!answer.to_string().contains(UPSTREAM_KEY));
    }
}
