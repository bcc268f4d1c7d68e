//! What the scopes of a key open, and what they do not: on every path there is.

use everstream_core::policy::scope::Api;
use everstream_store::sql::values::{Allow, Scopes};
use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};

use crate::catalogued;
use crate::docs::client_paths;
use crate::harness::{Gateway, Setup, within};
use crate::socket::Socket;
use crate::talk::{CHAT, Reply, answer_to, chat, get, post, send};

/// A key of the catalogue with these scopes; `n` tells it from others.
pub async fn scoped_key(gateway: &Gateway, n: u8, scopes: Scopes) -> String {
    let (_, text) = catalogued::key(gateway, n, scopes).await;
    text.expose().to_owned()
}

fn only(names: &[&str]) -> Allow {
    Allow::Only(names.iter().map(|&name| name.to_owned()).collect())
}

fn surfaces(names: &[&str]) -> Scopes {
    Scopes {
        surfaces: only(names),
        ..Scopes::default()
    }
}

fn models(names: &[&str]) -> Scopes {
    Scopes {
        models: only(names),
        ..Scopes::default()
    }
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

/// Every method of every path, with something in the places that are open.
fn requests() -> Vec<(&'static str, String)> {
    let filled = |path: String| {
        path.replace("{*model}", "m:generateContent")
            .replace("responses/{id}", "responses/resp_0k3v9f2m7qx4c")
            .replace("{id}", "0k3v9f2m7qx4c")
    };
    let paths = client_paths().into_iter().map(filled);
    let requests = paths.flat_map(|path| METHODS.map(|method| (method, path.clone())));
    requests.collect()
}

/// What a path belongs to; nothing for those that show no more than a key may know.
fn api_of(method: &str, path: &str) -> Option<&'static str> {
    let within_v1 = path.strip_prefix("/v1/").unwrap_or(path);
    Some(match within_v1.split('/').next().unwrap() {
        "chat" => "chat_completions",
        "completions" => "completions",
        "embeddings" => "embeddings",
        "messages" => "messages",
        "responses" => "responses",
        "images" => "images",
        "audio" => "audio",
        "moderations" => "moderations",
        "rerank" => "rerank",
        "files" | "uploads" => "files",
        "batches" => "batches",
        "realtime" => "realtime",
        "streams" | "ws" => "streams",
        _ if method == "POST" => "generate_content",
        _ => return None,
    })
}

fn nothing(_: &ReceivedRequest) -> Script {
    Script::json(200, &json!({}))
}

#[tokio::test]
async fn a_key_that_may_do_nothing_does_nothing() {
    let provider = FakeProvider::start(nothing).await;
    let setup = Setup::new(&provider).upstream_fields("models = [\"m\"]");
    let gateway = setup.start().await;
    let none = Scopes {
        models: only(&[]),
        ..surfaces(&[])
    };
    let bearer = bearer(&scoped_key(&gateway, 1, none).await);
    let mut refused = 0;
    for (method, path) in requests() {
        let reply = send(&gateway, method, &path, &[("authorization", &bearer)]).await;
        let status = reply.head.status;
        if status == 405 {
            continue;
        }
        match path.as_str() {
            // They need no key.
            "/healthz" | "/readyz" => assert_eq!(status, 200, "{path}"),
            "/v1/models" | "/v1beta/models" => {
                let list = reply.json(200).await;
                let list = list.get("data").or(list.get("models")).unwrap();
                assert_eq!(*list, json!([]), "{path}");
            }
            _ => {
                assert_eq!(status, 403, "{method} {path}");
                refused += 1;
            }
        }
    }
    assert!(refused > 40, "only {refused} were refused");
    assert!(provider.calls().is_empty());
}

#[tokio::test]
async fn each_name_opens_its_own_paths_and_no_others() {
    let provider = FakeProvider::start(nothing).await;
    let gateway = Setup::new(&provider).start().await;
    let requests = requests();
    for (n, api) in (1..).zip(Api::ALL) {
        let key = scoped_key(&gateway, n, surfaces(&[api.as_str()])).await;
        let bearer = bearer(&key);
        let mut opened = 0;
        for (method, path) in &requests {
            let Some(belongs_to) = api_of(method, path) else {
                continue;
            };
            let reply = send(&gateway, method, path, &[("authorization", &bearer)]).await;
            let status = reply.head.status;
            if status == 405 {
                continue;
            }
            let expected = belongs_to == api.as_str();
            assert_eq!(
                status != 403,
                expected,
                "{api:?}: {method} {path}: {status}"
            );
            opened += usize::from(expected);
        }
        assert!(opened > 0, "{api:?} opens nothing");
    }
}

#[tokio::test]
async fn a_stream_of_another_api_is_not_read_by_repeating_a_request() {
    let provider = FakeProvider::start(answer_to).await;
    let gateway = Setup::new(&provider).start().await;
    let chats = bearer(&scoped_key(&gateway, 1, surfaces(&["chat_completions"])).await);
    let embeds = bearer(&scoped_key(&gateway, 2, surfaces(&["embeddings"])).await);
    let first = post(&gateway, CHAT, &chat("x"), &[("authorization", &chats)]).await;
    let cursor = format!("{}.1", first.stream());
    first.frames().await;
    for (path, key, status) in [(CHAT, &chats, 200), ("/v1/embeddings", &embeds, 403)] {
        let headers = [("authorization", key.as_str()), ("last-event-id", &cursor)];
        let mut reply = post(&gateway, path, &json!({}), &headers).await;
        assert_eq!(reply.head.status, status, "{path}");
        let (body, _) = within(reply.client.read_body()).await.unwrap();
        let shown = String::from_utf8_lossy(&body).contains("chatcmpl");
        assert_eq!(shown, status == 200, "{path}");
    }
}

/// A request that names `model`, wherever its API has the name.
fn naming(path: &str, model: &str) -> (String, Value) {
    let messages = json!([{"role": "user", "content": "x"}]);
    match path {
        "/v1/models" => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({"contents": []}),
        ),
        "/v1beta/models" => (
            format!("/v1beta/models/{model}:countTokens"),
            json!({"contents": []}),
        ),
        path => {
            let body = json!({"model": model, "messages": messages, "max_tokens": 9, "prompt": "x",
                              "input": "x", "voice": "v", "query": "q", "documents": ["d"]});
            (path.to_owned(), body)
        }
    }
}

#[tokio::test]
async fn a_model_is_asked_by_those_who_may_wherever_it_is_named() {
    let provider = FakeProvider::start(nothing).await;
    let setup = Setup::new(&provider).upstream_fields("models = [\"m\", \"fine-1\", \"other\"]");
    let gateway = setup
        .config("[aliases]\nfine = \"m\"\nelse = \"m\"")
        .start()
        .await;
    let bearer = bearer(&scoped_key(&gateway, 1, models(&["fine*"])).await);
    let headers = [("authorization", bearer.as_str())];
    for path in [
        CHAT,
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/models",
        "/v1beta/models",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/moderations",
        "/v1/rerank",
    ] {
        for (model, may) in [
            ("fine", true),
            ("fine-1", true),
            ("m", false),
            ("else", false),
        ] {
            let (target, body) = naming(path, model);
            let reply = post(&gateway, &target, &body, &headers).await;
            let status = reply.head.status;
            assert_eq!(status != 403, may, "{target} {model}: {status}");
        }
        // By the name of the upstream, too.
        let (target, body) = naming(path, "fake/m");
        let reply = post(&gateway, &target, &body, &headers).await;
        assert_eq!(reply.head.status, 403, "{target}");
    }
    let list = get(&gateway, "/v1/models", &headers).await.json(200).await;
    let listed: Vec<_> = list["data"].as_array().unwrap().iter().collect();
    let listed: Vec<_> = listed.iter().map(|entry| &entry["id"]).collect();
    assert_eq!(listed, ["fine", "fine-1"]);
    for (model, status) in [("fine", 200), ("m", 403), ("no-such", 403)] {
        let shown = get(&gateway, &format!("/v1/models/{model}"), &headers).await;
        assert_eq!(shown.head.status, status, "{model}");
    }
    let asked = |request: &ReceivedRequest| String::from_utf8_lossy(&request.body).into_owned();
    let asked: String = provider.calls().iter().map(asked).collect();
    assert!(!asked.contains("other"), "{asked}");
}

async fn refusal(reply: Reply, status: u16) -> Value {
    let mut body = reply.json(status).await;
    body["error"].take()
}

#[tokio::test]
async fn no_way_leads_around_the_models_of_a_key() {
    let provider = FakeProvider::start(nothing).await;
    let gateway = Setup::new(&provider).start().await;
    let bearer = bearer(&scoped_key(&gateway, 1, models(&["fine"])).await);
    let headers = [("authorization", bearer.as_str())];
    let body = |more: Value| {
        let mut body = json!({"model": "fine", "messages": [], "input": "x", "max_tokens": 1});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for path in [CHAT, "/v1/messages", "/v1/responses", "/v1/moderations"] {
        for (more, status) in [
            (json!({"models": ["fine", "dear"]}), 403),
            (json!({"fallbacks": [{"model": "dear"}]}), 403),
            (
                json!({"tools": [{"type": "image_generation", "model": "dear"}]}),
                403,
            ),
            (json!({"Model": "dear"}), 400),
            (json!({"MODELS": ["fine"]}), 400),
            (json!({"fallbacks": [{"fine": ["dear"]}]}), 400),
        ] {
            let reply = post(&gateway, path, &body(more.clone()), &headers).await;
            assert_eq!(reply.head.status, status, "{path} {more}");
        }
    }
    // What names none asks for one that nobody can tell here.
    for path in ["/v1/images/generations", "/v1/moderations", "/v1/batches"] {
        let reply = post(&gateway, path, &json!({"input": "x"}), &headers).await;
        let error = refusal(reply, 403).await;
        assert_eq!(error["code"], "forbidden", "{path}");
    }
    for path in ["", "?model=dear", "?intent=transcription"] {
        let refused = Socket::open(&gateway, &format!("/v1/realtime{path}"), &headers).await;
        assert_eq!(refused.err().unwrap().0, 403, "{path}");
    }
    let twice = "/v1/realtime?model=fine&model=dear";
    let refused = Socket::open(&gateway, twice, &headers).await;
    assert_eq!(refused.err().unwrap().0, 400);
    assert!(provider.calls().is_empty(), "{:?}", provider.calls());
    // The rest goes through.
    let more =
        json!({"models": ["fine"], "tools": [{"type": "function", "function": {"name": "f"}}]});
    let reply = post(&gateway, CHAT, &body(more), &headers).await;
    assert_eq!(reply.head.status, 200);
    assert_eq!(
        get(&gateway, "/v1/batches", &headers).await.head.status,
        200
    );
    assert_eq!(get(&gateway, "/v1/files", &headers).await.head.status, 200);
}

#[tokio::test]
async fn a_form_names_the_model_that_a_key_may_ask() {
    let provider = FakeProvider::start(nothing).await;
    let gateway = Setup::new(&provider).start().await;
    let bearer = bearer(&scoped_key(&gateway, 1, models(&["fine"])).await);
    let part = |disposition: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    };
    let (fine, dear) = (
        part("name=\"model\"", "fine"),
        part("name=\"model\"", "dear"),
    );
    let hidden = part("name*=utf-8''model", "dear");
    let ask = async |kind: &str, body: String| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let mut client = gateway.client().await;
        let path = "/v1/audio/transcriptions";
        let body = format!("{body}--b--\r\n");
        let head = client.request("POST", path, &headers, body.as_bytes());
        within(head).await.unwrap().status
    };
    let kind = "multipart/form-data; boundary=b";
    assert_eq!(ask(kind, dear.clone()).await, 403);
    assert_eq!(ask(kind, hidden.clone() + &fine).await, 400);
    assert_eq!(
        ask("multipart/form-data; boundary=x; boundary=b", dear).await,
        400
    );
    assert!(provider.calls().is_empty());
    assert_eq!(ask(kind, fine).await, 200);
}
