//! The upstream's answer as it comes in: from bytes to the payloads of events, and to how it ends.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::outcome::{Outcome, status_says_not_run};
use super::{Breakage, Plan, UpstreamHead};
use crate::dialect::openai::{self, Kind, UpstreamFault};
use crate::dialect::redact;
use crate::error::{Error, ErrorCode};
use crate::event::{Mode, Usage};
use crate::frame::sse::{SseDecoder, SseError, SseEvent};
use crate::limits;
use crate::record::Record;
use crate::units::show_duration;

/// What one input brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Payloads of events, in order.
    pub(super) events: Vec<Bytes>,
    /// How it ends, if it does.
    pub(super) outcome: Option<Outcome>,
    /// Whether the upstream made progress; comments and empty events are none.
    pub(super) progress: bool,
}

impl Step {
    fn end(outcome: Outcome) -> Self {
        Self {
            outcome: Some(outcome),
            ..Self::default()
        }
    }
}

/// The state of the upstream's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Audit records that go out with the next append.
    pub(super) pending: Vec<Record>,
    body: Body,
    head: UpstreamHead,
    usage: Option<Usage>,
    /// Content events, which stand for tokens when the provider counts none.
    content_events: u64,
    /// Choices with a `finish_reason`.
    finished: u32,
    /// Whether an event was handed on, so that an error comes after content.
    delivered: bool,
}

#[derive(Debug)]
enum Body {
    Unknown,
    Events {
        decoder: SseDecoder,
        decoded: Vec<SseEvent>,
        /// Role chunks and the like: held back until content commits the answer.
        preamble: Vec<Bytes>,
        preamble_bytes: usize,
    },
    Whole {
        bytes: BytesMut,
        pieces: u64,
    },
    /// An error status, or a 200 that is not what was asked for.
    Refusal {
        bytes: BytesMut,
    },
}

impl Answer {
    pub(super) fn new() -> Self {
        Self {
            pending: Vec::new(),
            body: Body::Unknown,
            head: UpstreamHead::default(),
            usage: None,
            content_events: 0,
            finished: 0,
            delivered: false,
        }
    }

    pub(super) fn has_content(&self) -> bool {
        self.content_events > 0
    }

    /// Whether every choice has its end, so that only `[DONE]` can be missing.
    fn is_whole(&self, plan: &Plan) -> bool {
        self.finished >= plan.choices.max(1)
    }

    /// The name of the next event: a unary answer in pieces says so.
    pub(super) fn event_name(&self) -> Bytes {
        match &self.body {
            Body::Whole { pieces, .. } if *pieces > 0 => Bytes::from_static(b"response.part"),
            _ => Bytes::new(),
        }
    }

    pub(super) fn head(&mut self, plan: &Plan, head: UpstreamHead) -> Result<(), Box<Outcome>> {
        let encoding = head.content_encoding.as_deref().unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            let message = format!(
                "Upstream `{}` answered with Content-Encoding: {}, which was not asked for.",
                plan.upstream,
                excerpt(encoding.as_bytes()),
            );
            return Err(Outcome::failed(Error::new(ErrorCode::UpstreamInvalid, message)).into());
        }
        let success = (200..300).contains(&head.status);
        let kind = head.content_type.as_deref().unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        // A missing type is taken for what was asked for: several local servers send none.
        let is_stream = kind == "text/event-stream" || kind.is_empty();
        self.body = match plan.mode {
            Mode::Stream if success && is_stream => Body::Events {
                decoder: SseDecoder::new(plan.limits.event_bytes),
                decoded: Vec::new(),
                preamble: Vec::new(),
                preamble_bytes: 0,
            },
            Mode::Unary if success => Body::Whole {
                bytes: BytesMut::new(),
                pieces: 0,
            },
            Mode::Stream | Mode::Unary => Body::Refusal {
                bytes: BytesMut::new(),
            },
        };
        self.head = head;
        Ok(())
    }

    pub(super) fn bytes(&mut self, plan: &Plan, chunk: &Bytes) -> Step {
        match &mut self.body {
            Body::Unknown => Step::default(),
            Body::Refusal { bytes } => {
                let room = limits::UPSTREAM_ERROR_BYTES.saturating_sub(bytes.len());
                bytes.extend_from_slice(&chunk[..room.min(chunk.len())]);
                if room <= chunk.len() {
                    self.refused(plan)
                } else {
                    Step::default()
                }
            }
            Body::Whole { bytes, pieces } => {
                bytes.extend_from_slice(chunk);
                let mut step = Step {
                    progress: true,
                    ..Step::default()
                };
                while bytes.len() > limits::UNARY_PIECE_BYTES {
                    *pieces += 1;
                    let border = char_border(bytes, limits::UNARY_PIECE_BYTES);
                    step.events.push(bytes.split_to(border).freeze());
                }
                self.content_events += step.events.len() as u64;
                self.delivered |= !step.events.is_empty();
                step
            }
            Body::Events {
                decoder, decoded, ..
            } => {
                let mut events = std::mem::take(decoded);
                let result = decoder.push(chunk, &mut events);
                self.take_events(plan, events, result)
            }
        }
    }

    pub(super) fn ended(&mut self, plan: &Plan) -> Step {
        match &mut self.body {
            Body::Unknown => {
                Step::end(Outcome::cut(plan, "closed the connection before an answer"))
            }
            Body::Refusal { .. } => self.refused(plan),
            Body::Whole { .. } => self.whole(plan),
            Body::Events {
                decoder, decoded, ..
            } => {
                let mut events = std::mem::take(decoded);
                let result = decoder.finish(&mut events);
                let mut step = self.take_events(plan, events, result);
                if step.outcome.is_none() {
                    let rest = if self.is_whole(plan) {
                        Self::closed()
                    } else {
                        Step::end(Outcome::cut(
                            plan,
                            "ended its answer without a finish_reason",
                        ))
                    };
                    step.events.extend(rest.events);
                    step.outcome = rest.outcome;
                }
                step
            }
        }
    }

    /// The connection broke, or was never made.
    pub(super) fn broken(&mut self, plan: &Plan, breakage: Breakage) -> Step {
        match &self.body {
            Body::Events { .. } if self.is_whole(plan) => Self::closed(),
            Body::Refusal { bytes } if !bytes.is_empty() => self.refused(plan),
            _ => {
                let mut outcome = Outcome::failed(Error::new(breakage.code, breakage.message));
                outcome.nothing_ran = breakage.nothing_ran;
                Step::end(outcome)
            }
        }
    }

    /// The answer is whole; only the dialect's end mark is missing.
    fn closed() -> Step {
        let events = vec![Bytes::from_static(b"[DONE]")];
        Step {
            events,
            outcome: Some(Outcome::completed()),
            progress: true,
        }
    }

    pub(super) fn silent(&self, plan: &Plan, patience: Duration) -> Outcome {
        let what = if self.has_content() {
            "for the next event"
        } else {
            "for its first event"
        };
        let message = format!(
            "Upstream `{}` was silent for {} {what}; it was given up.",
            plan.upstream,
            show_duration(patience),
        );
        Outcome::failed(Error::new(ErrorCode::UpstreamTimeout, message))
    }

    /// The provider's figures, or an estimate that says so.
    pub(super) fn usage(&self, plan: &Plan, nothing_ran: bool) -> Usage {
        match &self.usage {
            Some(usage) => usage.clone(),
            None if nothing_ran || !self.delivered => Usage::default(),
            None => Usage {
                // Four bytes a token is the usual rule of thumb for English text.
                input_tokens: plan.request_bytes as u64 / 4,
                output_tokens: self.content_events,
                estimated: true,
                ..Usage::default()
            },
        }
    }

    fn take_events(
        &mut self,
        plan: &Plan,
        mut events: Vec<SseEvent>,
        result: Result<(), SseError>,
    ) -> Step {
        let mut step = Step::default();
        for event in events.drain(..) {
            if step.outcome.is_some() {
                break;
            }
            self.take_event(plan, event, &mut step);
        }
        if let Body::Events { decoded, .. } = &mut self.body {
            // Keeps its allocation for the next read.
            *decoded = events;
        }
        if let (Err(error), None) = (result, &step.outcome) {
            step.outcome = Some(Outcome::unreadable(plan, error));
        }
        step
    }

    fn take_event(&mut self, plan: &Plan, event: SseEvent, step: &mut Step) {
        let SseEvent { name, data } = event;
        let seen = openai::observe(&data);
        if &*name == b"error" && !matches!(seen.kind, Kind::Error(_)) {
            // Only the name tells, and it is not passed on: so its reader gets an error object.
            step.outcome = Some(self.fault(plan, openai::fault_from_event(&data), None));
            return;
        }
        if let Some(usage) = seen.usage {
            self.usage = Some(usage);
        }
        self.finished += seen.finished_choices;
        step.progress = true;
        match seen.kind {
            Kind::Preamble if !self.has_content() && !seen.usage_only => self.hold(&data, step),
            Kind::Preamble | Kind::Content if seen.usage_only => {
                if plan.show_usage {
                    self.commit(step);
                    step.events.push(data);
                }
            }
            Kind::Preamble | Kind::Content => {
                self.commit(step);
                self.content_events += 1;
                step.events.push(data);
            }
            Kind::Done if self.finished > 0 => {
                self.commit(step);
                step.events.push(data);
                step.outcome = Some(Outcome::completed());
            }
            Kind::Done => {
                let what = "sent [DONE] without a finish_reason";
                step.outcome = Some(Outcome::cut(plan, what));
            }
            Kind::Error(fault) => step.outcome = Some(self.fault(plan, fault, Some(data))),
            Kind::Malformed => {
                let message = format!(
                    "Upstream `{}` sent an event that is not JSON: {}",
                    plan.upstream,
                    excerpt(&data),
                );
                let error = Error::new(ErrorCode::UpstreamInvalid, message);
                step.outcome = Some(Outcome::failed(error));
            }
        }
    }

    /// Holds a preamble event back; too many of them count as content, so that memory is bounded.
    fn hold(&mut self, data: &[u8], step: &mut Step) {
        let Body::Events {
            preamble,
            preamble_bytes,
            ..
        } = &mut self.body
        else {
            return;
        };
        *preamble_bytes += data.len();
        let over = *preamble_bytes > limits::PREAMBLE_BYTES;
        // A copy, so that a small role chunk does not hold the whole read buffer while the model
        // thinks.
        preamble.push(Bytes::copy_from_slice(data));
        if over {
            self.content_events += 1;
            self.commit(step);
        }
    }

    fn commit(&mut self, step: &mut Step) {
        self.delivered = true;
        if let Body::Events { preamble, .. } = &mut self.body {
            step.events.append(preamble);
        }
    }

    /// The whole of a unary body is here.
    fn whole(&mut self, plan: &Plan) -> Step {
        let Body::Whole { bytes, pieces } = &mut self.body else {
            return Step::default();
        };
        let rest = std::mem::take(bytes).freeze();
        if *pieces > 0 {
            self.content_events += 1;
            let events = if rest.is_empty() {
                Vec::new()
            } else {
                vec![rest]
            };
            return Step {
                events,
                outcome: Some(Outcome::completed()),
                progress: true,
            };
        }
        let seen = openai::observe_body(&rest);
        match seen.kind {
            Kind::Error(fault) => Step::end(self.fault(plan, fault, None)),
            Kind::Malformed | Kind::Done => Step::end(self.not_the_api(plan, &rest)),
            Kind::Content | Kind::Preamble => {
                self.usage = seen.usage;
                self.content_events += 1;
                self.delivered = true;
                Step {
                    events: vec![rest],
                    outcome: Some(Outcome::completed()),
                    progress: true,
                }
            }
        }
    }

    /// The body of an error status, or of a 200 that is not a stream.
    fn refused(&mut self, plan: &Plan) -> Step {
        let Body::Refusal { bytes } = &mut self.body else {
            return Step::default();
        };
        let body = std::mem::take(bytes).freeze();
        if (200..300).contains(&self.head.status) {
            return Step::end(match openai::observe_body(&body).kind {
                Kind::Error(fault) => self.fault(plan, fault, None),
                _ => self.not_the_api(plan, &body),
            });
        }
        let fault = openai::fault_from_body(self.head.status, &body);
        Step::end(self.fault(plan, fault, None))
    }

    /// The provider itself reports an error: its words, type and code are kept.
    fn fault(&self, plan: &Plan, mut fault: UpstreamFault, event: Option<Bytes>) -> Outcome {
        let head_status = Some(self.head.status).filter(|status| *status >= 400);
        let status = fault
            .status
            .or(head_status)
            .filter(|s| (400..600).contains(s));
        let status = status.unwrap_or(502);
        if matches!(status, 401 | 403) {
            // Else a client would look for the mistake in its own key.
            let reason = &fault.message;
            fault.message = format!(
                "Upstream `{}` refused this gateway's key: {reason}",
                plan.upstream
            );
        }
        let mut error = Error::new(ErrorCode::UpstreamError, fault.message.clone());
        error.retry_after = self.head.retry_after.map(Duration::from_secs);
        let event = event.filter(|_| self.delivered);
        let event = event.unwrap_or_else(|| openai::fault_body(&fault, error.code));
        let mut outcome = Outcome::passed_on(error, event);
        outcome.http_status = Some(status);
        outcome.nothing_ran = !self.delivered && status_says_not_run(status);
        outcome
    }

    fn not_the_api(&self, plan: &Plan, body: &[u8]) -> Outcome {
        let message = format!(
            "Upstream `{}` answered {} with `{}`, which is not the OpenAI API: {} Check its base_url.",
            plan.upstream,
            self.head.status,
            self.head
                .content_type
                .as_deref()
                .map_or("no Content-Type", |kind| kind),
            excerpt(body),
        );
        Outcome::failed(Error::new(ErrorCode::UpstreamInvalid, message))
    }
}

/// The largest character border at or below `at`, in text that may be cut anywhere.
fn char_border(bytes: &[u8], at: usize) -> usize {
    let back = (0..4).find(|back| bytes[at - back] & 0xC0 != 0x80);
    at - back.unwrap_or(0)
}

/// The beginning of something unexpected, safe to print.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]);
    let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("\"{}\"", redact(&text))
}
