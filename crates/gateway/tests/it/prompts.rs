//! Prompts and answers in the program's own log, where that is wanted. That they are not there otherwise
//! is in `canaries.rs`.

use everstream_core::sign::api_key::{KeyMaster, id_of};
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{KEY_ONE, Setup, UPSTREAM_KEY, within};
use crate::process::Process;

const PROMPT: &str = "prompt-canary-e41d";

/// Answers in two pieces, with the key that it was called with.
fn gossip(request: &ReceivedRequest) -> Script {
    let said = ["answer-", &format!("canary-8f20 of {UPSTREAM_KEY}")];
    if !request.wants_stream() {
        let message = json!({"role": "assistant", "content": said.concat()});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                          "choices": [choice]});
        return Script::json(200, &body);
    }
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
                           "model": "m", "choices": [choice]});
        chunk.to_string()
    };
    let pieces = said.map(|text| chunk(json!({"content": text}), Value::Null));
    let end = chunk(json!({}), json!("stop"));
    Script::sse(pieces.into_iter().chain([end, "[DONE]".to_owned()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_answers_are_logged_where_it_is_wanted_and_no_key_is() {
    let provider = FakeProvider::start(gossip).await;
    let dir = TempDir::new().unwrap();
    let setup = Setup::default()
        .config("[telemetry]\nprompts = true\nformat = \"json\"")
        .with_keys()
        .upstream("one", &provider.base_url(), "models = [\"m\"]");
    let process = Process::start(&setup, dir.path());
    let _ = process.heard("prompts and answers stand in this log");
    let client_key = KeyMaster::new(b"any").key(&id_of([3; 10]), 1);
    let prompt = format!(
        "{PROMPT}: {UPSTREAM_KEY}, {}, sk-0123456789abcdef\nand Bearer 0123456789",
        client_key.expose()
    );
    let bearer = format!("Bearer {KEY_ONE}");
    let headers = [("authorization", bearer.as_str())];
    for (path, stream) in [
        ("/v1/chat/completions", true),
        ("/v1/chat/completions", false),
        ("/v1/messages", true),
    ] {
        let body = json!({"model": "m", "stream": stream, "max_tokens": 9,
                          "messages": [{"role": "user", "content": prompt}]});
        let body = body.to_string();
        let mut client = process.client().await;
        let head = within(client.request("POST", path, &headers, body.as_bytes())).await;
        assert_eq!(head.unwrap().status, 200, "{path}");
        within(client.read_body()).await.unwrap();

        let asked = fields(&process.line("\"asked\""));
        let text = asked["request"].as_str().unwrap();
        let hidden = body.split(PROMPT).next().unwrap();
        assert_eq!(
            text,
            format!(
                "{hidden}{PROMPT}: [redacted], [redacted], [redacted]\\nand Bearer [redacted]\""
            ) + body.rsplit_once("0123456789\"").unwrap().1,
            "{path}"
        );
        assert_eq!(
            (&asked["project"], &asked["model"]),
            (&json!("one"), &json!("m"))
        );
        let answered = fields(&process.line("\"answered\""));
        assert_eq!(answered["stream"], asked["stream"]);
        assert_eq!(answered["status"], "completed");
        let answer = answered["answer"].as_str().unwrap();
        let whole: Value = serde_json::from_str(answer).unwrap();
        let said = match path {
            "/v1/messages" => &whole["content"][0]["text"],
            _ => &whole["choices"][0]["message"]["content"],
        };
        assert_eq!(said, "answer-canary-8f20 of [redacted]", "{path}: {answer}");
    }
    let log = process.all().join("\n");
    for secret in [UPSTREAM_KEY, client_key.expose(), KEY_ONE] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

/// What a line of the log says, and that it is of the part that stands in the documents.
fn fields(line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["target"], "everstream::prompts");
    assert_eq!(line["level"], "INFO");
    line["fields"].clone()
}
