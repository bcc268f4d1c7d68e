//! A stream as a JSON page.

use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Event;
use everstream_core::id::{ProjectId, Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::End;
use everstream_store::{ReadLimit, Stat};
use serde_json::{Map, Value, json};

use super::open::stat;
use super::respond;
use crate::app::App;
use crate::store_error;

/// The events after `seq`, as many as a page holds, with the head of the stream.
pub(super) async fn page(
    app: &App,
    project: &ProjectId,
    stream: StreamId,
    seq: Seq,
    limit: Option<usize>,
) -> Result<Response, Error> {
    let found = stat(app, project, stream).await?;
    if seq > found.tail.seq {
        let message = format!(
            "The cursor {stream}.{seq} is beyond the end of the log, {}.",
            found.tail.seq
        );
        return Err(Error::new(ErrorCode::CursorAhead, message).stream(stream));
    }
    let events = limit.unwrap_or(limits::READ_PAGE_EVENTS);
    if events == 0 || events > limits::READ_PAGE_EVENTS {
        let message = format!("limit is between 1 and {}.", limits::READ_PAGE_EVENTS);
        return Err(Error::new(ErrorCode::InvalidValue, message).param("limit"));
    }
    let limit = ReadLimit {
        events,
        bytes: limits::READ_PAGE_BYTES,
    };
    let page = app.log.read(stream, seq, limit).await;
    let page = page.map_err(|error| store_error(&error).stream(stream))?;
    let last = page.events.last().map_or(seq, |event| event.seq);
    let mut body = summary(&found);
    body.insert(
        "events".into(),
        page.events.iter().map(event).map(Value::Object).collect(),
    );
    body.insert("next".into(), json!(format!("{stream}.{last}")));
    body.insert("has_more".into(), json!(last < page.tail.seq));
    let mut response = axum::Json(body).into_response();
    respond::name_stream(response.headers_mut(), stream);
    Ok(response)
}

/// A stream without its events.
pub(super) fn summary(stat: &Stat) -> Map<String, Value> {
    match serde_json::to_value(&stat.info) {
        Ok(Value::Object(mut map)) => {
            map.insert("object".into(), json!("stream"));
            map
        }
        _ => Map::new(),
    }
}

/// One event, for pages, NDJSON and `WebSockets`.
pub(super) fn event(event: &Event) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("seq".into(), json!(event.seq));
    map.insert("time".into(), json!(event.time));
    if !event.name.is_empty() {
        map.insert("event".into(), json!(String::from_utf8_lossy(&event.name)));
    }
    map.insert("data".into(), json!(String::from_utf8_lossy(&event.data)));
    map
}

/// How a stream ended, for NDJSON and `WebSockets`: what a reader can use of the terminal record.
pub(super) fn end(end: &End) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("status".into(), json!(end.status));
    if let Some(reason) = &end.reason {
        map.insert("reason".into(), json!(reason));
    }
    if let Some(upstream) = &end.upstream {
        map.insert("upstream".into(), json!(upstream));
    }
    map.insert("usage".into(), json!(end.usage));
    map.insert("ended_at".into(), json!(end.at));
    map
}
