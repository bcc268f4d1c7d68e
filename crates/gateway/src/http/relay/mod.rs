//! APIs that are passed through to upstreams that have them: images, audio, moderations, reranking,
//! files and batches. Nothing of these is logged as a stream, and nothing is held that is large: the
//! task that serves the client takes from one side only what the other takes.
//!
//! A request is checked in this order: the key, the path, the upstream by the model's name; whatever
//! is wrong is refused before anything is sent.

mod answer;
mod choose;
mod incoming;
mod record;
mod table;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::dialect::openai::Named;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::multipart;
use everstream_core::limits;
use http::request::Parts;
use http::{Method, header};
use http_body::Body as _;
use tokio::time::timeout;

use super::body::read_body;
use super::error::Shape;
use super::limited::{self, Dues};
use super::respond::{About, name_upstream};
use crate::access::{Caller, client_address};
use crate::app::App;
use crate::upstream::{self, Route, Upload, Upstream, UpstreamError};
pub(super) use choose::{by_model, by_name};
use incoming::{Counters, Incoming};
use record::Record;
use table::Model;
pub(super) use table::{ROWS, Row};

/// The headers of a request that are passed on. All others, the client's credentials among them, are
/// not.
const PASSED_ON: [&str; 6] = [
    "accept",
    "content-type",
    "idempotency-key",
    "openai-beta",
    "range",
    "traceparent",
];

/// A request to one of the paths of the table.
pub(super) async fn answer(app: &App, row: &'static Row, request: Request) -> Response {
    let result = try_answer(app, row, request).await;
    result.unwrap_or_else(|error| Shape::OpenAi.failure(error).into_response())
}

async fn try_answer(app: &App, row: &'static Row, request: Request) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let caller = app.access.authenticate(&parts).await?;
    caller.may_use(row.api)?;
    let target = target(&parts)?;
    let counters = Arc::new(Counters::default());
    let routed = route(app, &caller, row, &parts, body, &counters).await?;
    app.lifecycle.admit()?;
    let upstream = Arc::clone(&routed.upstream);
    let asked = (upstream.name(), routed.model.as_deref().unwrap_or_default());
    let costs = row.model != Model::None;
    let mut dues = limited::pass(app, &caller, client_address(&parts), asked, costs).await?;
    let told = dues.told();
    let target = choose::place(&upstream, target, routed.model.as_deref());
    let record = Record::new(row, &caller, &routed, Arc::clone(&counters), dues);
    let answered = relay(&parts, &target, routed, &counters, record).await;
    let mut response =
        answered.unwrap_or_else(|error| Shape::OpenAi.failure(error).into_response());
    // From here on it is known who was asked, whatever came of it.
    let about = About {
        upstream: Some(upstream.name().to_owned()),
        replayed: false,
    };
    name_upstream(response.headers_mut(), &about);
    Ok(told.on(response))
}

/// The request's path and query at the upstream.
fn target(parts: &Parts) -> Result<String, Error> {
    let path = parts.uri.path();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    // What an upstream could understand as another path than this gateway does goes nowhere.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let fits = path.split('/').skip(1).all(|segment| {
        let dots = segment.bytes().all(|b| b == b'.');
        !dots && segment.len() <= limits::PASSED_ID_BYTES && segment.bytes().all(plain)
    });
    if !fits {
        let message = format!(
            "An id in the path has letters, digits and `-_.:` alone, {} at most.",
            limits::PASSED_ID_BYTES
        );
        return Err(Error::new(ErrorCode::InvalidValue, message));
    }
    let query = choose::passed_query(parts.uri.query().unwrap_or_default())?;
    Ok(if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    })
}

/// A request that knows where to go.
struct Routed {
    upstream: Arc<Upstream>,
    /// The model's name there.
    model: Option<String>,
    body: Outbound,
}

enum Outbound {
    /// All of it, if there is one.
    Whole(Option<Bytes>),
    /// As it comes.
    Streamed(Upload),
}

async fn route(
    app: &App,
    caller: &Caller,
    row: &Row,
    parts: &Parts,
    body: Body,
    counters: &Arc<Counters>,
) -> Result<Routed, Error> {
    let limits = &app.config.limits;
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if row.model.is_never_named() {
        if row.model == Model::InFile && parts.method == Method::POST {
            caller.may_ask(None)?;
        }
        let upstream = by_name(app, parts)?;
        let body = if parts.method != Method::POST {
            Outbound::Whole(None)
        } else if body.is_end_stream() {
            Outbound::Whole(Some(Bytes::new()))
        } else {
            Outbound::Streamed(Incoming::new(body, limits, Arc::clone(counters))?.into_upload())
        };
        return Ok(Routed {
            upstream,
            model: None,
            body,
        });
    }
    if let Some(boundary) = multipart::boundary(kind) {
        let mut incoming = Incoming::new(body, limits, Arc::clone(counters))?;
        let field = incoming.find(boundary, "model").await?;
        let name = field.as_ref().map(|field| field.value.as_str());
        caller.may_ask(name)?;
        let (upstream, model) = destination(app, row, parts, name)?;
        if let (Some(field), Some(model)) = (&field, &model) {
            incoming.replace(&field.place, model);
        }
        let body = Outbound::Streamed(incoming.into_upload());
        return Ok(Routed {
            upstream,
            model,
            body,
        });
    }
    let body = read_body(body, limits).await?;
    let request = Named::parse(&body)?;
    caller.may_ask(request.model())?;
    caller.may_ask_besides(&body)?;
    let (upstream, model) = destination(app, row, parts, request.model())?;
    let body = match &model {
        Some(model) => request.renamed(model),
        None => request.into_body(),
    };
    counters.add(body.len());
    let body = Outbound::Whole(Some(body));
    Ok(Routed {
        upstream,
        model,
        body,
    })
}

fn destination(
    app: &App,
    row: &Row,
    parts: &Parts,
    name: Option<&str>,
) -> Result<(Arc<Upstream>, Option<String>), Error> {
    match name {
        Some(name) => {
            let Route { upstream, model } = by_model(app, name, row.path)?;
            Ok((upstream, Some(model)))
        }
        None if row.model == Model::Required => {
            let missing = Error::new(ErrorCode::MissingField, "The request names no `model`.");
            Err(missing.param("model"))
        }
        None => Ok((by_name(app, parts)?, None)),
    }
}

/// Sends the request and begins the answer. The record is told of whatever happens.
async fn relay(
    parts: &Parts,
    target: &str,
    routed: Routed,
    counters: &Counters,
    mut record: Record,
) -> Result<Response, Error> {
    let Routed { upstream, body, .. } = routed;
    let answer = send(&upstream, parts, target, body, counters).await;
    let answer = answer.map_err(|error| record.failed(error))?;
    answer::respond(&upstream, answer, record).await
}

async fn send(
    upstream: &Arc<Upstream>,
    parts: &Parts,
    target: &str,
    body: Outbound,
    counters: &Counters,
) -> Result<upstream::Response, Error> {
    let own = &upstream.spec().headers;
    let headers = PASSED_ON.iter().filter_map(|&name| {
        let replaced = own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let value = parts.headers.get(name).filter(|_| !replaced)?;
        Some((name, value.to_str().ok()?))
    });
    let headers: Vec<_> = headers.collect();
    let mut request = upstream::Request {
        method: parts.method.as_str(),
        path: target,
        headers: &headers,
        body: None,
    };
    let patience = upstream.spec().first_event_timeout;
    let silent = || {
        let message = format!("Upstream `{}` was silent for too long.", upstream.name());
        Error::new(ErrorCode::UpstreamTimeout, message)
    };
    let upload = match body {
        Outbound::Streamed(upload) => upload,
        Outbound::Whole(body) => {
            request.body = body;
            let sent = timeout(patience, upstream.send(request)).await;
            return sent
                .map_err(|_| silent())?
                .map_err(UpstreamError::into_error);
        }
    };
    let mut sending = std::pin::pin!(upstream.upload(request, upload));
    loop {
        let patience = if counters.is_ended() {
            patience
        } else {
            upstream.spec().event_timeout
        };
        let before = counters.sent();
        match timeout(patience, &mut sending).await {
            Ok(sent) => return sent.map_err(UpstreamError::into_error),
            // It took something meanwhile, or it is the client that is slow, who has its own time.
            Err(_) if counters.sent() > before || counters.is_waiting() => {}
            Err(_) => return Err(silent()),
        }
    }
}

impl Record {
    fn new(
        row: &'static Row,
        caller: &Caller,
        routed: &Routed,
        counters: Arc<Counters>,
        dues: Dues,
    ) -> Self {
        let (upstream, model) = (routed.upstream.name(), routed.model.as_deref());
        let whom = (upstream, model.unwrap_or_default());
        Self::begin(row, caller, whom, counters, dues)
    }
}
