//! What to do when a deployment fails before it has said anything.
//!
//! Two rules stand above all others. Nothing is asked again of a deployment that may have run it,
//! unless the route says that its requests may run twice. And a mistake of the request's own is never
//! asked again of anybody, as the answer would be the same.

use std::time::Duration;

use crate::fault::{Fault, FaultKind};
use crate::id::UnixMillis;
use crate::policy::breaker::Verdict;
use crate::policy::hedge::HedgeAfter;

/// What went wrong, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection, or one that took nothing of the request.
    Unreachable,
    /// 429: too much was asked of it, or of its key.
    RateLimited,
    /// 503, 529: it has no room.
    Overloaded,
    /// Any other error of its own: 500, 502, 504, an error event.
    ServerError,
    /// 401, 402, 403: it does not take the key.
    KeyRefused,
    /// 404: it does not have the model.
    ModelMissing,
    /// The request has more tokens than the model takes.
    ContextLength,
    /// A filter refused the request.
    ContentFilter,
    /// Any other fault that it finds with the request.
    BadRequest,
    /// It said nothing for too long.
    Silent,
    /// The connection broke after the request was sent, or its answer ended before it began.
    Broken,
    /// What it sent is not its API.
    Invalid,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unreachable,
        Self::RateLimited,
        Self::Overloaded,
        Self::ServerError,
        Self::KeyRefused,
        Self::ModelMissing,
        Self::ContextLength,
        Self::ContentFilter,
        Self::BadRequest,
        Self::Silent,
        Self::Broken,
        Self::Invalid,
    ];

    /// Its name, in audit records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::KeyRefused => "key_refused",
            Self::ModelMissing => "model_missing",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::BadRequest => "bad_request",
            Self::Silent => "silent",
            Self::Broken => "broken",
            Self::Invalid => "invalid",
        }
    }

    /// What a provider's own words come to.
    pub fn of(fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::Unauthorized | FaultKind::Billing | FaultKind::Forbidden => Self::KeyRefused,
            FaultKind::NotFound => Self::ModelMissing,
            FaultKind::RateLimit => Self::RateLimited,
            FaultKind::ContentFilter => Self::ContentFilter,
            FaultKind::Overloaded => Self::Overloaded,
            FaultKind::Invalid | FaultKind::TooLarge if is_too_long(fault) => Self::ContextLength,
            FaultKind::Invalid | FaultKind::TooLarge => Self::BadRequest,
            FaultKind::Server if matches!(fault.status, Some(503 | 529)) => Self::Overloaded,
            FaultKind::Timeout
            | FaultKind::Interrupted
            | FaultKind::Cancelled
            | FaultKind::Server => Self::ServerError,
        }
    }

    /// What it says about the deployment. A rate limit is not its failure: it is left alone until
    /// its time, see [`Next`].
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Silent => Verdict::Stall,
            Self::Unreachable
            | Self::Overloaded
            | Self::ServerError
            | Self::KeyRefused
            | Self::Broken
            | Self::Invalid => Verdict::Failure,
            Self::RateLimited
            | Self::ModelMissing
            | Self::ContextLength
            | Self::ContentFilter
            | Self::BadRequest => Verdict::Neutral,
        }
    }

    /// Whether it is about the key, and another one may do.
    pub const fn blames_key(self) -> bool {
        matches!(self, Self::RateLimited | Self::KeyRefused)
    }

    /// Whether every deployment of the same model would say the same.
    pub const fn blames_request(self) -> bool {
        matches!(self, Self::ContentFilter | Self::BadRequest)
    }

    /// How much it says to the client, against what others said to the same request: whether that is at
    /// fault, and if not, whether it is worth sending again. What is the operator's to mend, such as a
    /// key that one of several deployments refuses, says least.
    pub const fn tells(self) -> u8 {
        match self {
            Self::ContentFilter | Self::BadRequest => 4,
            Self::Unreachable
            | Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::Silent
            | Self::Broken => 3,
            Self::ContextLength => 2,
            Self::Invalid => 1,
            Self::KeyRefused | Self::ModelMissing => 0,
        }
    }

    /// Whether the same deployment may be asked once more at all.
    const fn may_pass(self) -> bool {
        match self {
            Self::Unreachable
            | Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::Broken => true,
            Self::KeyRefused
            | Self::ModelMissing
            | Self::ContextLength
            | Self::ContentFilter
            | Self::BadRequest
            | Self::Silent
            | Self::Invalid => false,
        }
    }
}

/// A failure before content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// The provider surely ran nothing.
    pub nothing_ran: bool,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// What a route allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPolicy {
    /// The most requests to providers for one answer.
    pub attempts: u32,
    /// The most of them to one deployment.
    pub attempts_each: u32,
    /// Requests may run twice, as whoever wrote them says.
    pub idempotent: bool,
    /// The longest pause that is waited for.
    pub longest_pause: Duration,
    /// When another deployment is asked beside the first, if ever.
    pub hedge_after: Option<HedgeAfter>,
}

impl Default for AttemptPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            attempts_each: 3,
            idempotent: false,
            longest_pause: Duration::from_secs(20),
            hedge_after: None,
        }
    }
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Standing {
    /// Attempts so far, this one included.
    pub made: u32,
    /// Those of them to this deployment.
    pub made_here: u32,
    /// Another deployment is there that was not asked and may be.
    pub others: bool,
    /// One of those takes longer requests than this one.
    pub larger: bool,
    /// The deployment has another key, which does not rest.
    pub other_key: bool,
    /// The deployment's retry budget has one left.
    pub in_budget: bool,
    /// The pause that is due without a word of the provider's.
    pub backoff: Duration,
    /// When the client wants to have heard something.
    pub deadline: Option<UnixMillis>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// The next deployment, now.
    Other,
    /// The next deployment that takes longer requests, now.
    Larger,
    /// The same deployment with another key, now.
    OtherKey,
    /// The same deployment, after a pause. It costs one of its retries.
    Again(Duration),
    /// Nobody: the failure is the answer.
    GiveUp,
}

impl AttemptPolicy {
    /// One request, and what comes of it is the answer.
    pub const ONE: Self = Self {
        attempts: 1,
        attempts_each: 1,
        idempotent: false,
        longest_pause: Duration::ZERO,
        hedge_after: None,
    };

    /// Until when a deployment that was asked at `asked_at` is waited for, so that one of the
    /// `others` has a chance before the client is gone: for half of the time that is left. `None`
    /// if the client waits for ever, or nobody else is asked.
    pub fn share(
        &self,
        asked_at: UnixMillis,
        deadline: Option<UnixMillis>,
        made: u32,
        others: usize,
    ) -> Option<UnixMillis> {
        let left = deadline?.since(asked_at);
        (others > 0 && made < self.attempts).then(|| asked_at.plus(left / 2))
    }

    /// Decides. Another deployment comes before a pause, as somebody waits.
    pub fn decide(&self, now: UnixMillis, failure: Failure, standing: &Standing) -> Next {
        let late = standing.deadline.is_some_and(|deadline| deadline <= now);
        if failure.kind.blames_request() || late || standing.made >= self.attempts {
            return Next::GiveUp;
        }
        if failure.kind == FailureKind::ContextLength {
            return if standing.larger {
                Next::Larger
            } else {
                Next::GiveUp
            };
        }
        let safe = failure.nothing_ran || self.idempotent;
        if standing.other_key && safe && failure.kind.blames_key() {
            return Next::OtherKey;
        }
        if standing.others {
            return Next::Other;
        }
        let allowed = standing.made_here < self.attempts_each && standing.in_budget;
        if !(failure.kind.may_pass() && safe && allowed) {
            return Next::GiveUp;
        }
        let pause = failure.retry_after.unwrap_or(standing.backoff);
        let in_time = standing
            .deadline
            .is_none_or(|deadline| now.plus(pause) < deadline);
        if pause <= self.longest_pause && in_time {
            Next::Again(pause)
        } else {
            Next::GiveUp
        }
    }
}

/// Only OpenAI has a code for it; of the others only the words tell (looked up on 2026-11-23).
fn is_too_long(fault: &Fault) -> bool {
    const WORDS: [&str; 8] = [
        "context length",
        "context window",
        "prompt is too long",
        "input is too long",
        "input token count",
        "too many tokens",
        "too many input tokens",
        "maximum number of tokens",
    ];
    let message = fault.message.to_ascii_lowercase();
    fault.code.as_deref() == Some("context_length_exceeded")
        || WORDS.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests;
