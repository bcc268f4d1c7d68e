//! The upstream's answer as it comes in: from bytes to the events of the client, and to how it ends.
//!
//! Where the upstream speaks the client's dialect its events are looked at and go through as they
//! are; else they are translated. Which of the two it is, [`Reading`] says, once for each answer.

mod events;
mod go_on;
mod refusal;
mod said;
mod stopped;
mod translation;
mod usage;
mod whole;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::outcome::Outcome;
use super::{Breakage, Plan, UpstreamHead, Wait};
use crate::content::Json;
use crate::dialect::observe::{Closing, Observer};
use crate::dialect::openai::Marks;
use crate::dialect::{Handle, Place, ProviderDialect};
use crate::error::{Error, ErrorCode};
use crate::event::{Mode, Usage};
use crate::frame::event::EventDecoder;
use crate::frame::sse::SseEvent;
use crate::id::Seq;
use crate::limits;
use crate::policy::attempt::FailureKind;
use crate::record::Record;
use crate::units::show_duration;
use go_on::Shadow;
use refusal::excerpt;
use translation::Translation;

/// What one input brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The client's events, in order.
    pub(super) events: Vec<SseEvent>,
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
    reading: Reading,
    /// What was delivered of OpenAI's items, where only the log knows it.
    output: Option<Json<'static>>,
    /// By what it can be found again, as its first event says.
    pub(super) handle: Option<Handle>,
    head: UpstreamHead,
    usage: Option<Usage>,
    /// Content events, which stand for tokens when the provider counts none.
    content_events: u64,
    /// Choices whose end is known.
    finished: u32,
    /// For an answer of OpenAI's that passes through: which ones those are.
    marks: Marks,
    /// Whether an event was handed on, so that an error comes after content.
    delivered: bool,
    /// An earlier attempt at the answer was heard, and this one goes on with it.
    goes_on: bool,
    /// Where an answer that goes through may have to go on.
    shadow: Option<Box<Shadow>>,
}

/// How the upstream's answer is understood.
#[derive(Debug)]
enum Reading {
    /// One of OpenAI's older APIs, passed through.
    OpenAi,
    /// Any other API, passed through.
    Observed(Observer),
    /// From the upstream's dialect to the client's.
    Translated(Box<Translation>),
}

impl Reading {
    fn new(plan: &Plan) -> Self {
        match plan.surface.client() {
            Some(client) if !plan.surface.passes_through(plan.leg().provider) => {
                Self::Translated(Box::new(Translation::new(plan, client)))
            }
            _ => Observer::new(plan.surface.native(), plan.stream, &plan.echo)
                .map_or(Self::OpenAi, Self::Observed),
        }
    }
}

#[derive(Debug)]
enum Body {
    Unknown,
    Events {
        decoder: EventDecoder,
        decoded: Vec<SseEvent>,
        /// Role chunks and the like: held back until content commits the answer.
        preamble: Vec<SseEvent>,
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

impl Body {
    fn events(plan: &Plan) -> Self {
        let framing = plan.leg().provider.framing();
        Self::Events {
            decoder: EventDecoder::new(framing, plan.limits.event_bytes),
            decoded: Vec::new(),
            preamble: Vec::new(),
            preamble_bytes: 0,
        }
    }
}

impl Answer {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            pending: Vec::new(),
            body: Body::Unknown,
            reading: Reading::new(plan),
            output: None,
            handle: None,
            head: UpstreamHead::default(),
            usage: None,
            content_events: 0,
            finished: 0,
            marks: Marks::default(),
            delivered: false,
            goes_on: false,
            shadow: Shadow::new(plan),
        }
    }

    /// One of which so many events were delivered, which nobody can go on with but who said them.
    pub(super) fn logged(plan: &Plan, events: u64, output: Option<Json<'static>>) -> Self {
        Self {
            content_events: events,
            delivered: events > 0,
            output,
            shadow: None,
            ..Self::new(plan)
        }
    }

    /// Whether a reader may have heard of it, so that nobody else can answer instead.
    pub(super) const fn is_delivered(&self) -> bool {
        self.delivered || self.goes_on
    }

    /// Whether this attempt, of perhaps several at the answer, was heard of.
    pub(super) const fn is_heard(&self) -> bool {
        self.delivered
    }

    /// Whether the upstream sends events.
    pub(super) const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events { .. })
    }

    /// Where an error comes behind `before` events.
    pub(super) fn place(&self, plan: &Plan, before: Seq) -> Place {
        if self.output.is_some() {
            return Place {
                before: before.get(),
                head: plan.head(),
                output: self.output.clone(),
            };
        }
        match &self.reading {
            Reading::Translated(translation) => translation.place(before.get()),
            Reading::OpenAi | Reading::Observed(_) => Place {
                before: before.get(),
                head: plan.head(),
                output: None,
            },
        }
    }

    pub(super) fn has_content(&self) -> bool {
        self.content_events > 0
    }

    /// Whether the upstream has begun to say something, and should go on with it.
    pub(super) fn has_begun(&self) -> bool {
        // Some providers send white space until they have a body.
        let body = |bytes: &BytesMut| bytes.iter().any(|byte| !byte.is_ascii_whitespace());
        self.has_content() || matches!(&self.body, Body::Whole { bytes, .. } if body(bytes))
    }

    /// Whether nothing of the answer is missing but perhaps its usage and its end mark.
    pub(super) fn is_finished(&self, plan: &Plan) -> bool {
        let all = self.finished >= plan.choices.max(1);
        match &self.reading {
            _ if !matches!(self.body, Body::Events { .. }) => false,
            Reading::OpenAi => all && self.marks.all_finished(),
            Reading::Observed(observer) => {
                self.finished > 0 && !matches!(observer.abandon(plan.choices), Closing::Cut(_))
            }
            // Gemini's models of old tell a reason with every chunk.
            Reading::Translated(_) => all && plan.leg().provider != ProviderDialect::Gemini,
        }
    }

    pub(super) fn head(&mut self, plan: &Plan, head: UpstreamHead) -> Result<(), Box<Outcome>> {
        let encoding = head.content_encoding.as_deref().unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            let message = format!(
                "Upstream `{}` answered with Content-Encoding: {}, which was not asked for.",
                plan.leg().upstream,
                excerpt(encoding.as_bytes()),
            );
            let error = Error::new(ErrorCode::UpstreamInvalid, message);
            return Err(Outcome::upstream_failed(error, FailureKind::Invalid).into());
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
        let framing = plan.leg().provider.framing();
        let is_stream = kind == framing.media_type() || kind.is_empty();
        self.body = match plan.mode {
            Mode::Stream if success && is_stream && head.status != 204 => Body::events(plan),
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
            Body::Whole { .. } => self.more_of_a_whole(plan, chunk),
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
                    self.close(plan, true, &mut step);
                }
                step
            }
        }
    }

    /// The connection broke, or was never made.
    pub(super) fn broken(&mut self, plan: &Plan, breakage: Breakage) -> Step {
        let kind = match breakage.code {
            ErrorCode::UpstreamLimited => FailureKind::RateLimited,
            ErrorCode::UpstreamUnavailable => FailureKind::Overloaded,
            _ if breakage.nothing_ran => FailureKind::Unreachable,
            ErrorCode::UpstreamInvalid => FailureKind::Invalid,
            _ => FailureKind::Broken,
        };
        let mut error = Error::new(breakage.code, breakage.message);
        error.retry_after = breakage.retry_after;
        let mut outcome = Outcome::upstream_failed(error, kind);
        outcome.nothing_ran = breakage.nothing_ran;
        match &self.body {
            Body::Events { .. } => {
                let mut step = Step::default();
                self.close(plan, false, &mut step);
                match &step.outcome {
                    // Only the dialect's end mark was missing.
                    Some(closed) if closed.is_whole() => step,
                    _ => Step::end(outcome),
                }
            }
            Body::Refusal { bytes } if !bytes.is_empty() => self.refused(plan),
            _ => Step::end(outcome),
        }
    }

    /// The upstream says nothing more behind the end of all choices: no usage, and no end mark.
    pub(super) fn unmarked(&mut self, plan: &Plan) -> Step {
        let mut step = Step::default();
        self.close(plan, false, &mut step);
        step
    }

    /// The upstream took too long.
    pub(super) fn late(&self, plan: &Plan, wait: Wait, took: Duration) -> Outcome {
        let took = show_duration(took);
        let what = match wait {
            Wait::Head => format!("sent no head within {took} (head_timeout)"),
            Wait::First => format!("was silent for {took} for its first event"),
            Wait::Next => format!("was silent for {took} for the next event"),
            Wait::End => format!("did not end its answer within {took} (total_timeout)"),
            Wait::Client => {
                format!("was silent for {took} for its first event, and the client waits no longer")
            }
            Wait::Share => format!(
                "was silent for {took} for its first event, while the client waits for others"
            ),
        };
        let upstream = &plan.leg().upstream;
        let message = format!("Upstream `{upstream}` {what}; it was given up.");
        let error = Error::new(ErrorCode::UpstreamTimeout, message);
        match wait {
            // What a client wants says nothing about the upstream, nor does a long answer.
            Wait::Client => Outcome::failed(error),
            Wait::Share => Outcome::hurried(error),
            Wait::End if self.has_content() => Outcome::failed(error),
            _ => Outcome::upstream_failed(error, FailureKind::Silent),
        }
    }
}
