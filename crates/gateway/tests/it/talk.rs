//! Requests and their replies, each wait bounded: what hangs, fails.

use bytes::Bytes;
use everstream_testkit::client::{BodyEnd, RawClient, ResponseHead};
use everstream_testkit::provider::{ChatAnswer, Gate, Script, Step};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};

use crate::harness::{Gateway, until};

pub(crate) use crate::harness::within as soon;

/// The path that most tests generate on.
pub(crate) const CHAT: &str = "/v1/chat/completions";
/// What an `EventSource` accepts.
pub(crate) const EVENTS: (&str, &str) = ("accept", "text/event-stream");

/// Events of [`answer`] as a client sees it that did not ask for usage.
pub(crate) const LAST: u64 = 8;

/// A streamed chat request; `text` makes it differ from others.
pub(crate) fn chat(text: &str) -> Value {
    json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]})
}

/// The same request for one body.
pub(crate) fn unary_chat(text: &str) -> Value {
    let mut body = chat(text);
    body["stream"] = json!(false);
    body
}

/// Five tokens, some of several bytes, with usage.
pub(crate) fn answer() -> ChatAnswer {
    ChatAnswer::new(["Wind", " auf", " 風", " 🌬️", "."]).with_usage(7)
}

/// [`answer`] as the request wants it.
pub(crate) fn answer_to(request: &everstream_testkit::provider::ReceivedRequest) -> Script {
    if request.wants_stream() {
        Script::chat_stream(&answer())
    } else {
        Script::chat_json(&answer())
    }
}

/// [`answer`] streamed, held at `gate` before event `n` (the role chunk is event 1).
pub(crate) fn held(n: usize, gate: &Gate) -> Script {
    Script::chat_stream(&answer()).gate_before_event(n, gate)
}

/// An SSE event as a step of a script.
pub(crate) fn event(data: &str) -> Step {
    Step::Event(format!("data: {data}\n\n").into())
}

/// The data of all events, comments left out.
pub(crate) fn data(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter_map(|frame| frame.data.clone())
        .collect()
}

/// The bytes of all events, comments left out.
pub(crate) fn events(frames: &[Frame]) -> Vec<String> {
    let events = frames.iter().filter(|frame| frame.data.is_some());
    events.map(|frame| frame.raw.clone()).collect()
}

/// A response whose body is still to be read, on a connection of its own.
pub(crate) struct Reply {
    pub(crate) head: ResponseHead,
    pub(crate) client: RawClient,
}

/// Sends a POST.
pub(crate) async fn post(
    gateway: &Gateway,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Reply {
    let mut client = gateway.client().await;
    let head = soon(client.post_json(path, body, headers)).await.unwrap();
    Reply { head, client }
}

/// Sends a request without a body.
pub(crate) async fn send(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut client = gateway.client().await;
    let head = soon(client.request(method, path, headers, b""))
        .await
        .unwrap();
    Reply { head, client }
}

/// Sends a GET.
pub(crate) async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(gateway, "GET", path, headers).await
}

/// Reads a stream as events, from `cursor` on if there is one.
pub(crate) async fn read(gateway: &Gateway, stream: &str, cursor: Option<&str>) -> Reply {
    let cursor = cursor.map(|cursor| ("last-event-id", cursor));
    let headers: Vec<_> = [EVENTS].into_iter().chain(cursor).collect();
    get(gateway, &format!("/v1/streams/{stream}"), &headers).await
}

/// A stream as a JSON page.
pub(crate) async fn page(gateway: &Gateway, stream: &str) -> Value {
    get(gateway, &format!("/v1/streams/{stream}"), &[])
        .await
        .json(200)
        .await
}

/// The page of a stream once it has ended.
pub(crate) async fn ended(gateway: &Gateway, stream: &str) -> Value {
    let reply = read(gateway, stream, None).await;
    if reply.head.status == 200 {
        reply.frames().await;
    }
    page(gateway, stream).await
}

/// A whole answer: its stream and its events' bytes.
pub(crate) async fn finished(gateway: &Gateway) -> (String, Vec<String>) {
    let reply = post(gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    let frames = reply.frames().await;
    assert_eq!(frames.len() as u64, LAST);
    (id, events(&frames))
}

/// An answer that its provider holds before event `n`: its first reply, and its stream.
pub(crate) async fn running(gateway: &Gateway, n: usize) -> (Reply, String, Vec<String>) {
    let mut reply = post(gateway, CHAT, &chat("x"), &[]).await;
    let id = reply.stream();
    let mut seen = Vec::new();
    for _ in 1..n {
        seen.push(reply.event().await.raw);
    }
    (reply, id, seen)
}

/// Waits until a running stream has so many readers.
pub(crate) async fn readers(gateway: &Gateway, stream: &str, count: usize) {
    let live = gateway.app.generator.registry.get(stream.parse().unwrap());
    let live = live.expect("the stream runs");
    until(|| live.readers() == count).await;
}

impl Reply {
    /// The first value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.header(name).unwrap_or_default()
    }

    /// The stream it names, in both headers.
    pub(crate) fn stream(&self) -> String {
        let id = self.header("everstream-stream-id").to_owned();
        assert!(!id.is_empty(), "no stream is named: {:?}", self.head);
        assert_eq!(self.header("content-location"), format!("/v1/streams/{id}"));
        id
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Frame {
        soon(self.client.read_event())
            .await
            .unwrap()
            .expect("an event")
    }

    /// The bytes of the next frame, a comment or an event.
    pub(crate) async fn raw_frame(&mut self) -> Bytes {
        soon(self.client.read_sse_frame())
            .await
            .unwrap()
            .expect("a frame")
    }

    /// All events to the proper end of a 200. Where a machine is slow, heartbeats may come between.
    pub(crate) async fn frames(mut self) -> Vec<Frame> {
        assert_eq!(self.head.status, 200);
        assert_eq!(self.header("content-type"), "text/event-stream");
        let (mut frames, end) = soon(self.client.collect_sse()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        frames.retain(|frame| frame.data.is_some());
        frames
    }

    /// The whole body, which ends properly.
    pub(crate) async fn body(mut self) -> Bytes {
        let (body, end) = soon(self.client.read_body()).await.unwrap();
        assert_eq!(end, BodyEnd::Clean);
        body
    }

    /// The body as JSON, of a reply with this status.
    pub(crate) async fn json(self, status: u16) -> Value {
        let head = self.head.clone();
        let body = self.body().await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(head.status, status, "{text}");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The code of an error in the OpenAI dialect's shape.
    pub(crate) async fn error(self, status: u16) -> String {
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json(status).await;
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
        body["error"]["code"].as_str().unwrap().to_owned()
    }

    /// The code of an error in the shape of Everstream's own paths.
    pub(crate) async fn problem(self, status: u16) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json(status).await;
        assert_eq!(body["status"], status);
        body["code"].as_str().unwrap().to_owned()
    }
}
