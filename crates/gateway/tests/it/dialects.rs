//! Clients of each dialect in front of upstreams of each: golden streams of providers, through the
//! running gateway.

use std::fs;
use std::path::{Path, PathBuf};

use everstream_testkit::client::BodyEnd;
use everstream_testkit::provider::{FakeProvider, Script, Step};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};

use crate::harness::{Gateway, Setup};
use crate::messages::MESSAGES;
use crate::talk::{CHAT, Reply, page, post, soon};

/// What the golden transcripts were asked for.
const MODEL: &str = "asked-for";
const PROVIDERS: [(&str, &str); 3] = [
    ("openai_chat", "openai"),
    ("anthropic", "anthropic"),
    ("gemini", "gemini"),
];
const GENERATE: &str = "/v1beta/models/asked-for:generateContent";
const CLIENTS: [(&str, &str); 3] = [
    ("openai_chat", CHAT),
    ("anthropic", MESSAGES),
    ("gemini", GENERATE),
];

fn golden(provider: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/golden");
    let entries = fs::read_dir(folder.join(provider)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(ending) && !name.contains(".to_")
        })
        .collect();
    found.sort();
    assert!(found.len() > 5, "{provider} has few {ending}");
    found
}

/// A gateway in front of a provider of this dialect, whose one model answers with a file.
async fn gateway(dialect: &str, path: &Path) -> (FakeProvider, Gateway) {
    let body = fs::read(path).unwrap();
    let is_stream = path.extension().is_some_and(|ending| ending == "sse");
    let provider = FakeProvider::start(move |_| {
        if is_stream {
            Script::sse_steps([Step::Bytes(body.clone().into())]).split_every(97)
        } else {
            Script::status(200, &[("content-type", "application/json")], body.clone())
        }
    })
    .await;
    let fields = format!("dialect = \"{dialect}\"\nmodels = [\"{MODEL}\"]");
    let setup = Setup::default().upstream("fake", &provider.base_url(), &fields);
    (provider, setup.start().await)
}

async fn ask(gateway: &Gateway, path: &str, stream: bool) -> Reply {
    if path == GENERATE {
        let method = if stream {
            ":streamGenerateContent?alt=sse"
        } else {
            ":generateContent"
        };
        let path = format!("/v1beta/models/{MODEL}{method}");
        let body = json!({"contents": [{"parts": [{"text": "x"}]}]});
        return post(gateway, &path, &body, &[]).await;
    }
    let mut body = json!({"model": MODEL, "max_tokens": 99, "stream": stream,
        "messages": [{"role": "user", "content": "x"}]});
    if path == CHAT && stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    post(gateway, path, &body, &[]).await
}

/// Name and data of the events, without what depends on the stream and the time, and without usage,
/// which the gateway estimates where the provider gave none.
pub(crate) fn comparable(
    events: impl IntoIterator<Item = (String, String)>,
    id: &str,
) -> Vec<(String, Value)> {
    let events = events.into_iter().filter_map(|(name, data)| {
        let data = data.replace(id, "0000000000001");
        if data == "[DONE]" {
            return Some((name, json!(data)));
        }
        let mut event: Value = serde_json::from_str(&data).unwrap_or_else(|_| panic!("{data}"));
        normalize(&mut event);
        let is_usage = event["object"] == "chat.completion.chunk" && event["choices"] == json!([]);
        (!is_usage).then_some((name, event))
    });
    events.collect()
}

fn normalize(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("usage");
            members.remove("usageMetadata");
            members.remove("created");
            members.remove("created_at");
            members.values_mut().for_each(normalize);
        }
        Value::Array(elements) => elements.iter_mut().for_each(normalize),
        // An id that was made from the answer's.
        Value::String(text) if text.starts_with("call_") && text.len() == 29 => {
            text.truncate(5);
        }
        _ => {}
    }
}

pub(crate) fn of_frames(frames: &[Frame]) -> Vec<(String, String)> {
    let named = |frame: &Frame| (frame.event.clone().unwrap_or_default(), frame.data.clone());
    let events = frames.iter().map(named);
    events
        .filter_map(|(name, data)| Some((name, data?)))
        .collect()
}

/// The events of a file, and whether its answer is no whole one.
pub(crate) fn of_file(path: &Path) -> (Vec<(String, String)>, bool) {
    let text = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let mut events = Vec::new();
    let mut broken = text.lines().any(|line| line.starts_with("broken:"));
    for block in text.split("\n\n") {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let name = field("event:").unwrap_or_default().trim().to_owned();
        if let Some(data) = field("data:") {
            broken |= name == "error" || data.trim_start().starts_with("{\"error\"");
            // A heartbeat that is written as data is none.
            if !data.trim_start().starts_with(':') {
                events.push((name, data.trim_start().to_owned()));
            }
        }
    }
    (events, broken)
}

async fn frames(mut reply: Reply) -> Vec<Frame> {
    let (frames, end) = soon(reply.client.collect_sse()).await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    frames
}

#[tokio::test]
async fn golden_streams_are_what_the_clients_of_the_other_dialect_get() {
    let pairs = PROVIDERS.into_iter().flat_map(|provider| {
        let others = CLIENTS.into_iter();
        let others = others.filter(move |(client, _)| *client != provider.0);
        others.map(move |client| (provider, client))
    });
    for ((provider, dialect), (client, path)) in pairs {
        for file in golden(provider, ".sse") {
            let (_provider, gateway) = gateway(dialect, &file).await;
            let name = file.to_str().unwrap();
            let (expected, broken) = of_file(&file.with_extension(format!("to_{client}.sse")));
            let reply = ask(&gateway, path, true).await;
            let id = reply.stream();
            let status = reply.head.status;
            let got = of_frames(&frames_or_error(reply).await);
            let mut expected = comparable(expected, &id);
            let mut got = comparable(got, &id);
            let ended = page(&gateway, &id).await;
            if broken {
                let (_, last) = got.pop().unwrap();
                assert!(last.get("error").is_some(), "{name}: {last}");
                assert_eq!(ended["status"], "failed", "{name}");
                if expected
                    .last()
                    .is_some_and(|(_, last)| last.get("error").is_some())
                {
                    expected.pop();
                }
            } else {
                assert_eq!(
                    (status, &ended["status"]),
                    (200, &json!("completed")),
                    "{name}"
                );
                let counted = fs::read_to_string(&file).unwrap().to_lowercase();
                let counted = ["_tokens\":", "tokencount\":"]
                    .iter()
                    .any(|figure| counted.contains(figure));
                let estimated = ended["usage"]["estimated"] == true;
                assert_eq!(estimated, !counted, "{name}");
            }
            assert_eq!(got, expected, "{name}");
        }
    }
}

/// The events of a 200, or the one that an error status has for a body.
pub(crate) async fn frames_or_error(reply: Reply) -> Vec<Frame> {
    if reply.head.status == 200 {
        return frames(reply).await;
    }
    let data = String::from_utf8(reply.body().await.to_vec()).unwrap();
    vec![Frame {
        data: Some(data),
        ..Frame::default()
    }]
}

#[tokio::test]
async fn golden_streams_pass_through_to_clients_of_their_own_dialect() {
    for ((provider, dialect), (_, path)) in PROVIDERS.into_iter().zip(CLIENTS) {
        for file in golden(provider, ".sse") {
            let (_provider, gateway) = gateway(dialect, &file).await;
            let name = file.to_str().unwrap();
            let (mut sent, _) = of_file(&file);
            let reply = ask(&gateway, path, true).await;
            let id = reply.stream();
            let got = of_frames(&frames_or_error(reply).await);
            let ended = page(&gateway, &id).await;
            if ended["status"] == "completed" {
                let end = match dialect {
                    // The end of the connection is that of the answer.
                    "gemini" => sent.last().cloned().unwrap(),
                    "openai" => (String::new(), "[DONE]".to_owned()),
                    _ => (
                        "message_stop".to_owned(),
                        r#"{"type":"message_stop"}"#.to_owned(),
                    ),
                };
                if sent.last() != Some(&end) {
                    sent.push(end);
                }
                assert_eq!(got, sent, "{name}");
            } else {
                let (got, _error) = got.split_at(got.len() - 1);
                assert_eq!(got, &sent[..got.len()], "{name}");
            }
        }
    }
}

#[tokio::test]
async fn golden_bodies_are_what_each_client_gets() {
    for (provider, dialect) in PROVIDERS {
        for (client, path) in CLIENTS {
            for file in golden(provider, ".json") {
                let (_provider, gateway) = gateway(dialect, &file).await;
                let name = file.to_str().unwrap();
                let reply = ask(&gateway, path, false).await;
                let id = reply.stream();
                let got = reply.body().await;
                if provider == client {
                    assert_eq!(got, fs::read(&file).unwrap(), "{name}");
                    continue;
                }
                let expected = file.with_extension(format!("to_{client}.json"));
                let expected = fs::read_to_string(expected).unwrap();
                let body = |text: &str| comparable([(String::new(), text.to_owned())], &id);
                assert_eq!(
                    body(str::from_utf8(&got).unwrap()),
                    body(&expected),
                    "{name}"
                );
            }
        }
    }
}
