//! `GET /v1/realtime`: a WebSocket of the client's, joined to one of an upstream's.
//!
//! Messages, pings and close codes go through both ways as they are. Nothing is queued: a message is
//! taken from one side when the other took the last one.

mod end;
mod peer;
mod session;
mod tally;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use everstream_core::dialect::{ClientDialect, hide};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits;
use everstream_core::policy::scope::Api;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};

use super::error::{Shape, from_event};
use super::limited;
use super::relay::{by_model, by_name};
use super::respond::{About, name_upstream};
use crate::access::{Caller, client_address};
use crate::app::App;
use crate::upstream::{Route, Socket, SocketError, Upstream};
use session::Session;
use tally::Tally;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

const PATH: &str = "/v1/realtime";
/// Browsers cannot send headers with a WebSocket, so OpenAI's SDK sends the key as a subprotocol.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
const BETA_PROTOCOL: &str = "openai-beta.";
const PROTOCOL: &str = "realtime";
const BETA: &str = "openai-beta";

/// `GET /v1/realtime?model=...`.
pub(super) async fn open(State(app): State<Arc<App>>, parts: Parts, upgrade: Upgrade) -> Response {
    let opened = try_open(&app, &parts, upgrade).await;
    opened.unwrap_or_else(|refusal| match refusal {
        Refusal::Ours(error) => Shape::OpenAi.failure(error).into_response(),
        Refusal::Theirs(response) => response,
    })
}

/// Why there is no session. Either is an HTTP status that a client can see, before the upgrade.
enum Refusal {
    Ours(Error),
    Theirs(Response),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

async fn try_open(app: &Arc<App>, parts: &Parts, upgrade: Upgrade) -> Result<Response, Refusal> {
    let caller = app.access.authenticate(&with_key(parts)).await?;
    caller.may_use(Api::Realtime)?;
    let upgrade = upgrade.map_err(|rejection| {
        let message = format!("This path speaks WebSocket: {}.", rejection.body_text());
        Error::new(ErrorCode::InvalidValue, message)
    })?;
    let (upstream, model, target) = destination(app, &caller, parts)?;
    app.lifecycle.admit()?;
    let asked = (upstream.name(), &*model);
    let mut dues = limited::pass(app, &caller, client_address(parts), asked, true).await?;
    let told = dues.told();
    let socket = connect(&upstream, parts, &target).await?;
    let project = caller.project.to_string();
    let tally = Tally::new(project, upstream.name(), model, dues.begun());
    let session_app = Arc::clone(app);
    let mut response = upgrade
        .protocols([PROTOCOL])
        .max_message_size(limits::REALTIME_MESSAGE_BYTES)
        .max_frame_size(limits::REALTIME_MESSAGE_BYTES)
        .read_buffer_size(limits::WS_READ_BUFFER_BYTES)
        .write_buffer_size(limits::REALTIME_WRITE_BYTES)
        .on_upgrade(move |client| Session::new(session_app, client, socket, tally).run());
    describe(&mut response, &upstream);
    Ok(told.on(response))
}

/// The request, with the key of a browser where others have theirs.
fn with_key(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    let key = protocols(&parts.headers).find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL));
    let bearer = key.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    if let Some(bearer) = bearer {
        let headers = &mut parts.headers;
        headers.entry(header::AUTHORIZATION).or_insert(bearer);
    }
    parts
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

/// Who is called, with which model, and where.
fn destination(
    app: &App,
    caller: &Caller,
    parts: &Parts,
) -> Result<(Arc<Upstream>, String, String), Error> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(mut pairs) = query.map_err(|rejection| {
        let message = format!(
            "The query string cannot be read: {}.",
            rejection.body_text()
        );
        Error::new(ErrorCode::InvalidValue, message)
    })?;
    pairs.retain(|(name, _)| name != "upstream");
    let mut named = pairs.iter_mut().filter(|(name, _)| name == "model");
    let (named, twice) = (named.next(), named.next().is_some());
    if twice {
        let message = "The query names `model` twice.";
        return Err(Error::new(ErrorCode::InvalidValue, message).param("model"));
    }
    caller.may_ask(named.as_ref().map(|(_, name)| name.as_str()))?;
    // A session that transcribes has none.
    let (upstream, model) = match named {
        Some((_, name)) => {
            let Route { upstream, model } = by_model(app, name, PATH)?;
            name.clone_from(&model);
            (upstream, model)
        }
        None => (by_name(app, parts)?, String::new()),
    };
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    Ok((upstream, model, format!("/realtime?{query}")))
}

/// For a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let parts = text.bytes().map(|b| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    });
    parts.collect()
}

async fn connect(upstream: &Arc<Upstream>, parts: &Parts, target: &str) -> Result<Socket, Refusal> {
    let beta = parts.headers.get(BETA).and_then(|beta| beta.to_str().ok());
    let beta = beta.map(str::to_owned).or_else(|| {
        let version = protocols(&parts.headers).find_map(|p| p.strip_prefix(BETA_PROTOCOL))?;
        // `openai-beta.realtime-v1` is the header `OpenAI-Beta: realtime=v1`.
        Some(version.replacen('-', "=", 1))
    });
    let headers: Vec<_> = beta.map(|beta| (BETA, beta)).into_iter().collect();
    let opened = upstream.open_socket(target, &headers).await;
    opened.map_err(|error| match error {
        SocketError::Failed(error) => Refusal::Ours(error.into_error()),
        SocketError::Refused { status, body } => {
            let status = if status < 400 { 502 } else { status };
            let fault = upstream.spec().dialect.read_error(status, &body);
            let body = hide(
                ClientDialect::OpenAiChat.write_error(&fault),
                &upstream.secrets().all(),
            );
            let mut response = from_event(body, status);
            describe(&mut response, upstream);
            Refusal::Theirs(response)
        }
    })
}

fn describe(response: &mut Response, upstream: &Upstream) {
    let about = About {
        upstream: Some(upstream.name().to_owned()),
        replayed: false,
    };
    name_upstream(response.headers_mut(), &about);
}
