//! What every request goes through, whatever it asks for. In this order, from the outside:
//!
//! 1. `request_id`: the id is known before anything can fail, and is on every response.
//! 2. `catch_panic`: a bug costs one request, and its client learns the id to report.
//! 3. CORS, which answers preflights.
//! 4. `known_pages`: without keys, what a stranger's web page sends goes no further.
//! 4. `say_goodbye`: while the process is on its way out, each response is its connection's last.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};

use super::error::Shape;
use crate::app::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The id of a request: the client's own if it is sane, the trace it belongs to, or a random one.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub HeaderValue);

/// Gives every request an id, and every response the same one.
pub(super) async fn request_id(mut request: Request, next: Next) -> Response {
    if request.extensions().get::<RequestId>().is_some() {
        // The router around this one gave it one.
        return next.run(request).await;
    }
    let id = known_id(&request).unwrap_or_else(random_id);
    if !request
        .headers()
        .get(TRACEPARENT)
        .is_some_and(is_traceparent)
    {
        // A broken one would only confuse whoever continues the trace.
        request.headers_mut().remove(TRACEPARENT);
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = tokio::time::Instant::now();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let head_ms = started.elapsed().as_millis();
    tracing::debug!(request_id = ?id, %method, path, status, head_ms, "request");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Sends clients of HTTP/1 to the next process with their next request. HTTP/2 has its own goodbye.
pub(super) async fn say_goodbye(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    let is_http = response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if app.lifecycle.is_leaving() && version < Version::HTTP_2 && is_http {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// A panic in a handler becomes a 500 that names the request.
pub(super) async fn catch_panic(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let shape = Shape::of(request.uri().path());
    if let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await {
        response
    } else {
        let id = id
            .as_ref()
            .and_then(|id| id.0.to_str().ok())
            .unwrap_or("unknown");
        tracing::error!(request_id = id, "a handler panicked");
        let message = format!("Everstream has a bug here. Please report request id {id}.");
        shape
            .failure(Error::new(ErrorCode::Internal, message))
            .into_response()
    }
}

fn known_id(request: &Request) -> Option<HeaderValue> {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    if let Some(id) = request.headers().get(REQUEST_ID).filter(sane) {
        return Some(id.clone());
    }
    let traceparent = request
        .headers()
        .get(TRACEPARENT)
        .filter(|value| is_traceparent(value))?;
    HeaderValue::from_bytes(&traceparent.as_bytes()[3..35]).ok()
}

/// `<2 hex>-<32 hex>-<16 hex>-<2 hex>`, and from version 01 on perhaps more behind a dash; version ff
/// and ids of zeros alone are none: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn is_traceparent(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let Some((known, more)) = bytes.split_at_checked(55) else {
        return false;
    };
    let shaped = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
    });
    let version = &known[..2];
    let more_fits = more.is_empty() || version != b"00" && more.starts_with(b"-");
    let zeros = |part: &[u8]| part.iter().all(|digit| *digit == b'0');
    shaped && more_fits && version != b"ff" && !zeros(&known[3..35]) && !zeros(&known[36..52])
}

fn random_id() -> HeaderValue {
    let random = getrandom::u64().unwrap_or_default();
    HeaderValue::try_from(format!("{random:016x}")).unwrap_or(HeaderValue::from_static("unknown"))
}
