//! The generating surfaces: `POST /v1/chat/completions`, `/v1/messages` and the like.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use everstream_core::cursor::Cursor;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::{Mode, Surface};
use everstream_core::id::StreamId;
use everstream_store::Claimed;
use http::request::Parts;

use super::body::read_body;
use super::error::Shape;
use super::form::Form;
use super::open::{Opened, open};
use super::respond::{self, About};
use super::responses::{self, continue_from};
use crate::access::{Caller, client_address};
use crate::app::App;
use crate::generate::{self, Started};
use crate::pipeline::{self, Address, Generation, Planned};
use crate::read::Reader;
use crate::store_error;

/// Where each of them is.
pub(super) const PATHS: [(&str, Surface); 5] = [
    ("/v1/chat/completions", Surface::ChatCompletions),
    ("/v1/completions", Surface::Completions),
    ("/v1/embeddings", Surface::Embeddings),
    ("/v1/messages", Surface::Messages),
    ("/v1/responses", Surface::Responses),
];

/// A `POST` to one of them.
pub(super) async fn answer(app: &App, surface: Surface, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let address = Address {
        surface,
        path: parts.uri.path(),
        query: parts.uri.query(),
        named: None,
    };
    let result = try_answer(app, address, Form::Frames, &parts, body).await;
    result.unwrap_or_else(|error| Shape::of_surface(surface).failure(error).into_response())
}

/// Answers a request that was sent to `address`, streamed in this form if it is streamed.
pub(super) async fn try_answer(
    app: &App,
    address: Address<'_>,
    form: Form,
    parts: &Parts,
    body: Body,
) -> Result<Response, Error> {
    let caller = app.access.authenticate(parts).await?;
    caller.may_use(address.surface)?;
    let headers = &parts.headers;
    let body = read_body(body, &app.config.limits).await?;
    let resumes = headers.contains_key("last-event-id");
    let continuation = match address.surface {
        Surface::Responses if !resumes => Box::pin(continue_from(app, &caller, &body)).await?,
        _ => None,
    };
    match pipeline::plan(&app.models, &caller, address, headers, &body, continuation)? {
        Planned::Resume(cursor) => resume(app, &caller, cursor, form).await,
        Planned::Generate(generation) => {
            let address = client_address(parts);
            generate(app, &caller, address, *generation, form).await
        }
    }
}

/// A repeated POST with `Last-Event-ID`: the stream goes on; nothing is generated.
async fn resume(app: &App, caller: &Caller, cursor: Cursor, form: Form) -> Result<Response, Error> {
    let Some(stream) = cursor.stream else {
        let message = "On a POST, Last-Event-ID names its stream: `0k3v9f2m7qx4c.17`.";
        return Err(Error::new(ErrorCode::InvalidCursor, message).param("Last-Event-ID"));
    };
    match open(app, &caller.project, stream, cursor.seq).await? {
        Opened::AtEnd => Ok(respond::nothing_follows(stream)),
        Opened::Reader(reader, stat) => {
            // It may be of another API than the path.
            caller.may_use(stat.info.surface)?;
            let about = About {
                upstream: stat.info.upstream,
                replayed: true,
            };
            let how = (stat.info.surface, form);
            Ok(respond::sse(app, reader, how, None, &about))
        }
    }
}

async fn generate(
    app: &App,
    caller: &Caller,
    address: Option<IpAddr>,
    generation: Generation,
    form: Form,
) -> Result<Response, Error> {
    let Generation {
        mut request,
        stream,
        background,
        is_retry,
    } = generation;
    let wanted = Wanted {
        surface: request.surface,
        form,
        stream,
        background,
    };
    if let Some(claim) = request.claim {
        // Asked first, so that a repeat costs no id and no write.
        if let Some(claimed) = app.log.claimed(claim.key).await {
            // Boxed, as all of these, because it is rare beside what waits for an answer.
            let attached = attach_claimed(app, caller, wanted, claimed, claim.fingerprint);
            return Box::pin(attached).await;
        }
    } else if let (true, Some(digest)) = (is_retry, request.retry_digest) {
        let (now, window) = (app.clock.now(), app.generator.retry_window);
        if let Some(stream) = app.generator.registry.retried(digest, now, window) {
            return Box::pin(attach(app, caller, wanted, stream)).await;
        }
    }
    let about = About {
        upstream: None,
        replayed: false,
    };
    // Only now: who comes back for an answer that exists is served to the end.
    let told = pipeline::enter(app, caller, address, &mut request).await?;
    let answered = begin(app, caller, request, wanted, &about).await;
    answered.map(|response| told.on(response))
}

/// Starts it.
async fn begin(
    app: &App,
    caller: &Caller,
    request: generate::Request,
    wanted: Wanted,
    about: &About,
) -> Result<Response, Error> {
    let mode = request.mode;
    let fingerprint = request.claim.map(|claim| claim.fingerprint);
    let started = {
        let _admitted = app.admit()?;
        app.generator.start(request).await?
    };
    match started {
        Started::Claimed(claimed) => {
            let fingerprint = fingerprint.unwrap_or(claimed.claim.fingerprint);
            Box::pin(attach_claimed(app, caller, wanted, claimed, fingerprint)).await
        }
        Started::New(attachment) => {
            let id = attachment.live().id();
            let log = Arc::clone(&app.log);
            let reader = Reader::new(log, id, everstream_core::id::Seq::ZERO, Some(attachment));
            respond(app, wanted, mode, reader, about)
                .await
                .map_err(|error| error.stream(id))
        }
    }
}

/// The form in which the client wants the answer.
#[derive(Clone, Copy)]
struct Wanted {
    surface: Surface,
    form: Form,
    stream: bool,
    background: bool,
}

async fn attach_claimed(
    app: &App,
    caller: &Caller,
    wanted: Wanted,
    claimed: Claimed,
    fingerprint: everstream_core::record::Digest,
) -> Result<Response, Error> {
    let stream = claimed.stream;
    if claimed.claim.fingerprint != fingerprint {
        let message = "This Idempotency-Key was used with another request body; use another key.";
        let error = Error::new(ErrorCode::IdempotencyMismatch, message);
        return Err(error.param("Idempotency-Key").stream(stream));
    }
    if claimed.expired {
        let message = "The stream of this Idempotency-Key is past retention; use another key.";
        return Err(Error::new(ErrorCode::StreamGone, message).stream(stream));
    }
    attach(app, caller, wanted, stream).await
}

/// Shows an existing stream from its beginning.
async fn attach(
    app: &App,
    caller: &Caller,
    wanted: Wanted,
    stream: StreamId,
) -> Result<Response, Error> {
    let opened = open(app, &caller.project, stream, everstream_core::id::Seq::ZERO).await?;
    let Opened::Reader(reader, stat) = opened else {
        return Ok(respond::nothing_follows(stream));
    };
    let mode = stat.info.mode;
    let about = About {
        upstream: stat.info.upstream,
        replayed: true,
    };
    respond(app, wanted, mode, reader, &about)
        .await
        .map_err(|error| error.stream(stream))
}

async fn respond(
    app: &App,
    wanted: Wanted,
    mode: Mode,
    reader: Reader,
    about: &About,
) -> Result<Response, Error> {
    // A response may be followed even though its client needs not to.
    let leaves = wanted.background && !(wanted.surface == Surface::Responses && wanted.stream);
    if leaves {
        if wanted.surface == Surface::Responses {
            return responses::in_background(app, reader.stream(), about).await;
        }
        let stat = app.log.info(reader.stream()).await;
        let stat = stat.map_err(|error| store_error(&error))?;
        return Ok(respond::accepted(&stat, about));
    }
    match (wanted, mode) {
        (Wanted { stream: true, .. }, Mode::Stream) => {
            respond::held_sse(app, reader, (wanted.surface, wanted.form), about).await
        }
        (Wanted { stream: true, .. }, Mode::Unary) => {
            let message = "This generation was made without `stream`; repeat the request without \
                           it, or read the stream at its own address.";
            Err(Error::new(ErrorCode::IdempotencyMismatch, message).param("stream"))
        }
        (Wanted { surface, .. }, mode) => respond::whole(reader, surface, mode, about).await,
    }
}
