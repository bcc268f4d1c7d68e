//! A stream as a resource: `GET`, `DELETE` and `POST .../token` on `/v1/streams/{id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use everstream_core::cursor::Cursor;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_core::limits;
use everstream_core::policy::scope::Api;
use everstream_store::Stat;
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;

use super::body::read_small_body;
use super::error::Shape;
use super::open::{Opened, open, stat};
use super::parameters::Parameters;
use super::respond::{self, About};
use super::segment::Segment;
use super::{form, ndjson, page};
use crate::app::App;
use crate::read::{Read, Reader};

/// How long a cancellation waits for the terminal record.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

/// Query parameters of a read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReadQuery {
    /// The cursor, for those who cannot set headers.
    pub after: Option<String>,
    /// `true` for server-sent events, `false` for a page.
    pub stream: Option<bool>,
    /// Events of a page.
    pub limit: Option<usize>,
    /// A read token.
    pub token: Option<String>,
}

/// `GET /v1/streams/{id}`: server-sent events, NDJSON or a JSON page.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(query): Parameters<ReadQuery>,
    parts: Parts,
) -> Response {
    let result = try_read(&app, &id, &query, &parts).await;
    result.unwrap_or_else(|error| Shape::Problem.failure(error).into_response())
}

async fn try_read(
    app: &App,
    id: &str,
    query: &ReadQuery,
    parts: &Parts,
) -> Result<Response, Error> {
    let (project, stream) = authorize(app, id, query.token.as_deref(), parts).await?;
    let headers = &parts.headers;
    let seq = cursor(stream, query.after.as_deref(), headers)?;
    let form = Form::wanted(query, headers);
    if form == Form::Page {
        return page::page(app, &project, stream, seq, query.limit).await;
    }
    match open(app, &project, stream, seq).await? {
        Opened::AtEnd => Ok(respond::nothing_follows(stream)),
        Opened::Reader(reader, stat) => {
            let about = About {
                upstream: stat.info.upstream,
                replayed: false,
            };
            Ok(match form {
                Form::Ndjson => ndjson::ndjson(app, reader, &about),
                Form::Sse | Form::Page => {
                    let how = (stat.info.surface, form::Form::Frames);
                    respond::sse(app, reader, how, None, &about)
                }
            })
        }
    }
}

/// Who reads: the caller of a key, or the bearer of a token for this one stream.
pub(super) async fn authorize(
    app: &App,
    id: &str,
    token: Option<&str>,
    parts: &Parts,
) -> Result<(ProjectId, StreamId), Error> {
    let id: Result<StreamId, _> = id.parse();
    if let Some(token) = token {
        let stream = id.map_err(|_| unknown())?;
        return Ok((admit(app, stream, token).await?, stream));
    }
    let caller = app.access.authenticate(parts).await?;
    caller.may_use(Api::Streams)?;
    let stream = id.map_err(|_| unknown())?;
    Ok((caller.project, stream))
}

/// Lets in the bearer of a token for this stream. Whose it is.
pub(super) async fn admit(app: &App, stream: StreamId, token: &str) -> Result<ProjectId, Error> {
    app.tokens.verify(stream, token, app.clock.now())?;
    let stat = app.log.info(stream).await.map_err(|error| match error {
        everstream_store::LogError::NotFound => unknown(),
        error => crate::store_error(&error).stream(stream),
    })?;
    Ok(stat.info.project)
}

fn unknown() -> Error {
    Error::new(
        ErrorCode::StreamNotFound,
        "There is no such stream in this project.",
    )
}

/// Where to start: `Last-Event-ID` beats `?after=`.
pub(super) fn cursor(
    stream: StreamId,
    after: Option<&str>,
    headers: &HeaderMap,
) -> Result<Seq, Error> {
    let header = headers
        .get("last-event-id")
        .filter(|value| !value.is_empty());
    let (name, text) = match (header, after) {
        (Some(value), _) => ("Last-Event-ID", value.to_str().unwrap_or("\u{fffd}")),
        (None, Some(after)) if !after.is_empty() => ("after", after),
        (None, _) => return Ok(Seq::ZERO),
    };
    let cursor = Cursor::parse(text, Some(stream)).map_err(|error| {
        let message = format!("{name} is wrong: {error}; it looks like `{stream}.17` or `17`.");
        Error::new(ErrorCode::InvalidCursor, message)
            .param(name)
            .stream(stream)
    })?;
    Ok(cursor.seq)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Sse,
    Ndjson,
    Page,
}

impl Form {
    fn wanted(query: &ReadQuery, headers: &HeaderMap) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let accept = accept.unwrap_or("*/*");
        let ndjson = accept.contains("application/x-ndjson") || accept.contains("jsonl");
        match query.stream {
            Some(false) => Self::Page,
            _ if ndjson => Self::Ndjson,
            Some(true) => Self::Sse,
            None if accept.contains("text/event-stream") => Self::Sse,
            // Only somebody who was reading events has a last one.
            None if headers.contains_key("last-event-id") => Self::Sse,
            None => Self::Page,
        }
    }
}

/// `DELETE /v1/streams/{id}`: stops the provider; the stream ends `cancelled` and stays readable.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    parts: Parts,
) -> Response {
    let result = try_cancel(&app, &id, &parts).await;
    result.unwrap_or_else(|error| Shape::Problem.failure(error).into_response())
}

async fn try_cancel(app: &App, id: &str, parts: &Parts) -> Result<Response, Error> {
    let (project, stream) = authorize(app, id, None, parts).await?;
    let found = stat(app, &project, stream).await?;
    let found = if found.tail.ended {
        found
    } else {
        stop(app, &project, stream).await?
    };
    Ok(axum::Json(page::summary(&found)).into_response())
}

/// Stops a stream that runs, and waits for its end.
pub(super) async fn stop(app: &App, project: &ProjectId, stream: StreamId) -> Result<Stat, Error> {
    if let Some(live) = app.generator.registry.get(stream) {
        live.stop(ErrorCode::Cancelled);
    } else if !app.peers.cancel(stream).await {
        // Nobody writes it any more.
        app.recover().await;
    }
    let stat_now = stat(app, project, stream).await?;
    let seen = stat_now.tail.seq;
    let attachment = app
        .generator
        .registry
        .get(stream)
        .and_then(|live| live.attach(seen, usize::MAX));
    let mut reader = Reader::new(Arc::clone(&app.log), stream, seen, attachment);
    let end = async { while let Read::Events(..) = reader.next().await {} };
    if tokio::time::timeout(CANCEL_WAIT, end).await.is_err() {
        let message = format!(
            "Stream {stream} did not stop within {} s; it may be written by another process.",
            CANCEL_WAIT.as_secs()
        );
        return Err(Error::new(ErrorCode::StoreUnavailable, message).stream(stream));
    }
    stat(app, project, stream).await
}

/// The body of a token request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// Seconds the token is good for.
    expires_in: Option<u64>,
}

/// `POST /v1/streams/{id}/token`: a token that reads this one stream for a short time.
pub(super) async fn token(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    request: Request,
) -> Response {
    let result = try_token(&app, &id, request).await;
    result.unwrap_or_else(|error| Shape::Problem.failure(error).into_response())
}

async fn try_token(app: &App, id: &str, request: Request) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let (project, stream) = authorize(app, id, None, &parts).await?;
    stat(app, &project, stream).await?;
    let body = read_small_body(body, &app.config.limits).await?;
    let wish: TokenRequest = if body.is_empty() {
        TokenRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("The body is `{{\"expires_in\": <seconds>}}` or empty: {error}.");
            Error::new(ErrorCode::InvalidJson, message)
        })?
    };
    let asked = wish
        .expires_in
        .map_or(app.config.streams.read_token_ttl, Duration::from_secs);
    if asked > limits::READ_TOKEN_MAX || asked.is_zero() {
        let message = format!(
            "expires_in is between 1 and {} seconds.",
            limits::READ_TOKEN_MAX.as_secs()
        );
        return Err(Error::new(ErrorCode::InvalidValue, message).param("expires_in"));
    }
    let expires_at = app.clock.now().plus(asked);
    let token = app.tokens.sign(stream, expires_at);
    let body = serde_json::json!({
        "token": token,
        "expires_at": expires_at.0 / 1000,
        "url": format!("/v1/streams/{stream}?token={token}"),
    });
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, axum::Json(body)).into_response())
}
