//! What every request goes through, whatever it asks for. In this order, from the outside:
//!
//! 1. [`shield`]: the id is known before anything can fail, and is on every response; a bug costs one
//!    request, and its client learns the id to report.
//! 2. CORS, which answers preflights, where pages of other origins are allowed.
//! 3. [`screen`]: without keys, what a stranger's web page sends goes no further; while the process is
//!    on its way out, each response is its connection's last; and browsers are told what not to do
//!    with it.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use tracing::{Level, enabled};

use super::error::Shape;
use super::pages;
use crate::app::App;
use crate::random;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The request has an id: the client's own if it is sane, the trace it belongs to, or a random one.
#[derive(Clone, Debug)]
struct Shielded;

/// Gives a request an id, and its response the same one. A panic becomes a 500 that names it.
pub(super) async fn shield<R>(mut request: Request, run: impl FnOnce(Request) -> R) -> Response
where
    R: Future<Output = Response>,
{
    if request.extensions().get::<Shielded>().is_some() {
        // The router around this one did it.
        return run(request).await;
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
    request.extensions_mut().insert(Shielded);
    let shape = Shape::of(request.uri().path());
    let about = enabled!(Level::DEBUG).then(|| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        (method, path, tokio::time::Instant::now())
    });
    let response = AssertUnwindSafe(run(request)).catch_unwind().await;
    let mut response = response.unwrap_or_else(|_| panicked(shape, &id));
    if let Some((method, path, started)) = about {
        let status = response.status().as_u16();
        let head_ms = started.elapsed().as_millis();
        tracing::debug!(request_id = ?id, %method, path, status, head_ms, "request");
    }
    if shape == Shape::Anthropic {
        // Where that API's SDKs look for it.
        response
            .headers_mut()
            .insert(ANTHROPIC_REQUEST_ID, id.clone());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Lets in what may come in. Clients of HTTP/1 are sent to the next process with their next request
/// while this one leaves; HTTP/2 has its own goodbye.
pub(super) async fn screen<R>(
    app: &App,
    request: Request,
    run: impl FnOnce(Request) -> R,
) -> Response
where
    R: Future<Output = Response>,
{
    let request = app.access.receive(request);
    let version = request.version();
    let coding = coding(&request);
    let is_odd = coding.is_err();
    let mut response = match coding.and_then(|()| pages::check(app, &request)) {
        Ok(()) => run(request).await,
        Err(error) => Shape::of(request.uri().path())
            .failure(error)
            .into_response(),
    };
    let is_http = response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if (is_odd || app.lifecycle.is_leaving()) && version < Version::HTTP_2 && is_http {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    restrain(&mut response, app.config.tls.certificate.is_some());
    response
}

/// A body may be chunked, and nothing else that a proxy in front could undo and this server does not:
/// the two would disagree about what it is, and where it ends.
fn coding(request: &Request) -> Result<(), Error> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_known = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if is_known {
        return Ok(());
    }
    let message = "Transfer-Encoding can be `chunked`, once, and nothing else.";
    Err(Error::new(ErrorCode::InvalidValue, message).param("Transfer-Encoding"))
}

/// Browsers take a response for nothing but what it says it is, run nothing in it, show it in no
/// frame, and tell no other site of it.
fn restrain(response: &mut Response, has_tls: bool) {
    let headers = response.headers_mut();
    let of = HeaderValue::from_static;
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, of("nosniff"));
    if has_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, of("max-age=31536000"));
    }
    let content_type = headers.get(header::CONTENT_TYPE);
    // Which no browser shows as a page.
    if content_type.is_none_or(|value| value != "text/event-stream") {
        let policy = of("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::REFERRER_POLICY, of("no-referrer"));
    }
}

fn panicked(shape: Shape, id: &HeaderValue) -> Response {
    let id = id.to_str().unwrap_or("unknown");
    tracing::error!(request_id = id, "a handler panicked");
    let message = format!("Everstream has a bug here. Please report request id {id}.");
    shape
        .failure(Error::new(ErrorCode::Internal, message))
        .into_response()
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
    let random = random::u64().unwrap_or_default();
    HeaderValue::try_from(format!("{random:016x}")).unwrap_or(HeaderValue::from_static("unknown"))
}
