//! Who is let in, as operators see it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everstream_core::policy::overload::{EntranceSight, Shed};
use serde::Serialize;

use crate::app::App;

#[derive(Serialize)]
struct Page {
    running: u32,
    max_concurrency: Option<u32>,
    waiting: usize,
    refused: Refused,
}

#[derive(Serialize)]
struct Refused {
    share: u64,
    full: u64,
    late: u64,
}

/// `GET /admin/admission`
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    let EntranceSight {
        most: max_concurrency,
        running,
        waiting,
        shed: Shed { share, full, late },
    } = app.admission.sight();
    Json(Page {
        running,
        max_concurrency,
        waiting,
        refused: Refused { share, full, late },
    })
    .into_response()
}
