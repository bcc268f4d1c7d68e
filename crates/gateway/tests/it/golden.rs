//! Golden streams and bodies of a provider whose API no client speaks, through the running gateway, in
//! the dialects of all clients.

use std::fs;
use std::path::{Path, PathBuf};

use everstream_testkit::provider::{FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};

use crate::dialects::{comparable, frames_or_error, of_file, of_frames};
use crate::harness::{Gateway, Setup};
use crate::messages::MESSAGES;
use crate::talk::{CHAT, Reply, page, post};

pub(crate) const RESPONSES: &str = "/v1/responses";
/// The dialects of clients, and their paths.
pub(crate) const CLIENTS: [(&str, &str); 3] = [
    ("openai_chat", CHAT),
    ("anthropic", MESSAGES),
    ("openai_responses", RESPONSES),
];

/// A provider, and what is to be known of it.
pub(crate) struct Golden {
    /// The folder of its transcripts.
    pub(crate) folder: &'static str,
    /// How its streams end.
    pub(crate) ending: &'static str,
    /// TOML for its upstream.
    pub(crate) fields: &'static str,
    /// The model that a request asks for, and whether it wants a stream.
    pub(crate) asked: fn(&ReceivedRequest) -> (String, bool),
    /// A stream of a file's text.
    pub(crate) stream: fn(&str) -> Script,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/golden")
        .join(name)
}

impl Golden {
    /// The names of files, which are its models too.
    fn names(&self, ending: &str) -> Vec<String> {
        let entries = fs::read_dir(folder(self.folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| !name.contains(".to_"));
        let mut names: Vec<_> = names
            .filter_map(|name| Some(name.strip_suffix(ending)?.to_owned()))
            .collect();
        names.sort();
        assert!(names.len() > 5, "{} has few {ending}", self.folder);
        names
    }

    async fn start(&self) -> (FakeProvider, Gateway) {
        let (asked, stream, ending) = (self.asked, self.stream, self.ending);
        let folder = folder(self.folder);
        let provider = FakeProvider::start(move |request| {
            let (model, streamed) = asked(request);
            let path = folder.join(model);
            if streamed {
                let text = fs::read_to_string(path.with_extension(ending)).unwrap();
                return stream(&text).split_every(97);
            }
            let body = fs::read(path.with_extension("json")).unwrap();
            Script::status(200, &[("content-type", "application/json")], body)
        })
        .await;
        let models = self.names(&format!(".{}", self.ending));
        let fields = format!("{}\nmodels = {}", self.fields, json!(models));
        let address = format!("http://{}", provider.addr());
        let setup = Setup::default().upstream("fake", &address, &fields);
        (provider, setup.start().await)
    }

    pub(crate) async fn streams_are_what_every_client_gets(&self) {
        let (_provider, gateway) = self.start().await;
        for (client, path) in CLIENTS {
            for name in self.names(&format!(".{}", self.ending)) {
                let file = folder(self.folder).join(format!("{name}.to_{client}.sse"));
                let (expected, broken) = of_file(&file);
                let broken = broken || expected.iter().any(|(name, _)| name == "response.failed");
                let reply = ask(&gateway, path, &name, true).await;
                let id = reply.stream();
                let status = reply.head.status;
                let got = of_frames(&frames_or_error(reply).await);
                let mut expected = comparable(expected, &id);
                let mut got = comparable(as_asked(got, &name), &id);
                let ended = page(&gateway, &id).await;
                let place = format!("{name} for {client}");
                if broken {
                    // Words and place of the last event are the gateway's.
                    let (_, last) = got.pop().unwrap();
                    assert!(last.to_string().contains("error"), "{place}: {last}");
                    assert_eq!(ended["status"], "failed", "{place}");
                    expected.truncate(got.len());
                } else {
                    let ended = (status, &ended["status"]);
                    assert_eq!(ended, (200, &json!("completed")), "{place}");
                }
                assert_eq!(got, expected, "{place}");
            }
        }
    }

    pub(crate) async fn bodies_are_what_every_client_gets(&self) {
        let (_provider, gateway) = self.start().await;
        for (client, path) in CLIENTS {
            for name in self.names(".json") {
                let file = folder(self.folder).join(format!("{name}.to_{client}.json"));
                let expected = fs::read_to_string(file).unwrap();
                let reply = ask(&gateway, path, &name, false).await;
                let id = reply.stream();
                assert_eq!(reply.head.status, 200, "{name} for {client}");
                let got = String::from_utf8(reply.body().await.to_vec()).unwrap();
                let body = |text| comparable(as_asked(vec![(String::new(), text)], &name), &id);
                assert_eq!(body(got), body(expected), "{name} for {client}");
            }
        }
    }
}

/// With the name of the model that the transcripts were asked for.
fn as_asked(events: Vec<(String, String)>, model: &str) -> Vec<(String, String)> {
    let said = format!("\"model\":\"{model}\"");
    let named = |data: String| data.replace(&said, "\"model\":\"asked-for\"");
    let events = events.into_iter();
    events.map(|(name, data)| (name, named(data))).collect()
}

/// Asks in the dialect of a path.
pub(crate) async fn ask(gateway: &Gateway, path: &str, model: &str, stream: bool) -> Reply {
    post(gateway, path, &request(path, model, stream), &[]).await
}

/// The shortest request in the dialect of a path.
pub(crate) fn request(path: &str, model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "x"}]);
    match path {
        RESPONSES => json!({"model": model, "stream": stream, "input": messages}),
        CHAT if stream => json!({"model": model, "stream": true, "messages": messages,
            "stream_options": {"include_usage": true}}),
        _ => json!({"model": model, "max_tokens": 99, "stream": stream, "messages": messages}),
    }
}
