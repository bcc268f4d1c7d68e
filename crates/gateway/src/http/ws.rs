//! Streams over WebSocket: one at `/v1/streams/{id}/ws`, many on one socket at `/v1/ws`.
//!
//! Messages are JSON texts. To the client: `{"type":"subscribed"|"unsubscribed", "stream"}`,
//! `{"type":"event", "stream", "id", "seq", "time", "event"?, "data"}`, `{"type":"end", "stream",
//! "status", "reason"?, "usage", ...}`, `{"type":"error", "stream"?, "code", "message", "param"?}`.
//! From the client, on `/v1/ws`: `{"type":"subscribe", "stream", "after"?, "token"?}` and
//! `{"type":"unsubscribe", "stream"}`. `after` is an event's `id`, or its `seq`.

mod session;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::id::ProjectId;
use everstream_core::limits;
use everstream_core::policy::scope::Api;
use http::request::Parts;

use super::error::Shape;
use super::open::open;
use super::parameters::Parameters;
use super::segment::Segment;
use super::streams::{ReadQuery, authorize, cursor};
use crate::access::presents_key;
use crate::app::App;
use session::Session;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /v1/streams/{id}/ws`: this stream, and then the socket is closed.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(query): Parameters<ReadQuery>,
    parts: Parts,
    upgrade: Upgrade,
) -> Response {
    let token = query.token.as_deref();
    // Refused before the upgrade, with a status that a client can see.
    let opened = async {
        let (project, stream) = authorize(&app, &id, token, &parts).await?;
        let seq = cursor(stream, query.after.as_deref(), &parts.headers)?;
        let opened = open(&app, &project, stream, seq).await?;
        Ok((limited(upgrade)?, stream, seq, opened))
    };
    match opened.await {
        Ok((upgrade, stream, seq, opened)) => upgrade.on_upgrade(move |socket| async move {
            let mut session = Session::new(app, socket, None, true);
            session.add(stream, seq, opened);
            session.run().await;
        }),
        Err(error) => Shape::Problem.failure(error).into_response(),
    }
}

/// `GET /v1/ws`: as many streams as are subscribed to. Without a key each needs a read token.
pub(super) async fn many(State(app): State<Arc<App>>, parts: Parts, upgrade: Upgrade) -> Response {
    let opened = caller(&app, &parts)
        .await
        .and_then(|project| limited(upgrade).map(|upgrade| (upgrade, project)));
    match opened {
        Ok((upgrade, project)) => upgrade.on_upgrade(move |socket| async move {
            Session::new(app, socket, project, false).run().await;
        }),
        Err(error) => Shape::Problem.failure(error).into_response(),
    }
}

/// Whose streams the socket may read without tokens.
async fn caller(app: &App, parts: &Parts) -> Result<Option<ProjectId>, Error> {
    match app.access.authenticate(parts).await {
        Ok(caller) => {
            caller.may_use(Api::Streams)?;
            Ok(Some(caller.project))
        }
        Err(_) if !presents_key(&parts.headers) => Ok(None),
        Err(error) => Err(error),
    }
}

fn limited(upgrade: Upgrade) -> Result<WebSocketUpgrade, Error> {
    let upgrade = upgrade.map_err(|rejection| {
        let message = format!("This path speaks WebSocket: {}.", rejection.body_text());
        Error::new(ErrorCode::InvalidValue, message)
    })?;
    Ok(upgrade
        .max_message_size(limits::WS_MESSAGE_BYTES)
        .max_frame_size(limits::WS_MESSAGE_BYTES)
        .read_buffer_size(limits::WS_READ_BUFFER_BYTES)
        // One read of a stream goes out in one write.
        .write_buffer_size(limits::READ_PAGE_BYTES))
}
