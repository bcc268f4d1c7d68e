//! What the log holds, and where a reader stands in it.
//!
//! A stream is a sequence of records. Events carry a [`Seq`]; audit records (who was called, what
//! came back) lie between them and readers never see them. A [`Position`] counts both.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dialect::Handle;
use crate::error::ErrorCode;
use crate::event::{Event, Mode, Status, Surface, Usage};
use crate::id::{ProjectId, Seq, UnixMillis};
use crate::policy::recovery::OnCut;

pub mod codec;

/// How many records, of any kind, lie before a place in a stream. The first record has position 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position `n` records later.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

/// One record. Their order in a stream is the order of writes: `Accepted` first, `Dialled` before
/// a byte of the request leaves, `Head` when the upstream answered, events, exactly one `End`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The stream exists. Always and only the record at position 0.
    Accepted(Arc<Accepted>),
    /// Audit: the next byte goes to this upstream.
    Dialled(Dialled),
    /// Audit: the upstream answered.
    Head(Head),
    /// Audit: an attempt came to nothing.
    Abandoned(Abandoned),
    /// Audit: an answer that was cut goes on.
    Seam(Seam),
    /// What readers get.
    Event(Event),
    /// Audit: a new epoch began, because the former writer died.
    Leased,
    /// The terminal record; nothing follows it.
    End(Arc<End>),
}

/// Everything that is known when a generation is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The owner: only this project can read the stream.
    pub project: ProjectId,
    /// Who pays for it beside the project, for whoever ends the stream to settle it.
    #[serde(default, skip_serializing_if = "Account::is_empty")]
    pub account: Account,
    /// The API it was opened through.
    pub surface: Surface,
    /// Streamed or one body.
    pub mode: Mode,
    /// The model as the client named it.
    pub model: String,
    /// When it was accepted.
    pub created_at: UnixMillis,
    /// The client's `Idempotency-Key`, if it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// True when the client asked to see the usage chunk.
    #[serde(default)]
    pub include_usage: bool,
    /// When the client wants to have heard something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<UnixMillis>,
    /// What requests belong together, for routes that are `sticky`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What is to become of an answer that is cut, where the client says so and not the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_cut: Option<OnCut>,
    /// Headers of the client's that its provider has to see, such as `anthropic-beta`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The request's body as the client sent it: what a restart needs to run it if nothing was
    /// sent yet. Stored beside the JSON of the other fields, byte for byte.
    #[serde(skip)]
    pub request: Bytes,
}

/// Who pays for what a project uses, as far as the catalogue knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The organisation's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Box<str>>,
    /// The id of the key that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
}

impl Account {
    /// Whether nobody but the project is known.
    pub const fn is_empty(&self) -> bool {
        self.organisation.is_none() && self.key.is_none()
    }
}

/// A client's `Idempotency-Key`: while a stream holds it, no second one can be opened with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Digest of project, method, path and key.
    pub key: Digest,
    /// Digest of the body, to tell a retry from another request under the same key.
    pub fingerprint: Digest,
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Audit: an attempt is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialled {
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The upstream's configured name.
    pub upstream: String,
    /// The model's name there.
    pub model: String,
}

/// Audit: the head of an upstream's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its HTTP status.
    pub status: u16,
    /// Its request id, for the provider's support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// By what its stream is found again after a cut, or by the next process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
}

/// Audit: an attempt of which nobody heard anything, before another one was made or the failure of an
/// earlier one was told. What it may have cost is not in the usage of the answer. Of two that ran beside
/// each other, the head of the one that was abandoned lies before this record, that of the other behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// Which attempt.
    pub attempt: u32,
    /// The upstream that was asked.
    pub upstream: String,
    /// Why, as the name of a [`FailureKind`](crate::policy::attempt::FailureKind), or
    /// [`HEDGE_LOST`](crate::writer::HEDGE_LOST).
    pub reason: String,
    /// The status that the upstream's failure had, or stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// True when the provider surely ran nothing.
    #[serde(default)]
    pub nothing_ran: bool,
    /// What it used, of one that was dropped because nobody needed it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The upstream that goes on, of one beside which another attempt ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

/// Audit: where an answer was cut, and who made it up to there. The events since the seam before, or
/// since the start, are of this attempt, up to `seq`; those that follow are of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seam {
    /// The attempt that was cut.
    pub attempt: u32,
    /// The upstream that was asked.
    pub upstream: String,
    /// Why it was cut, as the name of a [`FailureKind`](crate::policy::attempt::FailureKind), or
    /// `gateway_restarted`.
    pub reason: String,
    /// How the answer goes on.
    pub kind: SeamKind,
    /// The last event of this attempt.
    pub seq: Seq,
    /// What this attempt used. The usage in the terminal record is the sum over all of them.
    pub usage: Usage,
}

/// How an answer goes on behind a [`Seam`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeamKind {
    /// From its text so far: a plausible continuation, not the same answer.
    Continued,
    /// From a second run, whose text was dropped while it was the same.
    RanAgain,
    /// From the same run: the provider's own stream of it is read on. The attempt is the same.
    Reattached,
}

/// The terminal record of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// One of the final statuses.
    pub status: Status,
    /// Why, as a short code (an [`ErrorCode`](crate::error::ErrorCode) name), unless completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The HTTP status for a client whose response head was not sent yet when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Seconds after which a retry makes sense, when the upstream said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The upstream that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// True when the provider surely ran nothing, so that the `Idempotency-Key` is free again.
    #[serde(default)]
    pub release_claim: bool,
    /// When it ended.
    pub at: UnixMillis,
}

impl End {
    /// Whether what was delivered is an answer with an end of its own: the provider's, or that of one
    /// which was stopped as its budgets had nothing left.
    pub fn is_answer(&self) -> bool {
        self.status == Status::Completed
            || (self.reason.as_deref() == Some(ErrorCode::BudgetExhausted.as_str())
                && self.http_status.is_none())
    }
}

/// Where a stream ends just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Where the next record goes.
    pub position: Position,
    /// The newest event; zero before the first.
    pub seq: Seq,
    /// Whether the terminal record is written.
    pub ended: bool,
}

impl Tail {
    /// The tail after `records` were appended at this one.
    ///
    /// # Errors
    /// When the records do not fit: events that are not dense, a record after `End`, an `Accepted`
    /// that is not first.
    pub fn after(mut self, records: &[Record]) -> Result<Self, Misfit> {
        for record in records {
            if self.ended {
                return Err(Misfit("a record after the terminal one"));
            }
            let first = self.position == Position(0);
            match record {
                Record::Accepted(_) if !first => return Err(Misfit("a second Accepted record")),
                Record::Accepted(_) => {}
                _ if first => return Err(Misfit("the first record is not Accepted")),
                Record::Event(event) if event.seq != self.seq.next() => {
                    return Err(Misfit("an event whose seq is not the next"));
                }
                Record::Event(event) => self.seq = event.seq,
                Record::End(_) => self.ended = true,
                Record::Dialled(_)
                | Record::Head(_)
                | Record::Abandoned(_)
                | Record::Seam(_)
                | Record::Leased => {}
            }
            self.position = self.position.plus(1);
        }
        Ok(self)
    }
}

/// Records that cannot stand where somebody wanted to put them: a bug of the writer's, or a
/// damaged log. The text says which rule they break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub &'static str);
