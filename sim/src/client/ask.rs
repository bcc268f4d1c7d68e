//! What a client sends.

use std::fmt::Write as _;

use super::Client;

const PATH: &str = "/v1/chat/completions";

impl Client {
    /// What it asks; the same for all who share a key.
    pub(super) fn question(&self) -> String {
        match (self.plan.key, self.plan.model) {
            (Some(key), Ok(route)) => format!("k{key}-r{route}-{}", self.plan.stream),
            (Some(key), Err(own)) => format!("k{key}-u{own}-{}", self.plan.stream),
            (None, _) => format!("q{}", self.number),
        }
    }

    fn model(&self) -> String {
        match self.plan.model {
            Ok(route) => format!("r{route}"),
            Err(upstream) => format!("u{upstream}-m"),
        }
    }

    pub(super) fn resume(&self, stream: &str, seen: u64) -> String {
        if self.plan.posts_again {
            self.post(&format!("last-event-id: {stream}.{seen}\r\n"))
        } else {
            get(stream, seen)
        }
    }

    pub(super) fn ask(&self, attempt: u32) -> String {
        let mut headers = String::new();
        if let Some(key) = self.plan.key {
            let _ = write!(headers, "idempotency-key: k{key}-{}\r\n", self.question());
        } else if self.plan.retries {
            let _ = write!(headers, "x-stainless-retry-count: {attempt}\r\n");
        }
        if let Some(on_disconnect) = self.plan.on_disconnect {
            let _ = write!(headers, "everstream-on-disconnect: {on_disconnect}\r\n");
        }
        if let Some(timeout) = self.plan.timeout {
            let _ = write!(headers, "everstream-timeout: {timeout}s\r\n");
        }
        self.post(&headers)
    }

    fn post(&self, headers: &str) -> String {
        let body = serde_json::json!({"model": self.model(), "stream": self.plan.stream,
            "messages": [{"role": "user", "content": self.question()}]})
        .to_string();
        let length = body.len();
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        )
    }
}

/// A read of a stream after an event.
pub(crate) fn get(stream: &str, seen: u64) -> String {
    let cursor = if seen > 0 {
        format!("last-event-id: {stream}.{seen}\r\n")
    } else {
        String::new()
    };
    format!(
        "GET /v1/streams/{stream} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\
         {cursor}\r\n"
    )
}
