//! By what a provider's own stream of an answer is found again after its connection was cut.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::openai::without;
use crate::frame::sse::SseEvent;
use crate::id::StreamId;

/// A provider's stream that outlives its connection. Reading it again costs nothing: the provider runs
/// the request once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Handle {
    /// A stream of another Everstream's.
    Stream(StreamId),
    /// A response that OpenAI, or who speaks like it, runs in the background.
    Response(String),
}

/// What to ask of a provider about a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleCall {
    /// The method.
    pub method: &'static str,
    /// The path below the address of the API.
    pub path: String,
    /// The body of a `POST`.
    pub body: Option<Bytes>,
}

/// Longest id of a response; OpenAI's have some 60 characters.
const ID_BYTES: usize = 128;

impl Handle {
    /// From the head of an answer: `Everstream-Stream-Id`, and the `Content-Location` that says it too.
    pub fn of_head(stream: Option<&str>, location: Option<&str>) -> Option<Self> {
        let id = stream?;
        let located = location?.strip_prefix("/v1/streams/")?;
        let stream = (located == id).then(|| id.parse().ok())?;
        stream.map(Self::Stream)
    }

    /// From the first event of an answer in OpenAI's responses, if it says that it runs in the
    /// background.
    pub fn of_event(event: &SseEvent) -> Option<Self> {
        #[derive(Deserialize)]
        struct Created<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(borrow)]
            response: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Response {
            id: String,
            #[serde(default)]
            background: Option<bool>,
        }
        if !matches!(&*event.name, b"" | b"response.created" | b"response.queued") {
            return None;
        }
        let created: Created<'_> = serde_json::from_slice(&event.data).ok()?;
        if !matches!(created.kind, "response.created" | "response.queued") {
            return None;
        }
        let response: Response = serde_json::from_str(created.response.get()).ok()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let sound = (1..=ID_BYTES).contains(&response.id.len()) && response.id.bytes().all(plain);
        (sound && response.background == Some(true)).then_some(Self::Response(response.id))
    }

    /// Reads the stream from its first event on.
    pub fn read(&self) -> HandleCall {
        let path = match self {
            Self::Stream(id) => format!("/streams/{id}"),
            Self::Response(id) => format!("/responses/{id}?stream=true"),
        };
        HandleCall {
            method: "GET",
            path,
            body: None,
        }
    }

    /// Stops the run, which goes on without a connection.
    pub fn cancel(&self) -> HandleCall {
        let (method, path, body) = match self {
            Self::Stream(id) => ("DELETE", format!("/streams/{id}"), None),
            Self::Response(id) => {
                let path = format!("/responses/{id}/cancel");
                ("POST", path, Some(Bytes::new()))
            }
        };
        HandleCall { method, path, body }
    }

    /// Whether an event of the stream is a sign of life, which nobody says again.
    pub fn is_heartbeat(&self, event: &SseEvent) -> bool {
        match self {
            // It logs none.
            Self::Stream(_) => false,
            Self::Response(_) => match &*event.name {
                b"" => {
                    #[derive(Deserialize)]
                    struct Typed<'a> {
                        #[serde(rename = "type")]
                        kind: &'a str,
                    }
                    let typed = serde_json::from_slice(&event.data);
                    typed.is_ok_and(|Typed { kind }| kind.ends_with("keepalive"))
                }
                name => matches!(name, b"keepalive" | b"response.keepalive"),
            },
        }
    }
}

/// What tells one sequence of events from another.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    events: u64,
    hash: Sha256,
}

impl Tally {
    /// How many events there were.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Counts an event. The padding of OpenAI's deltas is of no account: it is another one each time.
    pub fn push(&mut self, event: &SseEvent) {
        self.events += 1;
        let data = if event.name.starts_with(b"response.") {
            without(&event.data, "obfuscation")
        } else {
            event.data.clone()
        };
        for part in [&event.name, &data] {
            self.hash.update((part.len() as u64).to_be_bytes());
            self.hash.update(part);
        }
    }
}

impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        let digest = |tally: &Self| tally.hash.clone().finalize();
        self.events == other.events && digest(self) == digest(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent {
            name: Bytes::copy_from_slice(name.as_bytes()),
            data: Bytes::copy_from_slice(data.as_bytes()),
        }
    }

    #[test]
    fn a_head_that_says_the_stream_twice_is_an_everstreams() {
        let id = StreamId::from_bits(7);
        let text = id.to_string();
        let path = format!("/v1/streams/{text}");
        let found = Handle::of_head(Some(&text), Some(&path));
        assert_eq!(found, Some(Handle::Stream(id)));
        for (stream, location) in [
            (None, Some(&*path)),
            (Some(&*text), None),
            (Some(&*text), Some("/v1/streams/0000000000001")),
            (Some("../../admin"), Some("/v1/streams/../../admin")),
        ] {
            assert_eq!(Handle::of_head(stream, location), None);
        }
    }

    #[test]
    fn a_response_is_found_again_only_if_it_runs_in_the_background() {
        let created = |id: &str, more: &str| {
            let data = format!(
                r#"{{"type":"response.created","sequence_number":0,"response":{{"id":"{id}"{more}}}}}"#
            );
            Handle::of_event(&event("response.created", &data))
        };
        let background = r#","background":true"#;
        let found = Handle::Response("resp_1".to_owned());
        assert_eq!(created("resp_1", background), Some(found));
        assert_eq!(created("resp_1", ""), None);
        assert_eq!(created("resp_1", r#","background":false"#), None);
        assert_eq!(created("a/../b", background), None);
        assert_eq!(created("", background), None);
        assert_eq!(created(&"x".repeat(129), background), None);
        let other = r#"{"type":"response.completed","response":{"id":"r","background":true}}"#;
        assert_eq!(Handle::of_event(&event("", other)), None);
        assert_eq!(Handle::of_event(&event("", "{")), None);
    }
}
