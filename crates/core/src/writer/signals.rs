//! What a writer is told, and what it tells the driver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::dialect::{ProviderDialect, ReplyHead};
use crate::error::ErrorCode;
use crate::event::{Mode, Surface};
use crate::id::{StreamId, UnixMillis};
use crate::limits::StreamLimits;
use crate::policy::disconnect::OnDisconnect;
use crate::record::{End, Record};
use crate::secret::Secret;

/// What a writer needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The stream it writes.
    pub stream: StreamId,
    /// The dialect.
    pub surface: Surface,
    /// Streamed or one body.
    pub mode: Mode,
    /// Whether the client asked to see the usage chunk.
    pub show_usage: bool,
    /// How many choices a whole answer has.
    pub choices: u32,
    /// The configured name of the upstream to call.
    pub upstream: String,
    /// The API that it speaks.
    pub provider: ProviderDialect,
    /// The model's name there.
    pub model: String,
    /// The model as the client named it.
    pub asked_model: String,
    /// What it was called with and nobody else may see.
    pub secrets: Arc<[Secret]>,
    /// Size of the request, for an estimate of its tokens.
    pub request_bytes: usize,
    /// What happens when nobody reads.
    pub on_disconnect: OnDisconnect,
    /// Longest silence before the first event.
    pub first_event_timeout: Duration,
    /// Longest silence between two events.
    pub event_timeout: Duration,
    /// Bounds of the stream.
    pub limits: StreamLimits,
    /// For OpenAI's responses: what of the request they repeat. Else empty.
    pub echo: Bytes,
}

impl Plan {
    /// What the gateway knows of an answer that begins at `now`.
    pub(super) fn head(&self, now: UnixMillis) -> ReplyHead {
        ReplyHead {
            id: self.stream.to_string(),
            model: self.asked_model.clone(),
            created: now.0 / 1000,
            show_usage: self.show_usage,
            echo: self.echo.clone(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The stream is created and leased: go.
    Start,
    /// The upstream's head is here.
    Head(UpstreamHead),
    /// One read of the upstream's body.
    Bytes(Bytes),
    /// The upstream's body ended as HTTP says it should.
    Ended,
    /// The upstream could not be reached, or its connection broke.
    Broken(Breakage),
    /// The append is acknowledged.
    Appended,
    /// The append failed; nothing more can be logged.
    AppendFailed(ErrorCode),
    /// The time of [`Writer::wake_at`](super::Writer::wake_at) has come, or an earlier one.
    Tick,
    /// Somebody wants it stopped, for this reason.
    Stop(ErrorCode),
    /// Readers come and go elsewhere from now on: nobody reading here is no reason to stop.
    Keep,
    /// The number of readers changed.
    Readers(usize),
}

/// What the writer needs of an upstream's response head.
#[derive(Clone, Debug, Default)]
pub struct UpstreamHead {
    /// The status.
    pub status: u16,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `Content-Encoding`, as sent; anything but `identity` is refused, as none was asked for.
    pub content_encoding: Option<String>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
}

/// Why there is no (more of an) answer.
#[derive(Clone, Debug)]
pub struct Breakage {
    /// What kind.
    pub code: ErrorCode,
    /// For a person; names the upstream.
    pub message: String,
    /// True when the provider surely ran nothing.
    pub nothing_ran: bool,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append these at the tail, then feed [`Input::Appended`].
    Append(Vec<Record>),
    /// Send the request to the upstream.
    Dial,
    /// Drop the connection to the upstream: its answer is not wanted any more.
    HangUp,
    /// It is over. `None` when the log refused the terminal record.
    Done(Option<Arc<End>>),
}
