//! A client that comes back: it holds what it saw against the upstream's own answer.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use everstream_testkit::client::{BodyEnd, RawClient, ResponseHead};
use everstream_testkit::provider::{ChatAnswer, FakeProvider, ReceivedRequest, Script};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    /// With an `Idempotency-Key`.
    Keyed,
    Unary,
    KeyedUnary,
    Background,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Stream,
        Self::Keyed,
        Self::Unary,
        Self::KeyedUnary,
        Self::Background,
    ];

    fn is_unary(self) -> bool {
        matches!(self, Self::Unary | Self::KeyedUnary)
    }

    fn is_keyed(self) -> bool {
        matches!(self, Self::Keyed | Self::KeyedUnary)
    }
}

/// The answer to the request that carries `marker`: some tokens, none like another's.
pub(crate) fn answer(marker: &str, tokens: usize) -> ChatAnswer {
    ChatAnswer::new((0..tokens).map(|n| format!(" {marker}:{n}")))
}

/// The marker in a request's body.
pub(crate) fn marker_of(request: &ReceivedRequest) -> String {
    let body = request.json();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// Answers each request by its marker: `tokens` of them, a pause between.
pub(crate) fn script(request: &ReceivedRequest, tokens: usize, pause: Duration) -> Script {
    let answer = answer(&marker_of(request), tokens);
    if request.wants_stream() {
        Script::chat_stream(&answer)
            .pause_before_head(pause)
            .pause_between(pause)
    } else {
        Script::chat_json(&answer).pause_before_head(pause * 4)
    }
}

/// How often the provider was called for each marker.
pub(crate) fn calls(provider: &FakeProvider) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    for call in provider.calls() {
        *calls.entry(marker_of(&call)).or_default() += 1;
    }
    calls
}

/// How it ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of the upstream's answer.
    Whole,
    /// A prefix of it, and the typed error event.
    Interrupted,
    /// It was cut off before it knew where to come back to.
    Unknown,
}

pub(crate) struct Client {
    pub(crate) marker: String,
    pub(crate) kind: Kind,
    /// The stream, once it is known.
    pub(crate) id: Option<String>,
    /// The data of the events so far, with the seqs 1, 2, 3 ...
    pub(crate) data: Vec<String>,
    /// How often it came back.
    pub(crate) returns: usize,
    tokens: usize,
    addr: SocketAddr,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, marker: String, kind: Kind, tokens: usize) -> Self {
        Self {
            marker,
            kind,
            id: None,
            data: Vec::new(),
            returns: 0,
            tokens,
            addr,
        }
    }

    /// Asks, and comes back after each start of the gateway that `starts` counts, until it has all
    /// there is.
    pub(crate) async fn run(&mut self, mut starts: watch::Receiver<u64>) -> Outcome {
        loop {
            let seen = *starts.borrow_and_update();
            match self.attempt().await {
                Ok(Some(outcome)) => return outcome,
                // It has an address now.
                Ok(None) => {}
                Err(_) if self.id.is_none() && !self.kind.is_keyed() => return Outcome::Unknown,
                Err(_) => {
                    self.returns += 1;
                    starts.wait_for(|starts| *starts > seen).await.unwrap();
                }
            }
        }
    }

    async fn attempt(&mut self) -> io::Result<Option<Outcome>> {
        let mut client = RawClient::connect(self.addr).await?;
        let head = match self.id.clone() {
            Some(id) => self.resume(&mut client, &id).await?,
            None => self.ask(&mut client).await?,
        };
        if let Some(id) = head.header("everstream-stream-id") {
            self.learn(id);
        }
        let is_sse = head.header("content-type") == Some("text/event-stream");
        match head.status {
            200 if is_sse => self.follow(&mut client).await.map(Some),
            200 => {
                self.data.push(whole(&mut client).await?);
                Ok(Some(self.outcome()))
            }
            202 => Ok(None),
            204 => Ok(Some(self.outcome())),
            503 => {
                let body = whole(&mut client).await?;
                assert_eq!(head.header("x-should-retry"), Some("false"), "{body}");
                self.data.push(body);
                Ok(Some(self.outcome()))
            }
            status => {
                let body = client.read_body().await?.0;
                panic!(
                    "{}: {status}: {}",
                    self.marker,
                    String::from_utf8_lossy(&body)
                );
            }
        }
    }

    async fn ask(&self, client: &mut RawClient) -> io::Result<ResponseHead> {
        let messages = json!([{"role": "user", "content": self.marker}]);
        let mut body = json!({"model": "m", "messages": messages});
        match self.kind {
            Kind::Background => body["background"] = json!(true),
            kind => body["stream"] = json!(!kind.is_unary()),
        }
        let key = [("idempotency-key", self.marker.as_str())];
        let headers: &[_] = if self.kind.is_keyed() { &key } else { &[] };
        client
            .post_json("/v1/chat/completions", &body, headers)
            .await
    }

    async fn resume(&self, client: &mut RawClient, id: &str) -> io::Result<ResponseHead> {
        let cursor = format!("{id}.{}", self.data.len());
        let headers = [
            ("accept", "text/event-stream"),
            ("last-event-id", cursor.as_str()),
        ];
        client.get(&format!("/v1/streams/{id}"), &headers).await
    }

    fn learn(&mut self, id: &str) {
        let known = self.id.get_or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "{}: two streams", self.marker);
    }

    /// Takes events to their end; an error when they are cut off.
    pub(crate) async fn follow(&mut self, client: &mut RawClient) -> io::Result<Outcome> {
        while let Some(event) = client.read_event().await? {
            let id = event.stream().unwrap_or_else(|| panic!("no id: {event:?}"));
            self.learn(id);
            assert_eq!(
                event.seq(),
                Some(self.data.len() as u64 + 1),
                "{}: {event:?}",
                self.marker
            );
            self.data.extend(event.data);
        }
        if client.body_end() == Some(BodyEnd::Cut) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(self.outcome())
    }

    fn expected(&self) -> Vec<String> {
        let answer = answer(&self.marker, self.tokens);
        if self.kind.is_unary() {
            vec![answer.to_json().to_string()]
        } else {
            answer.expected_data()
        }
    }

    /// What it has, held against what it must have.
    fn outcome(&self) -> Outcome {
        let expected = self.expected();
        if self.data == expected {
            return Outcome::Whole;
        }
        let (error, before) = self.data.split_last().unwrap();
        assert!(
            expected.starts_with(before),
            "{}: {before:?} is no prefix of {expected:?}",
            self.marker
        );
        let error: Value = serde_json::from_str(error).unwrap();
        let error = &error["error"];
        assert_eq!(
            error["type"], "stream_interrupted",
            "{}: {error}",
            self.marker
        );
        let code = if before.is_empty() {
            "outcome_unknown"
        } else {
            "gateway_restarted"
        };
        assert_eq!(error["code"], code, "{}", self.marker);
        Outcome::Interrupted
    }
}

/// The body; an error when it was cut.
async fn whole(client: &mut RawClient) -> io::Result<String> {
    match client.read_body().await? {
        (body, BodyEnd::Clean) => Ok(String::from_utf8(body.into()).unwrap()),
        (_, BodyEnd::Cut) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// The status of every stream in the list.
pub(crate) async fn statuses(addr: SocketAddr) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut client = RawClient::connect(addr).await.unwrap();
    for page in 1.. {
        let path = format!("/v1/streams?size=200&page={page}");
        client.get(&path, &[]).await.unwrap();
        let list = client.read_json().await.unwrap();
        for stream in list["data"].as_array().unwrap() {
            let text = |name: &str| stream[name].as_str().unwrap().to_owned();
            found.insert(text("id"), text("status"));
        }
        if list["has_more"] == false {
            break;
        }
    }
    found
}

/// The data of a stream's events as the log has them.
pub(crate) async fn logged(addr: SocketAddr, id: &str) -> Vec<String> {
    let mut client = RawClient::connect(addr).await.unwrap();
    let path = format!("/v1/streams/{id}");
    let head = client.get(&path, &[("accept", "text/event-stream")]).await;
    assert_eq!(head.unwrap().status, 200);
    let (frames, _) = client.collect_sse().await.unwrap();
    frames.into_iter().filter_map(|frame| frame.data).collect()
}
