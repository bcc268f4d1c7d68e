//! What an upstream says instead of an answer.

use bytes::Bytes;

use super::{Answer, Body, Reading, Step};
use crate::dialect::openai::{self, UpstreamFault};
use crate::dialect::{ClientDialect, redact};
use crate::error::{Error, ErrorCode};
use crate::fault::{Fault, FaultKind};
use crate::frame::sse::SseEvent;
use crate::policy::attempt::FailureKind;
use crate::writer::Plan;
use crate::writer::outcome::{Outcome, Told, status_says_not_run};

impl Answer {
    /// The body of an error status, or of a 200 that is not a stream.
    pub(super) fn refused(&mut self, plan: &Plan) -> Step {
        let Body::Refusal { bytes } = &mut self.body else {
            return Step::default();
        };
        let body = std::mem::take(bytes).freeze();
        let status = self.head.status;
        if (200..300).contains(&status) {
            return Step::end(self.not_a_stream(plan, &body));
        }
        Step::end(match &self.reading {
            Reading::OpenAi => {
                self.openai_fault(plan, openai::fault_from_body(status, &body), None)
            }
            Reading::Observed(_) | Reading::Translated(_) => {
                self.fault(plan, plan.leg().provider.read_error(status, &body), None)
            }
        })
    }

    /// A 200 that is not the stream that was asked for: an error, or something else altogether.
    fn not_a_stream(&self, plan: &Plan, body: &[u8]) -> Outcome {
        if let Reading::OpenAi = &self.reading {
            return match openai::observe_body(body).kind {
                openai::Kind::Error(fault) => self.openai_fault(plan, fault, None),
                _ => self.not_the_api(plan, body),
            };
        }
        // All APIs have their errors in a member of that name.
        match openai::observe_body(body).kind {
            openai::Kind::Error(plain) => {
                let fault = plan.leg().provider.read_error(self.head.status, body);
                let status = plain.status;
                self.fault(plan, Fault { status, ..fault }, None)
            }
            _ => self.not_the_api(plan, body),
        }
    }

    /// The provider itself reports an error: its words, type and code are kept.
    pub(super) fn openai_fault(
        &self,
        plan: &Plan,
        mut fault: UpstreamFault,
        event: Option<SseEvent>,
    ) -> Outcome {
        let status = self.status(fault.status).unwrap_or(502);
        fault.message = explained(plan, status, fault.message);
        let event = event.filter(|_| self.delivered);
        let event = event.unwrap_or_else(|| SseEvent {
            name: Bytes::new(),
            data: openai::fault_body(&fault, ErrorCode::UpstreamError),
        });
        fault.status = Some(status);
        self.passed_on(plan, status, &fault.into(), Told::Event(event))
    }

    /// The same for other APIs than OpenAI's, in the client's own words. An event that is of the
    /// client's dialect goes through as it is.
    pub(super) fn fault(&self, plan: &Plan, mut fault: Fault, event: Option<SseEvent>) -> Outcome {
        let client = plan.surface.client().unwrap_or(ClientDialect::OpenAiChat);
        let status = self.status(fault.status).unwrap_or(match fault.kind {
            FaultKind::Overloaded if client == ClientDialect::Anthropic => 529,
            kind => kind.status(),
        });
        fault.status = Some(status);
        fault.message = explained(plan, status, fault.message);
        let told = match event.filter(|_| self.delivered) {
            Some(event) => Told::Event(event),
            None => Told::Fault(fault.clone()),
        };
        self.passed_on(plan, status, &fault, told)
    }

    /// The status of a failure: what its words name, or the head's.
    fn status(&self, named: Option<u16>) -> Option<u16> {
        let head = Some(self.head.status).filter(|status| *status >= 400);
        named.or(head).filter(|status| (400..600).contains(status))
    }

    fn passed_on(&self, plan: &Plan, status: u16, fault: &Fault, told: Told) -> Outcome {
        let mut error = Error::new(ErrorCode::UpstreamError, &fault.message);
        error.retry_after = fault.retry_after.or(self.head.retry_after);
        let mut outcome = Outcome::passed_on(error, told);
        outcome.failure = Some(FailureKind::of(fault));
        outcome.http_status = Some(status);
        outcome.nothing_ran = !self.delivered && status_says_not_run(status, plan.leg().provider);
        outcome
    }

    pub(super) fn not_the_api(&self, plan: &Plan, body: &[u8]) -> Outcome {
        let message = format!(
            "Upstream `{}` answered {} with `{}`, which is not {}: {} Check its base_url.",
            plan.leg().upstream,
            self.head.status,
            self.head
                .content_type
                .as_deref()
                .map_or("no Content-Type", |kind| kind),
            plan.leg().provider.title(),
            excerpt(body),
        );
        let error = Error::new(ErrorCode::UpstreamInvalid, message);
        Outcome::upstream_failed(error, FailureKind::Invalid)
    }
}

/// Says whose key was refused: else a client would look for the mistake in its own.
fn explained(plan: &Plan, status: u16, reason: String) -> String {
    if matches!(status, 401 | 403) {
        return format!(
            "Upstream `{}` refused this gateway's key: {reason}",
            plan.leg().upstream
        );
    }
    reason
}

/// The beginning of something unexpected, safe to print.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]);
    let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("\"{}\"", redact(&text))
}
