//! All that operators can ask.

use everstream_core::error::Error;
use http::Method;
use serde_json::Value;

use super::answer::Shown;
use super::route::{Ask, Route};
use super::{
    admission, audit, budgets, keys, metrics, openapi, streams, tenants, upstreams, usage,
};

const DELETE: Method = Method::DELETE;
const GET: Method = Method::GET;
const PATCH: Method = Method::PATCH;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

/// Every path, with what it takes and gives.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(GET, "/admin/organisations", "The organisations, by id.", tenants::organisations),
        Route::new(POST, "/admin/organisations", "Makes an organisation.", tenants::create_organisation),
        Route::new(POST, "/admin/organisations/{id}/suspend", "Lets none of its projects' keys in.", tenants::suspend_organisation),
        Route::new(POST, "/admin/organisations/{id}/resume", "Lets its projects' keys in again.", tenants::resume_organisation),
        Route::new(GET, "/admin/projects", "The projects, by id.", tenants::projects),
        Route::new(POST, "/admin/projects", "Makes a project.", tenants::create_project),
        Route::new(POST, "/admin/projects/{id}/suspend", "Lets none of its keys in.", tenants::suspend_project),
        Route::new(POST, "/admin/projects/{id}/resume", "Lets its keys in again.", tenants::resume_project),
        Route::new(GET, "/admin/keys", "The keys, by id.", keys::list),
        Route::new(POST, "/admin/keys", "Makes a key. Its secret is shown this once.", keys::create),
        Route::new(GET, "/admin/keys/{id}", "One key.", keys::show),
        Route::new(PATCH, "/admin/keys/{id}", "Changes what a key may do, and until when.", keys::change),
        Route::new(POST, "/admin/keys/{id}/rotate", "Gives a key a new secret, shown this once. The present one goes on for a while.", keys::rotate),
        Route::new(POST, "/admin/keys/{id}/revoke", "Ends a key, for ever, within a second in all processes.", keys::revoke),
        Route::new(GET, "/admin/budgets", "The budgets and how they stand, by id.", budgets::list),
        Route::new(PUT, "/admin/budgets/{id}", "Makes a budget, or changes the limit and the alerts of one.", budgets::put),
        Route::new(DELETE, "/admin/budgets/{id}", "Removes a budget.", budgets::delete),
        Route::new(GET, "/admin/usage", "What was used and what it cost, as JSON or CSV.", usage::show),
        Route::new(GET, "/admin/audit", "The audit log, the newest row first.", audit::list),
        Route::new(GET, "/admin/streams", "The streams of all projects.", streams::list),
        Route::new(GET, "/admin/streams/{id}", "What is known of a stream; nothing of what it says.", streams::show),
        Route::new(DELETE, "/admin/streams/{id}", "Stops a generation. What it has said stays readable.", streams::cancel),
        Route::new(GET, "/admin/upstreams", "The upstreams and how they are.", upstreams::list),
        Route::new(POST, "/admin/upstreams/{name}/drain", "Takes an upstream out: new requests go elsewhere, running answers end.", upstreams::drain),
        Route::new(POST, "/admin/upstreams/{name}/undrain", "Takes an upstream back in.", upstreams::undrain),
        Route::new(GET, "/admin/admission", "Who is let in, who waits, and who was not let in.", admission::show),
        Route::new(GET, "/admin/openapi.json", "This description, as OpenAPI 3.1.", description),
        Route::new(GET, "/metrics", "Metrics, in the text format of OpenMetrics.", metrics::show),
    ]
}

async fn description(_: Ask) -> Result<Shown<Value>, Error> {
    Ok(Shown(openapi::document()))
}
