//! Google's surface: `POST /v1beta/models/{model}:{method}`. The path says which model is asked, and
//! whether the answer is streamed; `?alt=sse` in which form.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use everstream_core::dialect::gemini::{count_body, count_estimate, count_path};
use everstream_core::dialect::openai::Envelope;
use everstream_core::dialect::{Target, upstream_body};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Mode, Surface};
use http::request::Parts;
use http::{Uri, header};

use super::body::read_body;
use super::count_tokens::{asked, described};
use super::error::Shape;
use super::form::Form;
use super::generate::try_answer;
use super::limited;
use super::segment::Segment;
use crate::access::client_address;
use crate::app::App;
use crate::pipeline::{Address, route};
use crate::upstream::Route;

const SURFACE: Surface = Surface::GenerateContent;

/// A `POST` to a model's method.
pub(super) async fn call(
    State(app): State<Arc<App>>,
    Segment(segment): Segment,
    request: Request,
) -> Response {
    let result = try_call(&app, &segment, request).await;
    result.unwrap_or_else(|error| Shape::Gemini.failure(error).into_response())
}

async fn try_call(app: &App, segment: &str, request: Request) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let asked_form = form(&parts.uri)?;
    // A name may have colons.
    let (model, method) = segment.rsplit_once(':').unwrap_or((segment, ""));
    let tuned = parts.uri.path().starts_with("/v1beta/tunedModels/");
    let model = if tuned {
        format!("tunedModels/{model}")
    } else {
        model.to_owned()
    };
    let (mode, form) = match method {
        "generateContent" => (Mode::Unary, Form::Bare),
        "streamGenerateContent" => (Mode::Stream, asked_form),
        "countTokens" => return count(app, &model, &parts, body).await,
        _ => {
            let message = format!(
                "There is no method `{method}` of models here: there are `:generateContent`, \
                 `:streamGenerateContent` and `:countTokens`."
            );
            return Err(Error::new(ErrorCode::RouteNotFound, message));
        }
    };
    // One path for both methods: a stream may be fetched again as one body.
    let path = format!("/v1beta/models/{model}:generateContent");
    let address = Address {
        surface: SURFACE,
        path: &path,
        query: parts.uri.query(),
        named: Some((&model, mode)),
    };
    try_answer(app, address, form, &parts, body).await
}

/// The form of a stream, by the query.
fn form(uri: &Uri) -> Result<Form, Error> {
    let mut form = Form::Array { begun: false };
    for (name, value) in parameters(uri)? {
        match (&*name, &*value) {
            ("alt", "sse") => form = Form::Bare,
            ("alt", "json") => form = Form::Array { begun: false },
            ("alt", _) => {
                let message = "`alt` is `sse` for server-sent events, or `json`.";
                return Err(Error::new(ErrorCode::InvalidValue, message).param("alt"));
            }
            ("prettyPrint" | "$prettyPrint" | "timeout", _) => {}
            _ => {
                let message = format!("There is no query parameter `{name}` here.");
                return Err(Error::new(ErrorCode::InvalidValue, message).param(name));
            }
        }
    }
    Ok(form)
}

/// Refuses a key in the query, where Google's API takes one too: addresses are logged on their way.
pub(super) fn check_query(uri: &Uri) -> Result<(), Error> {
    parameters(uri).map(|_| ())
}

fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Error> {
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(parameters) = parameters.map_err(|_| {
        let message = "The query, its percent encoding decoded, is not UTF-8.";
        Error::new(ErrorCode::InvalidValue, message)
    })?;
    if parameters.iter().any(|(name, _)| name == "key") {
        let message = "A key does not belong into an address, which others log: send it as the \
                       header `x-goog-api-key`.";
        return Err(Error::new(ErrorCode::InvalidValue, message).param("key"));
    }
    Ok(parameters)
}

async fn count(app: &App, model: &str, parts: &Parts, body: Body) -> Result<Response, Error> {
    let caller = app.access.authenticate(parts).await?;
    caller.may_use(SURFACE)?;
    let body = read_body(body, &app.config.limits).await?;
    let envelope = Envelope::addressed(&body, SURFACE, model, false)?;
    caller.may_ask(Some(&envelope.model))?;
    caller.may_ask_besides(&body)?;
    let Route { upstream, model } = route(&app.models, &envelope.model, SURFACE.native())?;
    if upstream.spec().dialect != SURFACE.native() {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let estimate = (kind, count_estimate(&body)).into_response();
        return Ok(described(estimate, &upstream));
    }
    let target = Target {
        model: &model,
        stream: false,
        traits: &upstream.traits(&model),
    };
    let body = upstream_body(&envelope, upstream.spec().dialect, &target)?;
    let body = count_body(&body, &model);
    // To count costs nothing.
    let whom = (upstream.name(), &*model);
    let mut dues = limited::pass(app, &caller, client_address(parts), whom, false).await?;
    let path = count_path(&model);
    let asked = asked(&upstream, &path, &[], body, SURFACE).await;
    asked.map(|answer| dues.told().on(answer))
}
