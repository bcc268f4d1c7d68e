//! The one line that the log has of each request that passes through, and what no line may have.

use everstream_testkit::provider::{FakeProvider, Script};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{KEY_ONE, UPSTREAM_KEY, within};
use crate::process::Process;
use crate::realtime::Realtime;

const PROMPT: &str = "prompt-canary-5d1b";
const ANSWER: &str = "answer-canary-90c2";

fn usage() -> Value {
    json!({"type": ANSWER, "input_tokens": 5, "input_token_details": {"audio_tokens": 4}})
}

/// The lines about requests that passed through, as JSON.
fn lines(log: &[String]) -> Vec<Value> {
    let parsed = log
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let fields = parsed.map(|line: Value| line["fields"].clone());
    fields
        .filter(|fields| fields["message"] == "passed through")
        .collect()
}

async fn talk(process: &Process, upstream: &Realtime) {
    let url = format!("ws://{}/v1/realtime?model=gpt-realtime", process.addr);
    let mut request = url.into_client_request().unwrap();
    let protocol = format!("realtime, openai-insecure-api-key.{KEY_ONE}");
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    let stream = tokio::net::TcpStream::connect(process.addr).await.unwrap();
    let opening = tokio_tungstenite::client_async(request, stream);
    let (opened, mut session) = tokio::join!(opening, upstream.accept());
    let (mut client, response) = opened.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "realtime");
    client.send(Message::text(PROMPT)).await.unwrap();
    for _ in 0..2 {
        let done = json!({"type": "response.done", "response": {"usage": usage(), "x": ANSWER}});
        session.say(Message::text(done.to_string())).await;
        client.next().await.unwrap().unwrap();
    }
    client.close(None).await.unwrap();
    while session.socket.next().await.is_some() {}
    while client.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_with_its_usage_and_nothing_that_was_said() {
    let provider = FakeProvider::start(|request| match request.path.as_str() {
        "/v1/files" => Script::json(401, &json!({"error": {"message": UPSTREAM_KEY}})),
        "/v1/audio/speech" => Script::sse([json!({"audio": ANSWER, "usage": usage()}).to_string()]),
        _ => Script::json(200, &json!({"text": ANSWER, "usage": usage()})),
    })
    .await;
    let upstream = Realtime::start().await;
    let dir = TempDir::new().unwrap();
    let setup = upstream
        .setup()
        .upstream("fake", &provider.base_url(), "models = [\"whisper\"]")
        .config("[telemetry]\nlevel = \"trace\"\nformat = \"json\"")
        .with_keys();
    let process = Process::start(&setup, dir.path());
    let bearer = format!("Bearer {KEY_ONE}");
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper\r\n\
         --b\r\ncontent-disposition: form-data; name=prompt\r\n\r\n{PROMPT}\r\n--b--"
    );
    let json = format!("{{\"model\":\"fake/whisper\",\"input\":\"{PROMPT}\"}}");
    let mut got = String::new();
    for (path, kind, body, status) in [
        (
            "audio/transcriptions",
            "multipart/form-data; boundary=b",
            &form,
            200,
        ),
        ("audio/speech", "application/json", &json, 200),
        ("files?upstream=fake", "application/json", &json, 401),
    ] {
        let mut client = process.client().await;
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let path = format!("/v1/{path}");
        let head = within(client.request("POST", &path, &headers, body.as_bytes())).await;
        assert_eq!(head.unwrap().status, status);
        let (answer, _) = within(client.read_body()).await.unwrap();
        got.push_str(&String::from_utf8_lossy(&answer));
    }
    within(talk(&process, &upstream)).await;
    assert!(!got.contains(UPSTREAM_KEY));
    let log = process.rest();
    let lines = lines(&log);
    assert_eq!(lines.len(), 4, "{lines:?}");
    let once = "{\"input_token_details\":{\"audio_tokens\":4},\"input_tokens\":5}";
    let twice = "{\"input_token_details\":{\"audio_tokens\":8},\"input_tokens\":10}";
    for (line, path, model, status, outcome, usage) in [
        (
            &lines[0],
            "/v1/audio/transcriptions",
            "whisper",
            200,
            "completed",
            once,
        ),
        (
            &lines[1],
            "/v1/audio/speech",
            "whisper",
            200,
            "completed",
            once,
        ),
        (&lines[2], "/v1/files", "", 401, "refused", ""),
    ] {
        assert_eq!(line["path"], path);
        assert_eq!(line["project"], "one");
        assert_eq!(line["upstream"], "fake");
        assert_eq!(line["model"], model);
        assert_eq!(line["status"], status);
        assert_eq!(line["outcome"], outcome);
        assert_eq!(line["usage"], usage, "{path}");
        assert!(line["sent"].as_u64().unwrap() > 40);
        assert!(line["received"].as_u64().unwrap() > 20);
    }
    let session = &lines[3];
    assert_eq!(session["path"], "/v1/realtime");
    assert_eq!(session["outcome"], "client_closed");
    assert_eq!(
        (&session["events_sent"], &session["responses"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(session["usage"], twice);
    let log = log.join("\n");
    for secret in [KEY_ONE, UPSTREAM_KEY, PROMPT, ANSWER] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
