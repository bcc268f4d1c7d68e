//! OpenAI's responses as resources: `/v1/responses/{id}`. An id is `resp_` and the stream's, so that
//! any process finds the response in the log.

mod continuation;
mod input_items;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::dialect::ReplyHead;
use everstream_core::dialect::openai_responses::conversation::Wish;
use everstream_core::dialect::openai_responses::snapshot::{Snapshot, of_end};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Mode, Status, Surface};
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_store::{ReadLimit, Stat};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::json;

use super::error::Shape;
use super::form::Form;
use super::open::{Opened, open, stat};
use super::parameters::Parameters;
use super::respond::{self, About};
use super::segment::Segment;
use super::streams::{cursor, stop};
use crate::app::App;
use crate::generate::snapshot::snapshot;
use crate::store_error;

pub(super) use continuation::continue_from;
pub(super) use input_items::input_items;

/// Query parameters of a retrieval.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RetrieveQuery {
    stream: Option<bool>,
    /// The `sequence_number` after which to go on.
    starting_after: Option<u64>,
}

/// `GET /v1/responses/{id}`: the response as it is now, or its events.
pub(super) async fn retrieve(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(query): Parameters<RetrieveQuery>,
    parts: Parts,
) -> Response {
    shaped(try_retrieve(&app, &id, &query, &parts).await)
}

async fn try_retrieve(
    app: &App,
    id: &str,
    query: &RetrieveQuery,
    parts: &Parts,
) -> Result<Response, Error> {
    let (_, found) = find(app, id, parts).await?;
    if query.stream == Some(true) {
        return follow(app, &found, query.starting_after, &parts.headers).await;
    }
    if query.starting_after.is_some() {
        let message = "`starting_after` goes with `stream=true`.";
        return Err(Error::new(ErrorCode::InvalidValue, message).param("starting_after"));
    }
    show(app, &found, &About::default()).await
}

/// The events of a response. `sequence_number` counts from 0, a stream's events from 1.
async fn follow(
    app: &App,
    found: &Stat,
    after: Option<u64>,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let stream = found.info.id;
    if found.info.mode == Mode::Unary {
        let message = "This response was not made with `stream` or `background`, so it has no \
                       events.";
        return Err(Error::new(ErrorCode::InvalidValue, message).param("stream"));
    }
    let seq = match after {
        Some(number) => Seq::new(number.saturating_add(1)),
        None => cursor(stream, None, headers)?,
    };
    let opened = open(app, &found.info.project, stream, seq).await;
    let opened = opened.map_err(|error| match error.code {
        ErrorCode::CursorAhead => {
            let message = format!("The response has no event {} yet.", seq.get() - 1);
            Error::new(ErrorCode::InvalidCursor, message).param("starting_after")
        }
        _ => error,
    })?;
    let about = About {
        upstream: found.info.upstream.clone(),
        replayed: false,
    };
    Ok(match opened {
        Opened::Reader(reader, _) => {
            let surface = (Surface::Responses, Form::Frames);
            respond::sse(app, reader, surface, None, &about)
        }
        Opened::AtEnd => {
            let mut nothing = respond::streamed(axum::body::Body::empty(), Form::Frames);
            respond::describe(nothing.headers_mut(), stream, &about);
            nothing
        }
    })
}

/// `POST /v1/responses/{id}/cancel`: stops it, and shows it as it is then.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    parts: Parts,
) -> Response {
    shaped(try_cancel(&app, &id, &parts).await)
}

async fn try_cancel(app: &App, id: &str, parts: &Parts) -> Result<Response, Error> {
    let (project, mut found) = find(app, id, parts).await?;
    if !found.tail.ended {
        found = stop(app, &project, found.info.id).await?;
    }
    show(app, &found, &About::default()).await
}

/// `DELETE /v1/responses/{id}`: stops it, and forgets it for good.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    parts: Parts,
) -> Response {
    shaped(try_delete(&app, &id, &parts).await)
}

async fn try_delete(app: &App, id: &str, parts: &Parts) -> Result<Response, Error> {
    let (project, found) = find(app, id, parts).await?;
    let stream = found.info.id;
    if !found.tail.ended {
        stop(app, &project, stream).await?;
    }
    let deleted = app.log.delete(stream).await;
    deleted.map_err(|error| store_error(&error).stream(stream))?;
    let body = json!({"id": id, "object": "response", "deleted": true});
    Ok(axum::Json(body).into_response())
}

/// What a client gets that wants no answer now: the response as it is so far.
pub(super) async fn in_background(
    app: &App,
    stream: StreamId,
    about: &About,
) -> Result<Response, Error> {
    let found = app.log.info(stream).await;
    let found = found.map_err(|error| store_error(&error).stream(stream))?;
    show(app, &found, about).await
}

async fn show(app: &App, found: &Stat, about: &About) -> Result<Response, Error> {
    let body = response(app, found).await?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    respond::describe(response.headers_mut(), found.info.id, about);
    Ok(response)
}

/// A response as it is now.
async fn response(app: &App, found: &Stat) -> Result<Bytes, Error> {
    let stream = found.info.id;
    let log_error = |error| store_error(&error).stream(stream);
    if found.info.status == Status::Completed
        && let Some(before) = found.tail.seq.get().checked_sub(1)
    {
        let limit = ReadLimit {
            events: 1,
            bytes: 1,
        };
        let page = app.log.read(stream, Seq::new(before), limit).await;
        let page = page.map_err(log_error)?;
        if let Some(whole) = page.events.last().and_then(of_end) {
            return Ok(whole);
        }
    }
    let head = ReplyHead::of(stream, &found.accepted);
    let snapshot: Snapshot = snapshot(&*app.log, found).await.map_err(log_error)?;
    Ok(snapshot.finish(found.info.status, &head))
}

/// The stream of a response, if the caller may know it.
async fn find(app: &App, id: &str, parts: &Parts) -> Result<(ProjectId, Stat), Error> {
    let caller = app.access.authenticate(parts).await?;
    caller.may_use(Surface::Responses)?;
    let found = stored(app, &caller.project, id).await?;
    let missing = || {
        let message = format!("Response with id '{}' not found.", shown(id));
        Error::new(ErrorCode::ResponseNotFound, message)
    };
    Ok((caller.project, found.ok_or_else(missing)?))
}

/// The stream of a response of this project that is stored.
async fn stored(app: &App, project: &ProjectId, id: &str) -> Result<Option<Stat>, Error> {
    let stream = id.strip_prefix("resp_").and_then(|id| id.parse().ok());
    let Some(stream) = stream else {
        return Ok(None);
    };
    match stat(app, project, stream).await {
        Ok(found) => {
            let is_response = found.info.surface == Surface::Responses;
            // The stream can be read by who has its own id, as long as any.
            let store = Wish::read(&found.accepted.request).is_ok_and(|wish| wish.store);
            Ok((is_response && store).then_some(found))
        }
        Err(error) => match error.code {
            ErrorCode::StreamNotFound | ErrorCode::StreamGone => Ok(None),
            _ => Err(error),
        },
    }
}

/// An id of a client's as a message may hold it.
fn shown(id: &str) -> String {
    id.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn shaped(result: Result<Response, Error>) -> Response {
    result.unwrap_or_else(|error| Shape::OpenAi.failure(error).into_response())
}
