//! Planted keys and tokens, and every place where they could show up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use everstream::access::Access;
use everstream::clock::Clock;
use everstream_core::config::Env;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, ReceivedRequest, Script, Step};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{KEY_ONE, KEY_TWO, Setup, UPSTREAM_KEY, within};
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";
/// The second of the keys that the gateway has at the provider.
const SECOND_KEY: &str = "second-canary-5c2b";
/// In a header that the gateway sends to the provider.
const HEADER_KEY: &str = "header-canary-77d0";
/// Sent by a client, and not one of the gateway's keys.
const WRONG_KEY: &str = "wrong-canary-31be";

/// Answers as the model's name says, and quotes the credentials it was called with.
fn indiscreet(request: &ReceivedRequest) -> Script {
    let sent = |name| request.header(name).unwrap_or_default();
    let quote = format!("Bad key: {} {}", sent("authorization"), sent("x-team-key"));
    let error = json!({"error": {"message": quote, "type": "auth", "code": sent("x-team-key")}});
    let data = ChatAnswer::new(["all", " well"]).expected_data();
    let event = |data: &str| Step::Event(format!("data: {data}\n\n").into());
    let started = [event(&data[0]), event(&data[1])];
    let then =
        |last: String| Script::sse_steps(started.into_iter().chain([Step::Event(last.into())]));
    match request.json()["model"].as_str().unwrap_or_default() {
        "refuses" => Script::json(401, &error),
        "refuses-in-words" => Script::status(403, &[("content-type", "text/plain")], quote),
        "page" => Script::status(200, &[("content-type", "text/html")], format!("<p>{quote}")),
        "breaks" => then(format!("data: {error}\n\n")),
        "breaks-by-name" => then(format!("event: error\ndata: {quote}\n\n")),
        "malformed" => then(format!("data: {{{quote}\n\n")),
        "no-http" => Script::raw(format!("{quote}\r\n\r\n")),
        "no-header" => Script::json(200, &error).header("x-request-id", &quote),
        _ if request.wants_stream() => Script::sse(data),
        _ => Script::chat_json(&ChatAnswer::new(["all", " well"])),
    }
}

fn setup(provider: &FakeProvider) -> Setup {
    let base_url = provider.base_url();
    Setup::default()
        .upstream_fields(&format!(
            "[[upstreams]]\nname = \"fake\"\nbase_url = \"{base_url}\"\n\
             api_keys = [\"{UPSTREAM_KEY}\", \"{SECOND_KEY}\"]\n\
             headers = {{ \"x-team-key\" = \"{HEADER_KEY}\" }}"
        ))
        .with_keys()
}

/// Everything that a client got: heads and bodies.
struct Answers<'a> {
    process: &'a Process,
    got: String,
}

impl Answers<'_> {
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut client = self.process.client().await;
        let reply = within(async {
            let head = client
                .request(method, path, headers, body.as_bytes())
                .await
                .unwrap();
            (head, client.read_body().await.unwrap().0)
        });
        let (head, body) = reply.await;
        let text = String::from_utf8_lossy(&body);
        self.got.extend([&format!("{head:?}\n"), &*text, "\n"]);
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// The library under it has much to say at this level.
async fn ask_by_http_2(process: &Process, bearer: &str) {
    within(async {
        let socket = tokio::net::TcpStream::connect(process.addr).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        let running = tokio::spawn(connection);
        let request =
            http::Request::get("http://localhost/v1/models").header("authorization", bearer);
        let (response, _) = client
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        running.abort();
    })
    .await;
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

pub(crate) fn holds(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|window| window == secret)
}

/// What the provider is asked to say.
const WORDS: [&str; 9] = [
    "fine",
    "refuses",
    "refuses-in-words",
    "page",
    "breaks",
    "breaks-by-name",
    "malformed",
    "no-http",
    "no-header",
];

/// Sends keys and tokens wherever a client may. Gives all that came back but the tokens, and these.
async fn provoke(process: &Process) -> (String, Vec<String>) {
    let mut answers = Answers {
        process,
        got: String::new(),
    };
    let bearer = format!("Bearer {KEY_ONE}");
    let one = [("authorization", bearer.as_str())];
    for model in WORDS {
        for stream in [true, false] {
            let body = json!({"model": model, "stream": stream, "messages": []});
            answers.ask("POST", CHAT, &one, &body).await;
        }
    }
    let wrong = format!("Bearer {WRONG_KEY}");
    for header in [
        ("authorization", wrong.as_str()),
        ("x-api-key", WRONG_KEY),
        ("api-key", KEY_TWO),
    ] {
        answers
            .ask("GET", "/v1/models", &[header], &Value::Null)
            .await;
        answers
            .ask("GET", "/v1/nothing", &[header], &Value::Null)
            .await;
    }
    let in_query = format!("/v1/streams/0000000000000?token={WRONG_KEY}&key={KEY_TWO}");
    answers.ask("GET", &in_query, &[], &Value::Null).await;
    ask_by_http_2(process, &bearer).await;
    let list = answers
        .ask("GET", "/v1/streams?size=100", &one, &Value::Null)
        .await;
    let mut tokens = Vec::new();
    for stream in list["data"].as_array().unwrap() {
        let path = format!("/v1/streams/{}", stream["id"].as_str().unwrap());
        answers.ask("GET", &path, &one, &Value::Null).await;
        // Only the answer to this one may hold the token.
        let got = answers.got.clone();
        let token = answers
            .ask("POST", &format!("{path}/token"), &one, &Value::Null)
            .await;
        answers.got = got;
        let token = token["token"].as_str().unwrap().to_owned();
        for path in [&path, &format!("{path}x")] {
            answers
                .ask("GET", &format!("{path}?token={token}"), &[], &Value::Null)
                .await;
        }
        tokens.push(token);
    }
    (answers.got, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_token_shows_up_anywhere() {
    let provider = FakeProvider::start(indiscreet).await;
    let dir = TempDir::new().unwrap();
    let setup = setup(&provider).config("[telemetry]\nlevel = \"trace\"");
    let process = Process::start(&setup, dir.path());
    let (got, tokens) = provoke(&process).await;
    // Two models refuse a key, and are asked with the other one.
    assert_eq!(provider.calls().len(), WORDS.len() * 2 + 2);
    for key in [UPSTREAM_KEY, SECOND_KEY] {
        let bearer = format!("Bearer {key}");
        let sent = |call: &ReceivedRequest| call.header("authorization") == Some(&bearer);
        assert!(provider.calls().iter().any(sent));
    }
    assert_eq!(tokens.len(), WORDS.len() * 2);
    assert!(
        got.contains("all well") && got.contains("[redacted]"),
        "{got}"
    );
    let log = process.rest().join("\n");
    assert!(
        log.contains("TRACE h2::")
            && log.contains("upstream failed")
            && log.contains("key 2 of 2 rests"),
        "{log}"
    );
    let check = Command::new(env!("CARGO_BIN_EXE_everstream"))
        .args(["check", "--config"])
        .arg(dir.path().join("everstream.toml"))
        .output()
        .unwrap();
    assert!(check.status.success());

    let state = dir.path().join("data");
    let signing = fs::read(state.join("secret")).unwrap();
    let private = fs::metadata(state.join("secret")).unwrap().permissions();
    assert_eq!(private.mode() & 0o777, 0o600);
    let private = fs::metadata(&state).unwrap().permissions();
    assert_eq!(private.mode() & 0o777, 0o700);
    let mut secrets: Vec<Vec<u8>> = tokens.into_iter().map(Into::into).collect();
    let planted = [
        UPSTREAM_KEY,
        SECOND_KEY,
        HEADER_KEY,
        WRONG_KEY,
        KEY_ONE,
        KEY_TWO,
    ];
    secrets.extend(planted.map(Into::into));
    secrets.push(signing);

    let mut places = vec![
        ("responses".to_owned(), got.into_bytes()),
        ("log".to_owned(), log.into_bytes()),
        ("check".to_owned(), [check.stdout, check.stderr].concat()),
    ];
    for path in files(&state) {
        // Not the sockets that processes talk to each other by.
        if path.is_file() && !path.ends_with("secret") {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(
        places[3..]
            .iter()
            .any(|(_, bytes)| holds(bytes, b"refuses-in-words"))
    );
    for (place, bytes) in places {
        for secret in &secrets {
            let text = || String::from_utf8_lossy(secret);
            assert!(
                !holds(&bytes, secret),
                "{} is in {place}:\n{}",
                text(),
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}

#[tokio::test]
async fn nothing_that_can_be_printed_prints_a_key() {
    let provider = FakeProvider::start(indiscreet).await;
    let dir = TempDir::new().unwrap();
    let config = setup(&provider).parsed(dir.path());
    let assembled = everstream::upstream::assemble::assemble(&config, &Env::default()).await;
    let assembled = assembled.unwrap();
    let upstream = Arc::clone(&assembled.upstreams[0]);
    let spec = upstream.spec().clone();
    let printed = format!(
        "{config:?} {config:#?} {:?} {assembled:?} {upstream:?} {spec:?} {:?}",
        Access::new(&config, None, Clock::start()),
        upstream.secrets(),
    );
    for secret in [UPSTREAM_KEY, SECOND_KEY, HEADER_KEY, KEY_ONE, KEY_TWO] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
    assert!(printed.contains("x-team-key"), "{printed}");
}
