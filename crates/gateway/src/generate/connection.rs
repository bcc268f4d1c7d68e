//! One request to an upstream, as the driver hears of it: every turn of its socket is one input for the
//! writer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use everstream_core::frame::http1::ResponseHead;
use everstream_core::id::UnixMillis;
use everstream_core::policy::retry_after::retry_after;
use everstream_core::writer::{Breakage, Input, UpstreamHead};
use tokio::time::timeout;

use super::attach::{self, Call};
use crate::clock::Clock;
use crate::upstream::{self, UpstreamError};

/// How long a connection may take to end properly after the answer is whole, so that it can be
/// used again.
const DRAIN: Duration = Duration::from_millis(100);

#[expect(
    clippy::large_enum_variant,
    reason = "one lives in each driver, nearly always as `Answering`"
)]
pub(super) enum Connection {
    None,
    Sending(Sending),
    Answering(upstream::Body),
}

type Sending = Pin<Box<dyn Future<Output = Result<upstream::Response, UpstreamError>> + Send>>;

/// Begins to ask.
pub(super) fn dial(call: Call) -> Connection {
    Connection::Sending(Box::pin(call.send()))
}

impl Connection {
    /// What the upstream does next; pending for ever without one.
    pub(super) async fn next(&mut self, clock: Clock) -> Input {
        match self {
            Self::None => std::future::pending().await,
            Self::Sending(sending) => match sending.await {
                Ok(upstream::Response { head, body }) => {
                    *self = Self::Answering(body);
                    Input::Head(upstream_head(&head, clock.now()))
                }
                Err(error) => self.broken(&error),
            },
            Self::Answering(body) => match body.read().await {
                Ok(Some(bytes)) => Input::Bytes(bytes),
                Ok(None) => {
                    *self = Self::None;
                    Input::Ended
                }
                Err(error) => self.broken(&error),
            },
        }
    }

    fn broken(&mut self, error: &UpstreamError) -> Input {
        *self = Self::None;
        tracing::warn!(%error, "upstream failed");
        Input::Broken(Breakage {
            code: error.code(),
            // Without the address, which is the operator's business.
            message: format!("Upstream `{}`: {}.", error.upstream, error.kind),
            nothing_ran: error.nothing_was_sent(),
            retry_after: None,
        })
    }

    /// Waits a moment for the proper end of an answer that is whole, so that the connection goes
    /// back to the pool.
    pub(super) async fn drain(&mut self) {
        if let Self::Answering(body) = self {
            let end = async { while let Ok(Some(_)) = body.read().await {} };
            let _ = timeout(DRAIN, end).await;
        }
    }
}

fn upstream_head(head: &ResponseHead, now: UnixMillis) -> UpstreamHead {
    UpstreamHead {
        status: head.status,
        content_type: head.get_str("content-type").map(str::to_owned),
        content_encoding: head.get_str("content-encoding").map(str::to_owned),
        retry_after: retry_after(
            head.get_str("retry-after-ms"),
            head.get_str("retry-after"),
            now,
        ),
        request_id: head
            .get_str("x-request-id")
            .or_else(|| head.get_str("x-amzn-requestid"))
            .map(|id| id.chars().take(128).collect()),
        handle: attach::handle(head),
    }
}
