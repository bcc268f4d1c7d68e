//! The way in of a server: nearly all requests are for a generation, and these need no router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt as _;

use super::generate::{self, PATHS};
use super::middleware::{screen, shield};
use crate::app::App;

/// What a server serves: all that [`router`](super::router) does, and the same for each request.
#[derive(Clone)]
pub struct Front {
    app: Arc<App>,
    router: Router,
}

impl Front {
    /// The front of `app`.
    pub fn new(app: Arc<App>) -> Self {
        let router = super::router(Arc::clone(&app));
        Self { app, router }
    }
}

impl Service<http::Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let request: Request = request.map(Body::new);
        let path = request.uri().path();
        let generates = PATHS.iter().find(|(known, _)| *known == path);
        match generates {
            // The headers that browsers need of other origins are the router's business.
            Some(&(_, surface))
                if request.method() == Method::POST && self.app.config.cors_origins.is_empty() =>
            {
                let app = Arc::clone(&self.app);
                Box::pin(async move {
                    let answer = |request| generate::answer(&app, surface, request);
                    Ok(shield(request, |request| screen(&app, request, answer)).await)
                })
            }
            _ => Box::pin(self.router.clone().oneshot(request)),
        }
    }
}
