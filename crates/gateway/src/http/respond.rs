//! Responses made of a stream: server-sent events, or one body.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Event, Mode, Status, Surface};
use everstream_core::id::{Seq, StreamId};
use everstream_core::record::End;
use everstream_store::Stat;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::timeout;

use super::error::{from_event, must_not_retry};
use super::form::Form;
use super::page;
use super::sse::SseBody;
use crate::app::App;
use crate::generate::live::Ending;
use crate::read::{Read, Reader};

const STREAM_ID: HeaderName = HeaderName::from_static("everstream-stream-id");
const UPSTREAM: HeaderName = HeaderName::from_static("everstream-upstream");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a response says about its stream beside the events.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Who answers.
    pub upstream: Option<String>,
    /// Whether the stream existed before this request.
    pub replayed: bool,
}

/// Names the stream in a response's headers: what a client needs to come back.
pub(super) fn name_stream(headers: &mut HeaderMap, stream: StreamId) {
    let id = stream.to_string();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/streams/{id}")) {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(STREAM_ID, id);
    }
}

/// A stream's events. The head waits for the first event, for a moment: so a provider's refusal
/// keeps its status, and idle timers of proxies still see bytes in time.
pub(super) async fn held_sse(
    app: &App,
    mut reader: Reader,
    (surface, mut form): (Surface, Form),
    about: &About,
) -> Result<Response, Error> {
    let first = match timeout(app.config.streams.head_hold, reader.next()).await {
        Err(_) => form.heartbeat(),
        Ok(Read::Events(batch, before)) => {
            if let Some(end) = refusal(&reader) {
                let data = last_data(&batch.events);
                return Ok(refused(&reader, surface, about, &end, data));
            }
            form.events(&batch, before)
        }
        Ok(Read::Ended(_)) => Bytes::new(),
        Ok(Read::Lost(error)) => return Err(error),
    };
    Ok(sse(app, reader, (surface, form), Some(first), about))
}

/// A stream's events, from now on.
pub(super) fn sse(
    app: &App,
    reader: Reader,
    (surface, form): (Surface, Form),
    first: Option<Bytes>,
    about: &About,
) -> Response {
    let stream = reader.stream();
    let first = first.filter(|bytes| !bytes.is_empty());
    let about = answered(&reader, about);
    let body = SseBody::new(reader, surface, form, first, app.config.streams.heartbeat);
    let mut response = streamed(Body::new(body), form);
    describe(response.headers_mut(), stream, &about);
    response
}

/// A response whose body is events in this form.
pub(super) fn streamed(body: Body, form: Form) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(form.content_type());
    headers.insert(header::CONTENT_TYPE, kind);
    streaming_headers(headers);
    response
}

/// Headers that keep proxies from holding a streamed body back.
pub(super) fn streaming_headers(headers: &mut HeaderMap) {
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// One JSON body: the provider's own, or a streamed answer folded into one.
pub(super) async fn whole(
    mut reader: Reader,
    surface: Surface,
    mode: Mode,
    about: &About,
) -> Result<Response, Error> {
    let mut data: Vec<Bytes> = Vec::new();
    let end = loop {
        match reader.next().await {
            Read::Events(batch, before) => {
                let events = batch.events_after(before);
                let in_pieces = events.first().is_some_and(Event::is_piece);
                data.extend(events.iter().map(|event| event.data.clone()));
                if mode == Mode::Unary && in_pieces {
                    return Ok(in_parts(reader, data, about));
                }
            }
            Read::Ended(end) => break end,
            Read::Lost(error) => return Err(error),
        }
    };
    if !end.is_answer() {
        let data = data.pop().unwrap_or_default();
        return Ok(refused(&reader, surface, about, &end, data));
    }
    let body = match mode {
        Mode::Unary => data.pop().unwrap_or_default(),
        Mode::Stream => surface.fold(&end.usage, &data)?,
    };
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    describe(
        response.headers_mut(),
        reader.stream(),
        &answered(&reader, about),
    );
    Ok(response)
}

/// A large unary answer, passed on piece by piece. If it is cut, so is the response.
fn in_parts(reader: Reader, first: Vec<Bytes>, about: &About) -> Response {
    let stream_id = reader.stream();
    let about = answered(&reader, about);
    let state = (
        reader,
        first.into_iter().collect::<std::collections::VecDeque<_>>(),
    );
    let parts = stream::try_unfold(state, |(mut reader, mut ready)| async move {
        loop {
            if let Some(bytes) = ready.pop_front() {
                return Ok(Some((bytes, (reader, ready))));
            }
            match reader.next().await {
                Read::Events(batch, before) => {
                    ready.extend(batch.events_after(before).iter().map(|e| e.data.clone()));
                }
                Read::Ended(end) if end.status == Status::Completed => return Ok(None),
                Read::Ended(end) => {
                    let reason = end.reason.clone().unwrap_or_default();
                    return Err(std::io::Error::other(format!(
                        "the answer was cut: {reason}"
                    )));
                }
                Read::Lost(error) => return Err(std::io::Error::other(error.to_string())),
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (kind, Body::from_stream(parts)).into_response();
    describe(response.headers_mut(), stream_id, &about);
    response
}

/// The end of a generation that delivered nothing but its error event.
fn refusal(reader: &Reader) -> Option<Arc<End>> {
    match reader.ending() {
        Some(Ending::Logged(end))
            if end.status != Status::Completed && reader.seen() == Seq::new(1) =>
        {
            Some(end)
        }
        _ => None,
    }
}

fn last_data(events: &[Event]) -> Bytes {
    events
        .last()
        .map(|event| event.data.clone())
        .unwrap_or_default()
}

/// The error as a response of its own, with the status that the provider gave.
fn refused(reader: &Reader, surface: Surface, about: &About, end: &End, data: Bytes) -> Response {
    let code = end
        .reason
        .as_deref()
        .and_then(ErrorCode::from_name)
        .unwrap_or(ErrorCode::Internal);
    let status = end.http_status.unwrap_or(code.status());
    let mut response = from_event(surface.refusal(data, status), status);
    let headers = response.headers_mut();
    describe(headers, reader.stream(), &answered(reader, about));
    if let Some(after) = end.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    // A provider that says it ran nothing may be asked again.
    if must_not_retry(code) && !end.release_claim {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// The headers that say what the response is part of.
pub(super) fn describe(headers: &mut HeaderMap, stream: StreamId, about: &About) {
    name_stream(headers, stream);
    name_upstream(headers, about);
    if about.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
}

/// What is known of who answers once this reader was given something.
fn answered(reader: &Reader, about: &About) -> About {
    About {
        upstream: reader.upstream().or_else(|| about.upstream.clone()),
        ..*about
    }
}

/// Names who answers.
pub(super) fn name_upstream(headers: &mut HeaderMap, about: &About) {
    if let Some(upstream) = about
        .upstream
        .as_deref()
        .and_then(|u| HeaderValue::try_from(u).ok())
    {
        headers.insert(UPSTREAM, upstream);
    }
}

/// 202: where the answer is or will be, and how far it is.
pub(super) fn accepted(stat: &Stat, about: &About) -> Response {
    let stream = stat.info.id;
    let url = format!("/v1/streams/{stream}");
    let mut body = page::summary(stat);
    body.insert("url".into(), url.as_str().into());
    let mut response = (StatusCode::ACCEPTED, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(url) {
        headers.insert(header::LOCATION, location);
    }
    describe(headers, stream, about);
    response
}

/// 204: there is nothing after the cursor and never will be. The one answer that stops an
/// `EventSource`.
pub(super) fn nothing_follows(stream: StreamId) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    describe(response.headers_mut(), stream, &About::default());
    response
}
