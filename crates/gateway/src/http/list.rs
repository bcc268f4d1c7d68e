//! `GET /v1/streams`: the project's streams, as a page or as a live feed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::StreamInfo;
use everstream_core::frame::sse::{HEARTBEAT, SseMessage};
use everstream_core::id::{ProjectId, StreamId};
use everstream_core::limits;
use everstream_core::list::{ListPage, ListQuery, Selection};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use super::error::Shape;
use super::respond::streaming_headers;
use crate::app::App;

/// Parameters of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListParameters {
    query: Option<String>,
    page: Option<String>,
    size: Option<String>,
    sort: Option<String>,
    stream: Option<bool>,
    /// Seconds: how long a feed lasts, or how long an empty page waits for a match.
    timeout: Option<u64>,
}

/// `GET /v1/streams`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(parameters): Query<ListParameters>,
    headers: HeaderMap,
) -> Response {
    match try_list(app, &parameters, &headers).await {
        Ok(response) => response,
        Err(error) => Shape::Problem.failure(error).into_response(),
    }
}

async fn try_list(
    app: Arc<App>,
    parameters: &ListParameters,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let project = app.keys.authenticate(headers)?.project;
    let ListParameters {
        query,
        page,
        size,
        sort,
        stream,
        timeout,
    } = parameters;
    let query = ListQuery::parse(
        query.as_deref(),
        page.as_deref(),
        size.as_deref(),
        sort.as_deref(),
    )?;
    let longest = limits::LIST_TIMEOUT_MAX.as_secs();
    if timeout.is_some_and(|seconds| !(1..=longest).contains(&seconds)) {
        let message = format!("timeout is between 1 and {longest} seconds.");
        return Err(Error::new(ErrorCode::InvalidValue, message).param("timeout"));
    }
    let until = |default: u64| Instant::now() + Duration::from_secs(timeout.unwrap_or(default));
    if *stream == Some(true) {
        return Ok(feed(app, project, query, until(longest)));
    }
    // Subscribed before the first look, so that no change falls between.
    let mut changes = app.generator.changes.subscribe();
    let until = until(0);
    let mut found = look(&app, &project, &query);
    while found.total == 0 {
        tokio::select! {
            changed = timeout_at(until, changes.recv()) => if changed.is_err() { break },
            () = app.lifecycle.leaving() => break,
        }
        found = look(&app, &project, &query);
    }
    Ok(axum::Json(document(&found)).into_response())
}

fn look(app: &App, project: &ProjectId, query: &ListQuery) -> ListPage {
    let mut selection = Selection::new(query);
    app.log.scan(project, &mut |info| selection.see(info));
    selection.finish()
}

fn document(page: &ListPage) -> Value {
    let data: Vec<Value> = page.streams.iter().map(|info| json!(info)).collect();
    json!({
        "object": "list",
        "data": data,
        "total": page.total,
        "page": page.page,
        "size": page.size,
        "has_more": page.page * page.size < page.total,
    })
}

/// Server-sent events: the page as it is, then each stream of the project that begins, answers or
/// ends and matches. The events have no ids: a feed is looked at, not resumed.
fn feed(app: Arc<App>, project: ProjectId, query: ListQuery, until: Instant) -> Response {
    let changes = app.generator.changes.subscribe();
    let page = look(&app, &project, &query).streams;
    let silence = app.config.streams.heartbeat;
    let first = Some(page);
    let state = (app, project, query, changes, first);
    let body = stream::unfold(
        state,
        move |(app, project, query, mut changes, first)| async move {
            let bytes = if let Some(page) = first {
                page.iter()
                    .flat_map(message)
                    .chain(HEARTBEAT.iter().copied())
                    .collect()
            } else {
                let quiet = Instant::now() + silence;
                let change = tokio::select! {
                    change = timeout_at(quiet.min(until), changes.recv()) => change,
                    // The next process has the feed from here on.
                    () = app.lifecycle.leaving() => return None,
                };
                match change {
                    Ok(Ok(id)) => changed(&app, &project, &query, id).await,
                    // It fell behind: the page again says what is true now.
                    Ok(Err(broadcast::error::RecvError::Lagged(_))) => look(&app, &project, &query)
                        .streams
                        .iter()
                        .flat_map(message)
                        .collect(),
                    Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                    Err(_) if Instant::now() >= until => return None,
                    Err(_) => HEARTBEAT.to_vec(),
                }
            };
            Some((
                Ok::<_, Infallible>(Bytes::from(bytes)),
                (app, project, query, changes, None),
            ))
        },
    );
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    streaming_headers(headers);
    response
}

async fn changed(app: &App, project: &ProjectId, query: &ListQuery, id: StreamId) -> Vec<u8> {
    match app.log.info(id).await {
        Ok(stat) if stat.info.project == *project && query.matches(&stat.info) => {
            message(&stat.info)
        }
        _ => Vec::new(),
    }
}

fn message(info: &StreamInfo) -> Vec<u8> {
    let data = json!(info).to_string();
    SseMessage::new()
        .event("stream")
        .data(data)
        .to_bytes()
        .to_vec()
}
