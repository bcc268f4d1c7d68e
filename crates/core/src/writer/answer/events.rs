//! One event of a streamed answer.

use bytes::Bytes;

use super::refusal::excerpt;
use super::translation::{Broken, Heard};
use super::{Answer, Body, Reading, Step};
use crate::dialect::observe::{self, Closing, Observation};
use crate::dialect::openai::{self, Kind};
use crate::dialect::{DecodeError, Handle, ProviderDialect};
use crate::error::{Error, ErrorCode};
use crate::frame::event::EventError;
use crate::frame::sse::SseEvent;
use crate::limits;
use crate::policy::attempt::FailureKind;
use crate::writer::Plan;
use crate::writer::outcome::Outcome;

impl Answer {
    /// The events of one read, and how their framing came out.
    pub(super) fn take_events(
        &mut self,
        plan: &Plan,
        mut events: Vec<SseEvent>,
        result: Result<(), EventError>,
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

    pub(super) fn take_event(&mut self, plan: &Plan, event: SseEvent, step: &mut Step) {
        if plan.leg().provider == ProviderDialect::OpenAiResponses {
            match &self.handle {
                Some(handle) if handle.is_heartbeat(&event) => return,
                None if !self.has_content() => self.handle = Handle::of_event(&event),
                _ => {}
            }
        }
        match &mut self.reading {
            Reading::OpenAi => {
                let shadowed = self.shadow.is_some().then(|| event.clone());
                self.openai_event(plan, event, step);
                self.cast_shadow(plan, shadowed, step);
            }
            Reading::Observed(observer) => {
                let mut event = event;
                let seen = observer.observe(&mut event);
                let shadowed = self.shadow.is_some().then(|| event.clone());
                self.observed_event(plan, event, seen, step);
                self.cast_shadow(plan, shadowed, step);
            }
            Reading::Translated(translation) => {
                let heard = translation.push(plan, &event, &mut step.events);
                self.hear(plan, heard, step);
            }
        }
    }

    /// An event that ends the answer, or cuts it, is nothing to go on from.
    fn cast_shadow(&mut self, plan: &Plan, event: Option<SseEvent>, step: &Step) {
        if let (Some(shadow), Some(event), None) = (&mut self.shadow, event, &step.outcome)
            && !shadow.push(plan, &event)
        {
            self.shadow = None;
        }
    }

    /// The upstream's stream is over, `properly` or as its connection broke: gives what its answer lacks but for its content, or says that
    /// it was cut.
    pub(super) fn close(&mut self, plan: &Plan, properly: bool, step: &mut Step) {
        let is_finished = self.is_finished(plan);
        let closing = match &mut self.reading {
            Reading::Translated(translation) => {
                let heard = translation.finish(plan, &mut step.events);
                return self.hear(plan, heard, step);
            }
            Reading::OpenAi if is_finished => Closing::Lacks(SseEvent {
                name: Bytes::new(),
                data: Bytes::from_static(b"[DONE]"),
            }),
            Reading::OpenAi => Closing::Cut("ended its answer without a finish_reason"),
            Reading::Observed(observer) if properly => observer.close(),
            Reading::Observed(observer) => observer.abandon(plan.choices),
        };
        step.outcome = Some(match closing {
            Closing::Cut(what) => Outcome::cut(plan, what),
            Closing::Whole => {
                step.progress = true;
                self.commit(step);
                Outcome::completed()
            }
            Closing::Lacks(end) => {
                step.progress = true;
                self.commit(step);
                step.events.push(end);
                Outcome::completed()
            }
        });
    }

    fn openai_event(&mut self, plan: &Plan, event: SseEvent, step: &mut Step) {
        let seen = openai::observe(&event.data);
        if &*event.name == b"error" && !matches!(seen.kind, Kind::Error(_)) {
            // Only the name tells, and it is not passed on: so its reader gets an error object.
            let fault = openai::fault_from_event(&event.data);
            step.outcome = Some(self.openai_fault(plan, fault, None));
            return;
        }
        // The dialect names no events.
        let event = SseEvent {
            name: Bytes::new(),
            data: event.data,
        };
        if let Some(usage) = seen.usage {
            self.usage = Some(usage);
        }
        self.finished += self.marks.take(seen.choices);
        step.progress = true;
        match seen.kind {
            Kind::Preamble if !self.has_content() && !seen.usage_only => self.hold(&event, step),
            Kind::Preamble | Kind::Content if seen.usage_only => {
                if plan.show_usage {
                    self.commit(step);
                    step.events.push(event);
                }
            }
            Kind::Preamble | Kind::Content => {
                self.commit(step);
                self.content_events += 1;
                step.events.push(event);
            }
            Kind::Done if self.marks.all_finished() => {
                self.commit(step);
                step.events.push(event);
                step.outcome = Some(Outcome::completed());
            }
            Kind::Done => {
                let what = "sent [DONE] without a finish_reason";
                step.outcome = Some(Outcome::cut(plan, what));
            }
            Kind::Error(fault) => step.outcome = Some(self.openai_fault(plan, fault, Some(event))),
            Kind::Malformed => self.malformed(plan, &event.data, step),
        }
    }

    fn observed_event(&mut self, plan: &Plan, event: SseEvent, seen: Observation, step: &mut Step) {
        self.usage = seen.usage.or(self.usage.take());
        self.finished += seen.finished;
        // Somebody lives there, and gets on with nothing.
        step.progress |= seen.kind != observe::Kind::Ping;
        match seen.kind {
            observe::Kind::Ping | observe::Kind::Preamble if !self.has_content() => {
                self.hold(&event, step);
            }
            observe::Kind::Ping | observe::Kind::Preamble => step.events.push(event),
            observe::Kind::Content => {
                self.commit(step);
                self.content_events += 1;
                step.events.push(event);
            }
            observe::Kind::Done => {
                self.commit(step);
                step.events.push(event);
                step.outcome = Some(Outcome::completed());
            }
            observe::Kind::Cut(what) => step.outcome = Some(Outcome::cut(plan, what)),
            observe::Kind::Error(fault) => {
                step.outcome = Some(self.fault(plan, fault, Some(event)));
            }
            observe::Kind::Malformed => self.malformed(plan, &event.data, step),
        }
    }

    fn hear(&mut self, plan: &Plan, heard: Heard, step: &mut Step) {
        step.progress |= heard.progress;
        self.usage = heard.usage.or(self.usage.take());
        self.finished += heard.finished;
        self.content_events += heard.pieces;
        self.delivered |= heard.told;
        if let Some(fault) = heard.fault {
            step.outcome = Some(self.fault(plan, fault, None));
        } else if let Some(broken) = heard.broken {
            step.outcome = match broken {
                Broken::Api(DecodeError::Malformed { .. }) if self.is_finished(plan) => None,
                Broken::Api(error) => Some(self.undecodable(plan, error)),
                Broken::Diverged => Some(Outcome::diverged(plan)),
            };
        } else if heard.ended {
            step.outcome = Some(Outcome::completed());
        }
    }

    pub(super) fn undecodable(&self, plan: &Plan, error: DecodeError) -> Outcome {
        match error {
            DecodeError::Cut(what) => Outcome::cut(plan, what),
            DecodeError::Failed(fault) => self.fault(plan, fault, None),
            error @ (DecodeError::Malformed { .. } | DecodeError::TooMany(_)) => {
                let message = format!(
                    "Upstream `{}` cannot be understood: {error}.",
                    plan.leg().upstream
                );
                Outcome::upstream_failed(
                    Error::new(ErrorCode::UpstreamInvalid, message),
                    FailureKind::Invalid,
                )
            }
        }
    }

    /// An event that is not of the API. Behind the end of all choices it is passed over, as nothing of the
    /// answer is lost with it.
    fn malformed(&self, plan: &Plan, data: &[u8], step: &mut Step) {
        if self.is_finished(plan) {
            return;
        }
        let message = format!(
            "Upstream `{}` sent an event that is not of its API: {}",
            plan.leg().upstream,
            excerpt(data),
        );
        step.outcome = Some(Outcome::upstream_failed(
            Error::new(ErrorCode::UpstreamInvalid, message),
            FailureKind::Invalid,
        ));
    }

    /// Holds a preamble event back; too many of them count as content, so that memory is bounded.
    fn hold(&mut self, event: &SseEvent, step: &mut Step) {
        let Body::Events {
            preamble,
            preamble_bytes,
            ..
        } = &mut self.body
        else {
            return;
        };
        *preamble_bytes += event.data.len();
        let over = *preamble_bytes > limits::PREAMBLE_BYTES;
        // A copy, so that a small role chunk does not hold the whole read buffer while the model
        // thinks.
        preamble.push(SseEvent {
            name: Bytes::copy_from_slice(&event.name),
            data: Bytes::copy_from_slice(&event.data),
        });
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
}
