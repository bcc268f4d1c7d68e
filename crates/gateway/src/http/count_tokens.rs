//! `POST /v1/messages/count_tokens`: how many tokens a request has. It generates nothing, so nothing
//! of it is logged.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::dialect::openai::Envelope;
use everstream_core::dialect::{ClientDialect, Target, upstream_body};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Surface, tokens_of};
use http::{StatusCode, header};
use serde_json::json;

use super::body::read_body;
use super::error::Shape;
use super::limited;
use super::refusal::refusal;
use super::respond::{About, name_upstream};
use crate::access::client_address;
use crate::app::App;
use crate::pipeline::{passed_on, route};
use crate::upstream::{Route, Upstream};

pub(super) async fn count(State(app): State<Arc<App>>, request: Request) -> Response {
    let result = try_count(&app, request).await;
    result.unwrap_or_else(|error| Shape::Anthropic.failure(error).into_response())
}

async fn try_count(app: &App, request: Request) -> Result<Response, Error> {
    const SURFACE: Surface = Surface::Messages;
    let (parts, body) = request.into_parts();
    let caller = app.access.authenticate(&parts).await?;
    caller.may_use(SURFACE)?;
    let body = read_body(body, &app.config.limits).await?;
    let envelope = Envelope::parse(&body, SURFACE)?;
    caller.may_ask(Some(&envelope.model))?;
    caller.may_ask_besides(&body)?;
    let Route { upstream, model } = route(&app.models, &envelope.model, SURFACE.native())?;
    if upstream.spec().dialect != SURFACE.native() {
        // Other APIs count nothing beforehand.
        let estimate = json!({ "input_tokens": tokens_of(body.len()), "estimated": true });
        return Ok(described(axum::Json(estimate).into_response(), &upstream));
    }
    let target = Target {
        model: &model,
        stream: false,
        traits: &upstream.traits(&model),
    };
    let body = upstream_body(&envelope, upstream.spec().dialect, &target)?;
    let headers = passed_on(SURFACE, &parts.headers);
    // To count costs nothing.
    let whom = (upstream.name(), &*model);
    let mut dues = limited::pass(app, &caller, client_address(&parts), whom, false).await?;
    let asked = asked(&upstream, "/messages/count_tokens", &headers, body, SURFACE);
    asked.await.map(|answer| dues.told().on(answer))
}

/// What an upstream of the surface's own dialect answers, an error in the surface's words.
pub(super) async fn asked(
    upstream: &Arc<Upstream>,
    path: &str,
    headers: &[(&'static str, String)],
    body: Bytes,
    surface: Surface,
) -> Result<Response, Error> {
    let answer = ask(upstream, path, headers, body, surface);
    let answer = tokio::time::timeout(upstream.spec().first_event_timeout, answer).await;
    let answer = answer.unwrap_or_else(|_| {
        let message = format!("Upstream `{}` was silent for too long.", upstream.name());
        Err(Error::new(ErrorCode::UpstreamTimeout, message))
    })?;
    Ok(described(answer, upstream))
}

async fn ask(
    upstream: &Arc<Upstream>,
    path: &str,
    headers: &[(&'static str, String)],
    body: Bytes,
    surface: Surface,
) -> Result<Response, Error> {
    let (head, text) = upstream.ask(path, headers, body).await?;
    let status = head.status;
    if (200..300).contains(&status) {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        return Ok((StatusCode::OK, kind, text).into_response());
    }
    let client = surface.client().unwrap_or(ClientDialect::OpenAiChat);
    Ok(refusal(upstream, client, &head, &text))
}

/// The response, and who answers.
pub(super) fn described(mut response: Response, upstream: &Upstream) -> Response {
    let about = About {
        upstream: Some(upstream.name().to_owned()),
        replayed: false,
    };
    name_upstream(response.headers_mut(), &about);
    response
}
