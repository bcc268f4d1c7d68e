//! `GET /v1/models`: the models of all upstreams, and the aliases.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everstream_core::dialect::ProviderDialect;
use everstream_core::error::Error;
use http::request::Parts;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::error::Shape;
use super::gemini::check_query;
use super::segment::Segment;
use crate::access::Caller;
use crate::app::App;
use crate::pipeline::route;
use crate::upstream::models::ModelEntry;

/// `GET /v1/models`
pub(super) async fn list(State(app): State<Arc<App>>, parts: Parts) -> Response {
    let dialect = Dialect::of(&parts.uri, &parts.headers);
    let result = dialect.authenticate(&app, &parts).await.map(|caller| {
        let mut models = app.models.list();
        models.retain(|model| caller.may_ask(Some(&model.id)).is_ok());
        let rows: Vec<Value> = models.iter().map(|model| dialect.entry(model)).collect();
        axum::Json(match dialect {
            Dialect::OpenAi => json!({ "object": "list", "data": rows }),
            Dialect::Anthropic => json!({
                "data": rows,
                "has_more": false,
                "first_id": models.first().map(|model| &model.id),
                "last_id": models.last().map(|model| &model.id),
            }),
            Dialect::Gemini => json!({ "models": rows }),
        })
    });
    dialect.reply(result)
}

/// `GET /v1/models/{model}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Segment(model): Segment,
    parts: Parts,
) -> Response {
    let dialect = Dialect::of(&parts.uri, &parts.headers);
    let caller = dialect.authenticate(&app, &parts).await;
    let result = caller.and_then(|caller| {
        caller.may_ask(Some(&model))?;
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

/// Whose list of models it is: three APIs have theirs at the same path, and two of them have headers
/// of their own. Google's has another path, too.
#[derive(Clone, Copy)]
enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Dialect {
    fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        if uri.path().starts_with("/v1beta/") || headers.contains_key("x-goog-api-key") {
            Self::Gemini
        } else if headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    async fn authenticate(self, app: &App, parts: &Parts) -> Result<Caller, Error> {
        if let Self::Gemini = self {
            check_query(&parts.uri)?;
        }
        app.access.authenticate(parts).await
    }

    fn native(self) -> ProviderDialect {
        match self {
            Self::OpenAi => ProviderDialect::OpenAiChat,
            Self::Anthropic => ProviderDialect::Anthropic,
            Self::Gemini => ProviderDialect::Gemini,
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
            Self::Gemini => json!({
                "name": format!("models/{id}"),
                "baseModelId": id,
                "displayName": id,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }),
        }
    }

    fn reply(self, result: Result<axum::Json<Value>, Error>) -> Response {
        let shape = match self {
            Self::OpenAi => Shape::OpenAi,
            Self::Anthropic => Shape::Anthropic,
            Self::Gemini => Shape::Gemini,
        };
        match result {
            Ok(json) => json.into_response(),
            Err(error) => shape.failure(error).into_response(),
        }
    }
}
