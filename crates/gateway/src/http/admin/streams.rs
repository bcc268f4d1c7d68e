//! The streams of all projects: what is known of them, and nothing of what they say.

use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::StreamInfo;
use everstream_core::id::{ProjectId, StreamId};
use everstream_core::list::{ListQuery, Selection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Shown;
use super::route::Ask;
use crate::http::streams::stop;
use crate::store_error;

#[derive(Deserialize, JsonSchema)]
pub(super) struct StreamsQuery {
    /// Only those of this project.
    project: Option<ProjectId>,
    /// Words that all have to match, such as `status:running model:gpt-4o`.
    query: Option<String>,
    /// Which page, from 1.
    page: Option<String>,
    /// The streams of a page.
    size: Option<String>,
    /// By which field, and in which direction, such as `created_at:desc`.
    sort: Option<String>,
}

/// A page of streams.
#[derive(Serialize, JsonSchema)]
pub(super) struct Streams {
    /// The streams of this page.
    data: Vec<StreamInfo>,
    /// How many match in all.
    total: usize,
    /// Which page this is, from 1.
    page: usize,
    /// The streams of a page.
    size: usize,
    /// Whether there are more.
    has_more: bool,
}

pub(super) async fn list(ask: Ask<StreamsQuery>) -> Result<Shown<Streams>, Error> {
    let wish = &ask.query;
    let query = ListQuery::parse(
        wish.query.as_deref(),
        wish.page.as_deref(),
        wish.size.as_deref(),
        wish.sort.as_deref(),
    )?;
    let mut selection = Selection::new(&query);
    let log = &ask.app().log;
    match &wish.project {
        Some(project) => log.scan(project, &mut |info| selection.see(info)),
        None => log.scan_all(&mut |info| selection.see(info)),
    }
    let found = selection.finish();
    Ok(Shown(Streams {
        has_more: found.page * found.size < found.total,
        data: found.streams,
        total: found.total,
        page: found.page,
        size: found.size,
    }))
}

pub(super) async fn show(ask: Ask) -> Result<Shown<StreamInfo>, Error> {
    info(&ask).await.map(Shown)
}

pub(super) async fn cancel(ask: Ask) -> Result<Shown<StreamInfo>, Error> {
    let found = info(&ask).await?;
    if found.status.is_final() {
        return Ok(Shown(found));
    }
    let stopped = stop(ask.app(), &found.project, found.id).await;
    let (id, project) = (found.id.to_string(), found.project.to_string());
    ask.audit("stream.cancel", &id, &project).await;
    stopped.map(|stat| Shown(stat.info))
}

async fn info<Q, B>(ask: &Ask<Q, B>) -> Result<StreamInfo, Error> {
    let id: StreamId = ask.id().map_err(|_| {
        let message = "There is no such stream: an id has 13 characters.";
        Error::new(ErrorCode::StreamNotFound, message)
    })?;
    let stat = ask.app().log.info(id).await;
    Ok(stat.map_err(|error| store_error(&error).stream(id))?.info)
}
