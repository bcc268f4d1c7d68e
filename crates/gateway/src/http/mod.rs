//! The HTTP surfaces. Nothing outside this folder knows a status code.

pub mod admin;
mod body;
mod count_tokens;
pub mod error;
mod form;
mod front;
mod gemini;
mod generate;
mod health;
mod limited;
mod list;
mod middleware;
mod models;
mod ndjson;
mod open;
mod page;
mod pages;
mod parameters;
mod realtime;
mod refusal;
mod relay;
mod respond;
mod responses;
mod segment;
pub mod sse;
mod streams;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, on, post};
use everstream_core::error::{Error, ErrorCode};
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::app::App;
use error::Shape;
pub use front::Front;

/// All routes. It can be nested into, or merged with, somebody else's router.
pub fn router(app: Arc<App>) -> Router {
    let cors = cors(&app.config.cors_origins);
    let screened = from_fn_with_state(Arc::clone(&app), screened);
    let mut router = Router::new()
        .route("/v1/messages/count_tokens", post(count_tokens::count))
        .route("/v1/models", get(models::list))
        // Google's SDKs use either version.
        .route("/v1/models/{*model}", get(models::show).post(gemini::call))
        .route("/v1beta/models", get(models::list))
        .route(
            "/v1beta/models/{*model}",
            get(models::show).post(gemini::call),
        )
        .route("/v1beta/tunedModels/{*model}", post(gemini::call))
        .route(
            "/v1/responses/{id}",
            get(responses::retrieve).delete(responses::delete),
        )
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route(
            "/v1/responses/{id}/input_items",
            get(responses::input_items),
        )
        .route("/v1/streams", get(list::list))
        .route("/v1/streams/{id}/ws", get(ws::one))
        .route("/v1/ws", get(ws::many))
        .route("/v1/realtime", get(realtime::open))
        .route(
            "/v1/streams/{id}",
            get(streams::read).delete(streams::cancel),
        )
        .route("/v1/streams/{id}/token", post(streams::token))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready));
    for (path, surface) in generate::PATHS {
        let answer = move |State(app): State<Arc<App>>, request: Request| async move {
            generate::answer(&app, surface, request).await
        };
        router = router.route(path, post(answer));
    }
    for row in &relay::ROWS {
        let answer = move |State(app): State<Arc<App>>, request: Request| async move {
            relay::answer(&app, row, request).await
        };
        router = router.route(row.path, on(row.methods, answer));
    }
    router = router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(screened);
    if let Some(cors) = cors {
        router = router.layer(cors);
    }
    shielded(router.with_state(app))
}

/// Gives routes what Everstream's own have: an id for every request, on its response too, and a 500
/// that names it in place of a panic. Around a router that holds Everstream's, it changes nothing
/// for those.
pub fn shielded(router: Router) -> Router {
    router.layer(from_fn(|request, next: Next| {
        middleware::shield(request, |request| next.run(request))
    }))
}

async fn screened(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    middleware::screen(&app, request, |request| next.run(request)).await
}

async fn no_route(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("There is nothing at {path}. The paths are listed in the README.");
    Shape::of(path)
        .failure(Error::new(ErrorCode::RouteNotFound, message))
        .into_response()
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not take {method}; see the Allow header.");
    Shape::of(path)
        .failure(Error::new(ErrorCode::MethodNotAllowed, message))
        .into_response()
}

/// Browsers may read only what the configuration allows; the headers that a resuming client needs
/// are always exposed. Nothing is allowed by saying nothing.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let header = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // SDKs send headers of their own, such as `x-stainless-lang`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::CONTENT_LOCATION,
            header("everstream-stream-id"),
            header("everstream-upstream"),
            header::RETRY_AFTER,
            header("ratelimit"),
            header("ratelimit-policy"),
            header("x-request-id"),
        ]);
    if origins.iter().any(|origin| origin == "*") {
        return Some(layer.allow_origin(AllowOrigin::any()));
    }
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::try_from(origin.as_str()).ok());
    Some(layer.allow_origin(AllowOrigin::list(origins)))
}
