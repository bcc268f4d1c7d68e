//! What happens to a generating request before an upstream is called, in this order:
//!
//! 1. `Access::authenticate` (`access/`): nothing is read for strangers.
//! 2. `plan`: the body is understood and routed; every mistake is found before anything is spent.
//!
//! 3. Unless a stream answers the request already: `Limits::enter` (`limits/`) takes what it may use of
//!    its limits, of all of them or of none.
//! 4. `Request::reserve`: the worst that it may cost is reserved in the budgets of its payer
//!    (`billing/`).
//! 5. `Admission::enter` (`admission/`): it waits for its turn. What is refused so far was logged
//!    nowhere and cost nothing, and what was taken is given back.
//!
//! Each stage is a type that only the one before it can make, so the order cannot be mixed up.

mod enter;

use std::time::Duration;

use bytes::Bytes;
use everstream_core::cursor::Cursor;
use everstream_core::dialect::openai::{self, Envelope};
use everstream_core::dialect::{ProviderDialect, Target, affinity, continued_body};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Mode, Surface};
use everstream_core::id::ProjectId;
use everstream_core::limits;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::policy::recovery::OnCut;
use everstream_core::policy::route::NotFound;
use everstream_core::record::{Accepted, Account, Claim};
use everstream_core::units::{MAX_DURATION, parse_duration};
use http::HeaderMap;

use crate::access::Caller;
use crate::generate::{self, Course};
use crate::limits::Permit;
use crate::upstream::models::{ModelDirectory, Route};
pub use enter::enter;

/// The header that says what happens when nobody reads.
pub const ON_DISCONNECT: &str = "everstream-on-disconnect";

/// The header that says how long the client waits for the first event.
const TIMEOUT: &str = "everstream-timeout";

/// The header that says what becomes of an answer that is cut.
const ON_CUT: &str = "everstream-on-cut";

/// The header that names what requests belong together, for routes that are `sticky`.
const SESSION: &str = "everstream-session";

/// What a request was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The API.
    pub surface: Surface,
    /// The path for which an `Idempotency-Key` counts.
    pub path: &'a str,
    /// What follows the path.
    pub query: Option<&'a str>,
    /// The model, and whether the answer is streamed, where the path says so and not the body.
    pub named: Option<(&'a str, Mode)>,
}

/// A request that names a stream that may exist already, or wants a new one.
#[derive(Debug)]
pub enum Planned {
    /// `Last-Event-ID` was sent: attach, never generate.
    Resume(Cursor),
    /// Everything a generation needs, and what may already answer it.
    Generate(Box<Generation>),
}

/// A request ready to be run.
#[derive(Debug)]
pub struct Generation {
    /// For the generator.
    pub request: generate::Request,
    /// The client wants server-sent events.
    pub stream: bool,
    /// The client wants an address instead of an answer.
    pub background: bool,
    /// An SDK repeats a request by itself.
    pub is_retry: bool,
}

/// A request of OpenAI's responses that continues a conversation.
#[derive(Debug)]
pub struct Continuation {
    /// The request with all of the conversation: what is logged, and run by whoever has to have it.
    pub body: Bytes,
    /// The upstream that answered before, and its own id for that response, if it has it still.
    pub before: Option<(String, String)>,
}

/// Understands and routes a request of an authenticated caller.
pub fn plan(
    models: &ModelDirectory,
    caller: &Caller,
    address: Address<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    continuation: Option<Continuation>,
) -> Result<Planned, Error> {
    if let Some(cursor) = last_event_id(headers)? {
        return Ok(Planned::Resume(cursor));
    }
    let Address { surface, path, .. } = address;
    let logged = continuation.as_ref().map_or(body, |all| &all.body).clone();
    let envelope = envelope(surface, address.named, &logged)?;
    caller.may_ask(Some(&envelope.model))?;
    caller.may_ask_besides(&logged)?;
    let claim = claim(caller, path, headers, body)?;
    let on_disconnect = on_disconnect(headers, caller, claim.is_some() || envelope.background)?;
    let timeout = timeout(headers, address.query)?;
    let (stream, background) = (envelope.stream, envelope.background);
    let session = headers.get(SESSION).and_then(|value| value.to_str().ok());
    let asker = Asker {
        project: caller.project.clone(),
        session: session.map(str::to_owned),
        on_cut: on_cut(headers)?,
        on_disconnect,
    };
    let mut request = request(models, envelope, asker, logged)?;
    request.timeout = timeout;
    let before = continuation.and_then(|all| all.before);
    if let Some((upstream, id)) = before {
        // It has the conversation itself.
        let envelope = Envelope::parse(body, surface)?;
        let write = |target: &Target<'_>| continued_body(&envelope, &id, target);
        request.course.replace(&upstream, write);
    }
    request.claim = claim;
    let retry_count = retry_count(headers);
    request.retry_digest = retry_count.map(|_| openai::repeat_key(&caller.project, path, body));
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    request.traceparent = traceparent.map(str::to_owned);
    request.headers = passed_on(surface, headers);
    Ok(Planned::Generate(Box::new(Generation {
        request,
        stream,
        background,
        is_retry: retry_count.is_some_and(|count| count > 0),
    })))
}

/// A logged request of which nothing was sent, once more.
pub fn plan_again(models: &ModelDirectory, accepted: &Accepted) -> Option<generate::Request> {
    let named = accepted.surface.is_addressed();
    let named = named.then_some((&*accepted.model, accepted.mode));
    let envelope = envelope(accepted.surface, named, &accepted.request).ok()?;
    let lasting = accepted.claim.is_some() || envelope.background;
    let linger = OnDisconnect::Linger(limits::LINGER);
    let on_disconnect = if lasting {
        OnDisconnect::Continue
    } else {
        linger
    };
    let asker = Asker {
        project: accepted.project.clone(),
        session: accepted.session.clone(),
        on_cut: accepted.on_cut,
        on_disconnect,
    };
    let request = request(models, envelope, asker, accepted.request.clone());
    let headers = names_passed_on(accepted.surface).iter().flat_map(|&name| {
        let logged = accepted.headers.iter();
        let logged = logged.filter(move |(known, _)| known == name);
        logged.map(move |(_, value)| (name, value.clone()))
    });
    Some(generate::Request {
        account: accepted.account.clone(),
        headers: headers.collect(),
        ..request.ok()?
    })
}

fn envelope(
    surface: Surface,
    named: Option<(&str, Mode)>,
    body: &Bytes,
) -> Result<Envelope, Error> {
    match named {
        Some((model, mode)) => Envelope::addressed(body, surface, model, mode == Mode::Stream),
        None => Envelope::parse(body, surface),
    }
}

/// Who asks, and what is to be done with the answer.
struct Asker {
    project: ProjectId,
    session: Option<String>,
    on_cut: Option<OnCut>,
    on_disconnect: OnDisconnect,
}

/// The generation that an envelope asks for.
fn request(
    models: &ModelDirectory,
    envelope: Envelope,
    asker: Asker,
    body: Bytes,
) -> Result<generate::Request, Error> {
    let surface = envelope.surface();
    let key = || affinity(&asker.project, asker.session.as_deref(), &body);
    let routed = models.deployments(&envelope.model, surface.native(), key);
    let mut routed = routed.map_err(|unknown| not_found(&envelope.model, unknown))?;
    routed.on_cut = asker.on_cut.unwrap_or(routed.on_cut);
    // What runs in the background is always streamed from the provider, so that its progress is
    // logged.
    let mode = if envelope.stream || envelope.background {
        Mode::Stream
    } else {
        Mode::Unary
    };
    Ok(generate::Request {
        project: asker.project,
        account: Account::default(),
        surface,
        mode,
        show_usage: envelope.include_usage,
        choices: envelope.choices,
        body,
        claim: None,
        timeout: None,
        session: asker.session,
        on_cut: asker.on_cut,
        retry_digest: None,
        on_disconnect: asker.on_disconnect,
        traceparent: None,
        headers: Vec::new(),
        slot: None,
        permit: Permit::default(),
        hold: None,
        model: envelope.model.clone(),
        course: Course::new(envelope, mode, routed)?,
    })
}

/// The headers of a request that say what its provider is to do.
pub fn passed_on(surface: Surface, headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let values = names_passed_on(surface).iter().flat_map(|&name| {
        let values = headers.get_all(name).iter();
        values.filter_map(move |value| Some((name, value.to_str().ok()?.to_owned())))
    });
    values.collect()
}

const fn names_passed_on(surface: Surface) -> &'static [&'static str] {
    match surface {
        Surface::Messages => &["anthropic-beta"],
        Surface::ChatCompletions
        | Surface::Completions
        | Surface::Embeddings
        | Surface::Responses
        | Surface::GenerateContent => &[],
    }
}

/// The upstream for a model's name in a request of this dialect: of several, the first to be asked.
pub fn route(models: &ModelDirectory, name: &str, native: ProviderDialect) -> Result<Route, Error> {
    let route = models.route(name, native);
    route.map_err(|unknown| not_found(name, unknown))
}

fn not_found(name: &str, unknown: NotFound) -> Error {
    let NotFound { nearest, unlisted } = unknown;
    let hint = |text: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!(" {text} `{}`.", names.join("`, `")),
    };
    let near = hint("The nearest names are", &nearest);
    let unlisted = hint(
        "The models of these upstreams are not known yet:",
        &unlisted,
    );
    let message =
        format!("No upstream serves the model `{name}`.{near}{unlisted} GET /v1/models lists all.");
    Error::new(ErrorCode::ModelNotFound, message).param("model")
}

/// How long the client waits for the first event: the header `Everstream-Timeout`, or else the
/// parameter `timeout`.
fn timeout(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Duration>, Error> {
    let mut pairs = query.unwrap_or_default().split('&');
    let in_query = || pairs.find_map(|pair| pair.strip_prefix("timeout="));
    let in_header = headers.get(TIMEOUT);
    let in_header = in_header.map(|value| value.to_str().unwrap_or_default());
    let Some(text) = in_header.or_else(in_query) else {
        return Ok(None);
    };
    let found = parse_duration(text).ok();
    let found = found.filter(|time| (limits::LEAST_TIMEOUT..=MAX_DURATION).contains(time));
    found.map(Some).ok_or_else(|| {
        let message = "Everstream-Timeout, or the parameter `timeout`, is a duration of at least \
                       1ms, for example `30s`.";
        Error::new(ErrorCode::InvalidValue, message).param("Everstream-Timeout")
    })
}

/// The cursor of a `Last-Event-ID` header. It must name its stream, as the path does not.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Error> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let invalid = |why: &str| {
        let message = format!("Last-Event-ID {why}; it looks like `0k3v9f2m7qx4c.17`.");
        Error::new(ErrorCode::InvalidCursor, message).param("Last-Event-ID")
    };
    let text = value
        .to_str()
        .map_err(|_| invalid("is not visible ASCII"))?;
    // An EventSource that has seen no id yet may send an empty one.
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::parse(text, None)
        .map(Some)
        .map_err(|error| invalid(&format!("is wrong: {error}")))
}

fn claim(
    caller: &Caller,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<Claim>, Error> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES || !visible {
        let message = format!(
            "Idempotency-Key has 1 to {} visible ASCII characters.",
            limits::IDEMPOTENCY_KEY_BYTES
        );
        return Err(Error::new(ErrorCode::InvalidValue, message).param("Idempotency-Key"));
    }
    let key = openai::claim_key(&caller.project, "POST", path, key);
    Ok(Some(Claim {
        key,
        fingerprint: openai::fingerprint(body)?,
    }))
}

fn on_disconnect(
    headers: &HeaderMap,
    caller: &Caller,
    meant_to_last: bool,
) -> Result<OnDisconnect, Error> {
    match headers.get(ON_DISCONNECT) {
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let message = "Everstream-On-Disconnect is `continue`, `cancel` or `linger:<duration>`, \
                           for example `linger:60s`.";
            Error::new(ErrorCode::InvalidValue, message).param("Everstream-On-Disconnect")
        }),
        None if meant_to_last => Ok(OnDisconnect::Continue),
        None => Ok(caller.on_disconnect),
    }
}

/// What the client says about an answer that is cut. Its consent counts as the operator's does.
fn on_cut(headers: &HeaderMap) -> Result<Option<OnCut>, Error> {
    let Some(value) = headers.get(ON_CUT) else {
        return Ok(None);
    };
    let found = value.to_str().ok().and_then(OnCut::find);
    found.map(Some).ok_or_else(|| {
        let message = "Everstream-On-Cut is `recover` or `fail`.";
        Error::new(ErrorCode::InvalidValue, message).param("Everstream-On-Cut")
    })
}

/// How often an SDK (openai, anthropic) has repeated this request by itself; `None` for others.
fn retry_count(headers: &HeaderMap) -> Option<u32> {
    headers
        .get("x-stainless-retry-count")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
