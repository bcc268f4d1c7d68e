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
    let result = app.keys.authenticate(&headers).map(|_| {
        let models: Vec<Value> = app.models.list().iter().map(entry).collect();
        axum::Json(json!({ "object": "list", "data": models }))
    });
    reply(result)
}

/// `GET /v1/models/{model}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Segment(model): Segment,
    headers: HeaderMap,
) -> Response {
    let result = app.keys.authenticate(&headers).and_then(|_| {
        if let Some(found) = app.models.list().iter().find(|entry| entry.id == model) {
            return Ok(axum::Json(entry(found)));
        }
        // Not listed, yet it may be served: an upstream that lists nothing takes any name.
        let route = route(&app.models, &model, ProviderDialect::OpenAiChat)?;
        let entry = ModelEntry {
            id: model,
            upstream: route.upstream.name().to_owned(),
        };
        Ok(axum::Json(self::entry(&entry)))
    });
    reply(result)
}

fn entry(model: &ModelEntry) -> Value {
    json!({ "id": model.id, "object": "model", "created": 0, "owned_by": model.upstream })
}

fn reply(result: Result<axum::Json<Value>, Error>) -> Response {
    match result {
        Ok(json) => json.into_response(),
        Err(error) => Shape::OpenAi.failure(error).into_response(),
    }
}
