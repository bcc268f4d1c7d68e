//! An answer that is not streamed.

use bytes::{Bytes, BytesMut};

use super::usage::estimate;
use super::{Answer, Body, Reading, Step};
use crate::dialect::{DecodeError, observe, openai};
use crate::event::{Event, Usage, tokens_of};
use crate::frame::sse::SseEvent;
use crate::limits::UNARY_PIECE_BYTES;
use crate::writer::Plan;
use crate::writer::outcome::Outcome;

impl Answer {
    pub(super) fn more_of_a_whole(&mut self, plan: &Plan, chunk: &Bytes) -> Step {
        let Body::Whole { bytes, pieces } = &mut self.body else {
            return Step::default();
        };
        bytes.extend_from_slice(chunk);
        let mut step = Step {
            // White space is what some providers send while there is no body yet.
            progress: chunk.iter().any(|byte| !byte.is_ascii_whitespace()),
            ..Step::default()
        };
        let needs_whole = match &self.reading {
            Reading::Translated(_) => true,
            Reading::Observed(observer) => observer.needs_whole(),
            Reading::OpenAi => false,
        };
        if needs_whole {
            // All of it is needed at once, so it is bounded as an event is.
            let limit = plan.limits.event_bytes;
            if bytes.len() > limit {
                let outcome = Outcome::too_large("limits.event_bytes", limit as u64);
                return Step::end(outcome);
            }
            return step;
        }
        step.events = split(bytes);
        *pieces += step.events.len() as u64;
        self.content_events += step.events.len() as u64;
        self.delivered |= !step.events.is_empty();
        step
    }

    /// The whole of a unary body is here.
    pub(super) fn whole(&mut self, plan: &Plan) -> Step {
        let Body::Whole { bytes, pieces } = &mut self.body else {
            return Step::default();
        };
        let rest = std::mem::take(bytes).freeze();
        if *pieces > 0 {
            self.content_events += 1;
            let last = (!rest.is_empty()).then(|| piece(rest));
            return completed(last.into_iter().collect());
        }
        let (usage, body) = match &mut self.reading {
            Reading::OpenAi => {
                let seen = openai::observe_body(&rest);
                match seen.kind {
                    openai::Kind::Error(fault) => {
                        return Step::end(self.openai_fault(plan, fault, None));
                    }
                    openai::Kind::Malformed | openai::Kind::Done => {
                        return Step::end(self.not_the_api(plan, &rest));
                    }
                    openai::Kind::Content | openai::Kind::Preamble => (seen.usage, rest),
                }
            }
            Reading::Observed(observer) => {
                let seen = observer.observe_body(&rest);
                match seen.kind {
                    observe::Kind::Error(fault) => {
                        return Step::end(self.fault(plan, fault, None));
                    }
                    observe::Kind::Malformed => return Step::end(self.not_the_api(plan, &rest)),
                    observe::Kind::Cut(what) => return Step::end(Outcome::cut(plan, what)),
                    _ => (seen.usage, observer.name_body(rest)),
                }
            }
            Reading::Translated(translation) => {
                match plan.leg().provider.read_answer(&rest, &translation.head.id) {
                    Ok(mut answer) => {
                        let parts = answer
                            .choices
                            .iter()
                            .map(|choice| choice.parts.len() as u64);
                        let parts: u64 = parts.sum();
                        let usage = answer
                            .usage
                            .get_or_insert_with(|| estimate_of(plan, &rest, parts));
                        let usage = Some(usage.clone());
                        let body = translation.client.write_answer(&answer, &translation.head);
                        (usage, body)
                    }
                    Err(DecodeError::Malformed { .. }) => {
                        return Step::end(self.not_the_api(plan, &rest));
                    }
                    Err(error) => return Step::end(self.undecodable(plan, error)),
                }
            }
        };
        self.usage = usage;
        self.finished = 1;
        self.content_events += 1;
        self.delivered = true;
        completed(in_parts(body))
    }
}

/// By the size of its text; the frame around that is about 200 bytes.
fn estimate_of(plan: &Plan, body: &[u8], parts: u64) -> Usage {
    let text = body.len().saturating_sub(200);
    estimate(plan, tokens_of(text).max(parts))
}

fn completed(events: Vec<SseEvent>) -> Step {
    Step {
        events,
        outcome: Some(Outcome::completed()),
        progress: true,
    }
}

/// A body as the log takes it: one event, or several pieces.
fn in_parts(body: Bytes) -> Vec<SseEvent> {
    if body.len() <= UNARY_PIECE_BYTES {
        return vec![SseEvent {
            name: Bytes::new(),
            data: body,
        }];
    }
    let mut rest = BytesMut::from(body);
    let mut events = split(&mut rest);
    events.push(piece(rest.freeze()));
    events
}

/// Takes whole pieces off the front.
fn split(bytes: &mut BytesMut) -> Vec<SseEvent> {
    let mut events = Vec::new();
    while bytes.len() > UNARY_PIECE_BYTES {
        let border = char_border(bytes, UNARY_PIECE_BYTES);
        events.push(piece(bytes.split_to(border).freeze()));
    }
    events
}

fn piece(data: Bytes) -> SseEvent {
    SseEvent {
        name: Bytes::from_static(Event::PIECE.as_bytes()),
        data,
    }
}

/// The largest character border at or below `at`, in text that may be cut anywhere.
fn char_border(bytes: &[u8], at: usize) -> usize {
    let back = (0..4).find(|back| bytes[at - back] & 0xC0 != 0x80);
    at - back.unwrap_or(0)
}
