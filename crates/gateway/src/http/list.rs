//! `GET /v1/streams`: the project's streams, as a page or as a live feed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::StreamInfo;
use everstream_core::frame::sse::{HEARTBEAT, SseMessage};
use everstream_core::id::{ProjectId, StreamId};
use everstream_core::limits;
use everstream_core::list::{ListPage, ListQuery, Selection};
use everstream_core::policy::scope::Api;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout_at};

use super::error::Shape;
use super::parameters::Parameters;
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
    Parameters(parameters): Parameters<ListParameters>,
    parts: Parts,
) -> Response {
    match try_list(app, &parameters, &parts).await {
        Ok(response) => response,
        Err(error) => Shape::Problem.failure(error).into_response(),
    }
}

async fn try_list(
    app: Arc<App>,
    parameters: &ListParameters,
    parts: &Parts,
) -> Result<Response, Error> {
    let caller = app.access.authenticate(parts).await?;
    caller.may_use(Api::Streams)?;
    let query = ListQuery::parse(
        parameters.query.as_deref(),
        parameters.page.as_deref(),
        parameters.size.as_deref(),
        parameters.sort.as_deref(),
    )?;
    let longest = limits::LIST_TIMEOUT_MAX;
    let timeout = parameters.timeout.map(Duration::from_secs);
    if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > longest) {
        let message = format!("timeout is between 1 and {} seconds.", longest.as_secs());
        return Err(Error::new(ErrorCode::InvalidValue, message).param("timeout"));
    }
    // Subscribed before the first look, so that no change falls between.
    let changes = app.generator.changes.subscribe();
    let mut watch = Watch {
        app,
        project: caller.project,
        query,
        changes,
    };
    if parameters.stream == Some(true) {
        return Ok(feed(watch, Instant::now() + timeout.unwrap_or(longest)));
    }
    let mut found = watch.look();
    if let Some(patience) = timeout {
        let until = Instant::now() + patience;
        while found.total == 0 && watch.changed(until).await.is_some() {
            found = watch.look();
        }
    }
    Ok(axum::Json(document(&found)).into_response())
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

/// A project's streams that match a query, now and as they change.
struct Watch {
    app: Arc<App>,
    project: ProjectId,
    query: ListQuery,
    changes: broadcast::Receiver<StreamId>,
}

impl Watch {
    fn look(&self) -> ListPage {
        let mut selection = Selection::new(&self.query);
        self.app
            .log
            .scan(&self.project, &mut |info| selection.see(info));
        selection.finish()
    }

    /// The streams that changed; `None` when nothing did until then, or the process ends.
    async fn changed(&mut self, until: Instant) -> Option<Vec<StreamInfo>> {
        // The bound holds also while others' streams change all the time.
        while Instant::now() < until {
            let change = tokio::select! {
                change = timeout_at(until, self.changes.recv()) => change.ok()?,
                () = self.app.lifecycle.leaving() => return None,
            };
            let streams = match change {
                Ok(id) => self.one(id).await.into_iter().collect(),
                // It fell behind: the page says what is true now.
                Err(RecvError::Lagged(_)) => self.look().streams,
                Err(RecvError::Closed) => return None,
            };
            if !streams.is_empty() {
                return Some(streams);
            }
        }
        None
    }

    async fn one(&self, id: StreamId) -> Option<StreamInfo> {
        let info = self.app.log.info(id).await.ok()?.info;
        (info.project == self.project && self.query.matches(&info)).then_some(info)
    }
}

/// Server-sent events: the page as it is, then each stream of the project that begins, answers or
/// ends and matches. The events have no ids: a feed is looked at, not resumed.
fn feed(watch: Watch, until: Instant) -> Response {
    let mut first = messages(&watch.look().streams);
    first.extend_from_slice(HEARTBEAT);
    let more = stream::unfold((watch, Some(first)), move |(mut watch, first)| async move {
        let bytes = match first {
            Some(first) => first,
            None => next_of_feed(&mut watch, until).await?,
        };
        Some((Ok::<_, Infallible>(Bytes::from(bytes)), (watch, None)))
    });
    let mut response = Body::from_stream(more).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    streaming_headers(headers);
    response
}

async fn next_of_feed(watch: &mut Watch, until: Instant) -> Option<Vec<u8>> {
    let quiet = Instant::now() + watch.app.config.streams.heartbeat;
    match watch.changed(quiet.min(until)).await {
        Some(streams) => Some(messages(&streams)),
        None if Instant::now() < quiet.min(until) => None,
        None => (quiet < until).then(|| HEARTBEAT.to_vec()),
    }
}

fn messages(streams: &[StreamInfo]) -> Vec<u8> {
    let message = |info| {
        let data = json!(info).to_string();
        SseMessage::new().event("stream").data(data).to_bytes()
    };
    streams.iter().flat_map(message).collect()
}
