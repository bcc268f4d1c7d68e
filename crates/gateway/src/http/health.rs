//! Probes: `/healthz` says that the process answers, `/readyz` that it wants requests.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::app::App;

/// `GET /healthz`
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 503 as soon as the process is about to end, and while its log hangs.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.lifecycle.is_leaving() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else if app.log.is_stalled() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the stream log does not answer\n",
        )
            .into_response()
    } else {
        "ready\n".into_response()
    }
}
