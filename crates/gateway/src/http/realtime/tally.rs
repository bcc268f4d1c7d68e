use everstream_core::dialect::figures::{add_figures, figures};
use everstream_core::limits::USAGE_BYTES;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tungstenite::Message;

use crate::http::limited::Dues;

/// What is known of a session in the end: one line in the log, nothing of what was said.
pub(super) struct Tally {
    project: String,
    upstream: String,
    model: String,
    started: Instant,
    events: Count,
    bytes: Count,
    responses: u32,
    /// A response is being made.
    pub(super) busy: bool,
    usage: Value,
    /// What it took of its limits and budgets.
    dues: Dues,
    /// How it ended.
    pub(super) outcome: &'static str,
}

#[derive(Default)]
struct Count {
    sent: u64,
    received: u64,
}

#[derive(Deserialize)]
struct Happened {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    response: Value,
}

impl Tally {
    pub(super) fn new(project: String, upstream: &str, model: String, dues: Dues) -> Self {
        Self {
            project,
            upstream: upstream.to_owned(),
            model,
            started: Instant::now(),
            events: Count::default(),
            bytes: Count::default(),
            responses: 0,
            busy: false,
            usage: Value::Null,
            dues,
            outcome: "client_gone",
        }
    }

    /// The client said this.
    pub(super) fn said(&mut self, message: &Message) {
        if message.is_text() || message.is_binary() {
            self.events.sent += 1;
            self.bytes.sent += message.len() as u64;
        }
    }

    /// The upstream said this.
    pub(super) fn heard(&mut self, message: &Message) {
        if !message.is_text() && !message.is_binary() {
            return;
        }
        self.events.received += 1;
        self.bytes.received += message.len() as u64;
        if let Message::Text(text) = message {
            self.read(text);
        }
    }

    /// Most events are audio, and are not looked into.
    fn read(&mut self, text: &str) {
        let names = ["\"response.done\"", "\"response.created\""];
        if !names.iter().any(|name| text.contains(name)) {
            return;
        }
        let Ok(Happened { kind, response }) = serde_json::from_str(text) else {
            return;
        };
        match kind.as_str() {
            "response.created" => self.busy = true,
            "response.done" => {
                self.busy = false;
                self.responses += 1;
                if let Some(usage) = response.get("usage").and_then(figures) {
                    let mut sum = self.usage.clone();
                    add_figures(&mut sum, &usage);
                    // Each could have other names.
                    if sum.to_string().len() <= USAGE_BYTES {
                        self.usage = sum;
                    }
                }
            }
            _ => {}
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.dues.settle(Some(&self.usage));
        let usage = match &self.usage {
            Value::Null => String::new(),
            usage => usage.to_string(),
        };
        tracing::info!(
            path = super::PATH,
            project = self.project,
            upstream = self.upstream,
            model = self.model,
            outcome = self.outcome,
            events_sent = self.events.sent,
            events_received = self.events.received,
            sent = self.bytes.sent,
            received = self.bytes.received,
            responses = self.responses,
            usage,
            seconds = self.started.elapsed().as_secs(),
            "passed through"
        );
    }
}
