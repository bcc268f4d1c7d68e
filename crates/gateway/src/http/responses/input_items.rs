//! `GET /v1/responses/{id}/input_items`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everstream_core::dialect::openai_responses::conversation;
use everstream_core::error::{Error, ErrorCode};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{find, shaped};
use crate::app::App;
use crate::http::parameters::Parameters;
use crate::http::segment::Segment;

const DEFAULT: usize = 20;
const MOST: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct ItemsQuery {
    limit: Option<usize>,
    #[serde(default)]
    order: Order,
    /// The id of the last item of the page before.
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    /// The newest first.
    #[default]
    Desc,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Box<RawValue>>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// What the response was asked, the conversation before it included, a page at a time.
pub(in crate::http) async fn input_items(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(query): Parameters<ItemsQuery>,
    parts: Parts,
) -> Response {
    shaped(try_list(&app, &id, &query, &parts).await)
}

async fn try_list(
    app: &App,
    id: &str,
    query: &ItemsQuery,
    parts: &Parts,
) -> Result<Response, Error> {
    let (_, found) = find(app, id, parts).await?;
    let limit = query.limit.unwrap_or(DEFAULT);
    if limit == 0 || limit > MOST {
        let message = format!("`limit` is between 1 and {MOST}.");
        return Err(Error::new(ErrorCode::InvalidValue, message).param("limit"));
    }
    let mut items = conversation::input_items(&found.accepted.request, id);
    if query.order == Order::Desc {
        items.reverse();
    }
    if let Some(after) = &query.after {
        let last = items.iter().position(|(id, _)| id == after);
        let last = last.ok_or_else(|| {
            let message = "`after` is the id of no item of this response.";
            Error::new(ErrorCode::InvalidValue, message).param("after")
        })?;
        items.drain(..=last);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id_of = |item: Option<&(String, _)>| item.map(|(id, _)| id.clone());
    let list = List {
        object: "list",
        first_id: id_of(items.first()),
        last_id: id_of(items.last()),
        has_more,
        data: items.into_iter().map(|(_, item)| item).collect(),
    };
    Ok(axum::Json(list).into_response())
}
