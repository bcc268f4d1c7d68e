//! `GET /v1/models`: the models of all upstreams, and the aliases.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everstream_core::dialect::ProviderDialect;
use everstream_core::error::Error;
use http::HeaderMap;
use serde_json::{Value, json};

use super::error::Shape;
use super::segment::Segment;
use crate::app::App;
use crate::pipeline::route;
use crate::upstream::models::ModelEntry;

/// `GET /v1/models`
pub(super) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let dialect = Dialect::of(&headers);
    let result = app.keys.authenticate(&headers).map(|_| {
        let models = app.models.list();
        let rows: Vec<Value> = models.iter().map(|model| dialect.entry(model)).collect();
        axum::Json(match dialect {
            Dialect::OpenAi => json!({ "object": "list", "data": rows }),
            Dialect::Anthropic => json!({
                "data": rows,
                "has_more": false,
                "first_id": models.first().map(|model| &model.id),
                "last_id": models.last().map(|model| &model.id),
            }),
        })
    });
    dialect.reply(result)
}

/// `GET /v1/models/{model}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Segment(model): Segment,
    headers: HeaderMap,
) -> Response {
    let dialect = Dialect::of(&headers);
    let result = app.keys.authenticate(&headers).and_then(|_| {
        if let Some(found) = app.models.list().iter().find(|entry| entry.id == model) {
            return Ok(axum::Json(dialect.entry(found)));
        }
        // Not listed, yet it may be served: an upstream that lists nothing takes any name.
        let route = route(&app.models, &model, dialect.native())?;
        let entry = ModelEntry {
            id: model,
            upstream: route.upstream.name().to_owned(),
        };
        Ok(axum::Json(dialect.entry(&entry)))
    });
    dialect.reply(result)
}

/// Whose list of models it is: two APIs have theirs at the same path, and only one of them asks for
/// a version.
#[derive(Clone, Copy)]
enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    fn native(self) -> ProviderDialect {
        match self {
            Self::OpenAi => ProviderDialect::OpenAiChat,
            Self::Anthropic => ProviderDialect::Anthropic,
        }
    }

    fn entry(self, model: &ModelEntry) -> Value {
        let ModelEntry { id, upstream } = model;
        match self {
            Self::OpenAi => {
                json!({ "id": id, "object": "model", "created": 0, "owned_by": upstream })
            }
            Self::Anthropic => json!({
                "type": "model",
                "id": id,
                "display_name": id,
                // What the API says of a model whose release nobody knows.
                "created_at": "1970-01-01T00:00:00Z",
            }),
        }
    }

    fn reply(self, result: Result<axum::Json<Value>, Error>) -> Response {
        let shape = match self {
            Self::OpenAi => Shape::OpenAi,
            Self::Anthropic => Shape::Anthropic,
        };
        match result {
            Ok(json) => json.into_response(),
            Err(error) => shape.failure(error).into_response(),
        }
    }
}
