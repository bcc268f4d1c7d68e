//! The listener for operators: its own address, its own key, and nothing of clients.

mod admission;
mod answer;
mod audit;
mod budgets;
mod csv;
mod key_wish;
mod keys;
mod metrics;
mod openapi;
mod operator;
mod read;
mod route;
mod streams;
mod table;
mod tenants;
mod upstreams;
mod usage;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use everstream_core::error::Error;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tower::ServiceExt as _;

use super::error::Shape;
use super::{no_route, pages, shielded, wrong_method};
use crate::access::{Failures, Source, bearer, client_address};
use crate::app::App;
use metrics::Metrics;
pub use openapi::document as openapi;
use operator::{Operator, Operators};
use route::Route;

/// What requests of operators need.
struct Desk {
    app: Arc<App>,
    operators: Operators,
    failures: Failures,
    metrics: Metrics,
    has_tls: bool,
}

/// All that operators can ask.
pub fn router(app: Arc<App>) -> Router {
    let desk = Arc::new(Desk {
        operators: Operators::new(&app.config.admin),
        failures: Failures::new(app.config.limits.failed_authentications, app.clock),
        metrics: Metrics::new(&app),
        has_tls: app.config.admin_tls().is_some(),
        app,
    });
    let mut router = Router::new();
    for route in table::routes() {
        let (path, route) = (route.path, Arc::new(route));
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::TRACE);
        let answer = move |State(desk): State<Arc<Desk>>, request: Request| async move {
            answer(desk, &route, request).await
        };
        router = router.route(path, on(filter, answer));
    }
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&desk), guard));
    shielded(router.with_state(desk))
}

async fn answer(desk: Arc<Desk>, route: &Route, request: Request) -> Response {
    let answered = route.answer(desk, request).await;
    answered.unwrap_or_else(failure)
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
async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let (parts, body) = desk.app.access.receive(request).into_parts();
    let source = client_address(&parts).map(Source::of);
    let mut request = Request::from_parts(parts, body);
    let allowed = pages::check_admin(&desk.app, &request);
    let allowed = allowed.and_then(|()| desk.known(source, request.headers()));
    let mut response = match allowed {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        Err(error) => failure(error),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    if desk.has_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if desk.app.lifecycle.is_leaving() && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Desk {
    /// Who sent these headers; of an address that made too many wrong guesses, none is looked at.
    fn known(&self, source: Option<Source>, headers: &HeaderMap) -> Result<Operator, Error> {
        let key = bearer(headers).unwrap_or_default();
        let Some(source) = source else {
            return self.operators.known(key);
        };
        self.failures.admit(source, key)?;
        let known = self.operators.known(key);
        match &known {
            Ok(_) => self.failures.succeeded(source, key),
            Err(_) => self.failures.failed(source),
        }
        known
    }
}

fn failure(error: Error) -> Response {
    Shape::Problem.failure(error).into_response()
}
