//! A running gateway, as the command line talks to it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::limits;
use serde_json::Value;
use tokio::time::timeout;

use super::{Failure, GatewayArgs};
use crate::upstream::{Body, Reach, Request, Response, SpecError, Upstream, UpstreamSpec};

/// A gateway, through the same client that gateways call providers with.
pub(super) struct Gateway {
    upstream: Arc<Upstream>,
    /// Where its key was taken from.
    key_from: &'static str,
}

const KEY_FROM: &str = "--api-key or EVERSTREAM_API_KEY";

impl GatewayArgs {
    /// The gateway that is meant. Nothing is connected yet.
    pub(super) fn gateway(&self, headers: &[(&str, &str)]) -> Result<Gateway, Failure> {
        let url = self.url.trim_end_matches('/');
        // SDKs are configured with the address of the API below it.
        let mut spec = UpstreamSpec::new("gateway", url.strip_suffix("/v1").unwrap_or(url));
        spec.api_key = (self.api_key.clone()).filter(|key| !key.expose().is_empty());
        // Who runs the command says where the gateway is.
        spec.reach = Reach::LinkLocal;
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        spec.headers = headers.iter().map(own).collect();
        let upstream = Upstream::new(spec).map_err(|error| {
            Failure::Other(match error {
                SpecError::BaseUrl { error, .. } => format!("--url: {error}"),
                SpecError::Header { error, .. } => format!("--api-key: {error}"),
                error => error.to_string(),
            })
        })?;
        Ok(Gateway {
            upstream: Arc::new(upstream),
            key_from: KEY_FROM,
        })
    }
}

impl Gateway {
    /// The same with a key that was taken from elsewhere.
    pub(super) fn key_from(self, key_from: &'static str) -> Self {
        Self { key_from, ..self }
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        self.upstream.base_url().to_string()
    }

    /// Sends a request; any status is an answer.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let sent = self.upstream.send(request).await;
        sent.map_err(|error| {
            let (url, kind) = (self.url(), &error.kind);
            Failure::Other(format!("the gateway at {url}: {kind}"))
        })
    }

    /// What a `GET` gives, if it succeeds.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json("GET", path).await
    }

    /// The JSON that a request without a body gives, if it succeeds.
    pub(super) async fn json(&self, method: &str, path: &str) -> Result<Value, Failure> {
        let body = self.ask(method, path, ("application/json", None)).await?;
        self.parsed(&body)
    }

    /// The JSON that a request with a body gives, if it succeeds; null if it gives nothing.
    pub(super) async fn tell(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let body = Bytes::from(body.to_string());
        let wish = ("application/json", Some(body));
        let body = self.ask(method, path, wish).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        self.parsed(&body)
    }

    /// What a `GET` gives in another form, if it succeeds.
    pub(super) async fn text(&self, path: &str, accept: &str) -> Result<String, Failure> {
        let body = self.ask("GET", path, (accept, None)).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        (accept, body): (&str, Option<Bytes>),
    ) -> Result<Vec<u8>, Failure> {
        let json = [("accept", accept), ("content-type", "application/json")];
        let request = Request {
            method,
            path,
            headers: if body.is_some() { &json } else { &json[..1] },
            body,
        };
        let response = self.send(request).await?;
        if !(200..300).contains(&response.head.status) {
            return Err(refused(response, self.key_from).await);
        }
        whole(response.body).await
    }

    fn parsed(&self, body: &[u8]) -> Result<Value, Failure> {
        serde_json::from_slice(body)
            .map_err(|_| Failure::Other(format!("{} is no Everstream gateway", self.url())))
    }
}

/// Runs the talk with a gateway to its end.
pub(super) fn block_on<T>(talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(talk)
}

/// The next piece of a body, unless it stays away for longer than a live connection would let it.
pub(super) async fn piece(body: &mut Body) -> Result<Option<Bytes>, String> {
    match timeout(limits::CLI_SILENCE, body.read()).await {
        Ok(read) => read.map_err(|error| error.kind.to_string()),
        Err(_) => Err(format!("no byte for {} s", limits::CLI_SILENCE.as_secs())),
    }
}

/// What a gateway says when it refuses.
pub(super) async fn refusal(response: Response) -> Failure {
    refused(response, KEY_FROM).await
}

async fn refused(response: Response, key_from: &str) -> Failure {
    let status = response.head.status;
    let body = whole(response.body).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = body["detail"]
        .as_str()
        .or(body["error"]["message"].as_str());
    let hint = if status == 401 {
        format!(" (the key is taken from {key_from})")
    } else {
        String::new()
    };
    let said = printable(said.unwrap_or("and no reason that Everstream would give"));
    Failure::Other(format!("the gateway answered {status}: {said}{hint}"))
}

async fn whole(mut body: Body) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    let cut = |why| Failure::Other(format!("the gateway's answer was cut: {why}"));
    while let Some(piece) = piece(&mut body).await.map_err(cut)? {
        if whole.len() + piece.len() > limits::CLI_ANSWER_BYTES {
            return Err(Failure::Other(
                "the gateway's answer is too large".to_owned(),
            ));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// Text of somebody else's, which must not drive the terminal.
pub(super) fn printable(text: &str) -> String {
    let keep = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(keep).collect()
}

/// The text of a query parameter's value.
pub(super) fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for &byte in value.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(["%".to_owned(), format!("{byte:02X}")]);
        }
    }
    encoded
}

/// The text in an event of an answer; `None` if it is none of the dialect's with choices.
pub(super) fn text_of(event: &Value) -> Option<&str> {
    let choice = event["choices"].as_array()?.first();
    let text = choice.and_then(|choice| {
        let parts = [
            &choice["delta"]["content"],
            &choice["text"],
            &choice["message"]["content"],
        ];
        parts.into_iter().find_map(Value::as_str)
    });
    Some(text.unwrap_or_default())
}

/// A time that passed, as people say it.
pub(super) fn lapse(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.as_millis());
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{:03}s", millis % 1000),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}
