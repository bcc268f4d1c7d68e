//! The listener for operators: its own address, its own key, and nothing of clients.

mod admission;
mod metrics;
mod upstreams;

use std::convert::Infallible;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use everstream_core::config::key_hash;
use everstream_core::error::{Error, ErrorCode};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tower::ServiceExt as _;

use super::error::Shape;
use super::{no_route, pages, shielded, wrong_method};
use crate::access;
use crate::app::App;
use metrics::Metrics;

/// All that operators can ask.
pub fn router(app: Arc<App>) -> Router {
    let metrics = Arc::new(Metrics::new(&app));
    let show = move || std::future::ready(metrics.show());
    let router = Router::new()
        .route("/admin/admission", get(admission::show))
        .route("/admin/upstreams", get(upstreams::list))
        .route("/admin/upstreams/{name}/drain", post(upstreams::drain))
        .route("/admin/upstreams/{name}/undrain", post(upstreams::undrain))
        .route("/metrics", get(show))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), guard));
    shielded(router.with_state(app))
}

/// The router as [`server::serve`](crate::server::serve) takes it.
pub fn front(
    app: Arc<App>,
) -> impl Service<http::Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let router = router(app).map_request(|request: http::Request<Incoming>| request.map(Body::new));
    TowerToHyperService::new(router)
}

/// What no response of this listener is without.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
];

/// Lets operators in, and nobody else.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let allowed =
        pages::check_admin(&app, &request).and_then(|()| authenticate(&app, request.headers()));
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => failure(error),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if app.lifecycle.is_leaving() && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    let Some(key) = &app.config.admin.key else {
        return Ok(());
    };
    // Of hashes, so that the time tells nothing of the length either.
    let [expected, presented] = [key.expose(), access::bearer(headers).unwrap_or_default()];
    let [expected, presented] = [key_hash(expected), key_hash(presented)];
    verify_slices_are_equal(&expected.0, &presented.0).map_err(|_| {
        let message = "This listener wants the operators' key, as `Authorization: Bearer <key>`: \
                       `key` in `[admin]`. Keys of clients are none.";
        Error::new(ErrorCode::Unauthorized, message)
    })
}

fn failure(error: Error) -> Response {
    Shape::Problem.failure(error).into_response()
}
