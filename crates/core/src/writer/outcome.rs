//! How a generation ends, and what its last event says.

use std::time::Duration;

use super::Plan;
use crate::dialect::{ClientDialect, Place, ProviderDialect, hide};
use crate::error::{Error, ErrorCode};
use crate::event::{Mode, Status, Usage};
use crate::fault::Fault;
use crate::frame::event::EventError;
use crate::frame::sse::SseEvent;
use crate::id::UnixMillis;
use crate::policy::attempt::{Failure, FailureKind};
use crate::policy::breaker::Verdict;
use crate::policy::deployment::Report;
use crate::record::{Abandoned, End};

/// An upstream's failure.
#[derive(Debug)]
pub(super) enum Told {
    /// As its own event, which goes through as it is.
    Event(SseEvent),
    /// To be said in the client's dialect.
    Fault(Fault),
}

/// An end that was decided but not logged yet.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None` when the answer is whole.
    error: Option<Error>,
    /// What the upstream says of it, instead of us.
    told: Option<Box<Told>>,
    /// The status a client gets whose head is not out yet; the code's own one if absent.
    pub(super) http_status: Option<u16>,
    /// The provider surely ran nothing.
    pub(super) nothing_ran: bool,
    /// The upstream may still be sending.
    pub(super) hang_up: bool,
    /// What of the upstream's failed. `None` where another one would not do better.
    pub(super) failure: Option<FailureKind>,
    manner: Manner,
}

/// What is special about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    /// It was given up for the client's sake, which says nothing about the upstream.
    Hurried,
    /// The client was told already, as a proper end.
    Proper,
}

impl Outcome {
    pub(super) fn completed() -> Self {
        Self {
            error: None,
            told: None,
            http_status: None,
            nothing_ran: false,
            hang_up: false,
            failure: None,
            manner: Manner::Plain,
        }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            hang_up: true,
            ..Self::completed()
        }
    }

    /// The upstream failed.
    pub(super) fn upstream_failed(error: Error, failure: FailureKind) -> Self {
        Self {
            failure: Some(failure),
            ..Self::failed(error)
        }
    }

    /// The upstream was silent for longer than others can wait.
    pub(super) fn hurried(error: Error) -> Self {
        Self {
            manner: Manner::Hurried,
            ..Self::upstream_failed(error, FailureKind::Silent)
        }
    }

    /// The upstream reported an error.
    pub(super) fn passed_on(error: Error, told: Told) -> Self {
        Self {
            told: Some(told.into()),
            ..Self::failed(error)
        }
    }

    pub(super) fn stopped(code: ErrorCode, nothing_ran: bool) -> Self {
        let message = match code {
            ErrorCode::DrainTimeout => "The gateway is ending, and this answer took too long.",
            ErrorCode::BudgetExhausted => "The budgets of this request have nothing left.",
            _ => "The generation was cancelled before its end.",
        };
        Self {
            nothing_ran,
            ..Self::failed(Error::new(code, message))
        }
    }

    /// It was ended as its budgets have nothing left.
    pub(super) fn exhausted() -> Self {
        Self {
            manner: Manner::Proper,
            ..Self::stopped(ErrorCode::BudgetExhausted, false)
        }
    }

    pub(super) fn too_large(what: &str, limit: u64) -> Self {
        let message = format!("The answer is larger than {what} = {limit}; it was stopped there.");
        Self::failed(Error::new(ErrorCode::StreamTooLarge, message).param(what))
    }

    /// What should have been the same answer is another one.
    pub(super) fn diverged(plan: &Plan) -> Self {
        let message = format!(
            "The answer was cut, and upstream `{}` says something else than what was delivered.",
            plan.leg().upstream
        );
        Self::failed(Error::new(ErrorCode::Diverged, message))
    }

    /// The upstream's answer has no end.
    pub(super) fn cut(plan: &Plan, what: &str) -> Self {
        let message = format!(
            "Upstream `{}` {what}; what came is not the whole answer.",
            plan.leg().upstream
        );
        Self::upstream_failed(
            Error::new(ErrorCode::UpstreamCut, message),
            FailureKind::Broken,
        )
    }

    pub(super) fn unreadable(plan: &Plan, error: EventError) -> Self {
        let message = format!(
            "Upstream `{}` sent an unreadable event: {error}.",
            plan.leg().upstream
        );
        let code = match error {
            EventError::TooLarge { .. } => ErrorCode::EventTooLarge,
            EventError::Malformed(_) => ErrorCode::UpstreamInvalid,
        };
        Self::upstream_failed(Error::new(code, message), FailureKind::Invalid)
    }

    /// Whether the answer is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.error.is_none()
    }

    /// Whether the upstream itself said that it failed.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The failure as it goes into the log when another attempt is made.
    pub(super) fn abandoned(&self, attempt: u32, upstream: &str) -> Abandoned {
        let code = self.error.as_ref().map(|error| error.code);
        Abandoned {
            attempt,
            upstream: upstream.to_owned(),
            reason: self.reason(),
            http_status: self.http_status.or(code.map(ErrorCode::status)),
            nothing_ran: self.nothing_ran,
            usage: None,
            instead: None,
        }
    }

    /// What failed, as audit records have it.
    pub(super) fn reason(&self) -> String {
        let code = self.error.as_ref().map(|error| error.code);
        if let Some(ErrorCode::GatewayRestarted | ErrorCode::OutcomeUnknown) = code {
            return ErrorCode::GatewayRestarted.as_str().to_owned();
        }
        self.failure.map_or("", FailureKind::as_str).to_owned()
    }

    /// What it says of the deployment, which took so long to say something.
    pub(super) fn report(&self, plan: &Plan, first_content: Option<Duration>) -> Report {
        let failure = self.failure().filter(|_| self.manner != Manner::Hurried);
        Report {
            verdict: match failure {
                Some(failure) => failure.kind.verdict(),
                None if self.is_whole() => Verdict::Success,
                None => Verdict::Neutral,
            },
            failure: failure.map(|failure| failure.kind),
            retry_after: failure.and_then(|failure| failure.retry_after),
            first_content,
            streamed: plan.mode == Mode::Stream,
        }
    }

    /// What decides about the next attempt; `None` where there is none to be made.
    pub(super) fn failure(&self) -> Option<Failure> {
        Some(Failure {
            kind: self.failure?,
            nothing_ran: self.nothing_ran,
            retry_after: self.error.as_ref().and_then(|error| error.retry_after),
        })
    }

    /// The last event, if the outcome has one of its own.
    pub(super) fn event(&self, plan: &Plan, place: impl FnOnce() -> Place) -> Option<SseEvent> {
        let error = self
            .error
            .as_ref()
            .filter(|_| self.manner != Manner::Proper)?;
        let event = match self.told.as_deref() {
            Some(Told::Event(event)) => event.clone(),
            Some(Told::Fault(fault)) => {
                let client = plan.surface.client().unwrap_or(ClientDialect::OpenAiChat);
                client.error_event(fault, &place())
            }
            None => {
                let error = error.clone().stream(plan.stream);
                plan.surface.error_event(&error, &place())
            }
        };
        Some(SseEvent {
            name: event.name,
            // Providers quote the key that they refuse.
            data: hide(event.data, &plan.leg().secrets.all()),
        })
    }

    pub(super) fn end(&self, plan: &Plan, usage: Usage, now: UnixMillis) -> End {
        let code = self.error.as_ref().map(|error| error.code);
        End {
            status: code.map_or(Status::Completed, Status::of),
            reason: code.map(|code| code.as_str().to_owned()),
            http_status: code
                .filter(|_| self.manner != Manner::Proper)
                .map(|code| self.http_status.unwrap_or(code.status())),
            retry_after: self
                .error
                .as_ref()
                .and_then(|e| e.retry_after)
                // A client that comes back too early is refused again.
                .and_then(|pause| u64::try_from(pause.as_millis().div_ceil(1000)).ok()),
            upstream: Some(plan.leg().upstream.clone()),
            usage,
            release_claim: self.nothing_ran,
            at: now,
        }
    }
}

/// Statuses with which a provider says that it did not run the request.
pub(super) fn status_says_not_run(status: u16, provider: ProviderDialect) -> bool {
    let overloaded = status == 529 && provider == ProviderDialect::Anthropic;
    overloaded || matches!(status, 401 | 403 | 404 | 422 | 429 | 503)
}
