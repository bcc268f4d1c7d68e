//! The state machine of one generation: inputs in, outputs out, no socket and no clock.
//!
//! The driver feeds it what happened and does what it says, in order. What it fixes is the order
//! of writes: nothing is dialled before `Dialled` is durable, nothing reaches a reader before it
//! is appended, and exactly one terminal record ends the stream, in the same append as the last
//! event. There is at most one append under way: after [`Output::Append`] the next input is
//! [`Input::Appended`] or [`Input::AppendFailed`].

mod answer;
mod attach;
mod attempts;
mod budget;
mod calls;
mod hedge;
mod ladder;
mod outcome;
mod patience;
mod resume;
mod signals;
mod tail;
mod trail;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::sync::Arc;

use crate::dialect::hide;
use crate::error::ErrorCode;
use crate::event::Status;
use crate::id::{Seq, UnixMillis};
use crate::policy::disconnect::OnDisconnect;
use crate::record::{End, Head, Record};
use answer::{Answer, Step};
use attach::Attach;
use attempts::Attempts;
use hedge::Hedging;
use ladder::Ladder;
use outcome::Outcome;
use patience::Wait;

pub use hedge::HEDGE_LOST;
pub use resume::Resumption;
pub use signals::{Advice, Breakage, Input, Leg, Output, Plan, Route, UpstreamHead};
pub use trail::Trail;

/// The state machine.
#[derive(Debug)]
pub struct Writer {
    plan: Plan,
    phase: Phase,
    /// The newest event, appended or about to be.
    seq: Seq,
    /// The newest event that is acknowledged.
    acknowledged: Seq,
    bytes: u64,
    answer: Answer,
    attempts: Attempts,
    attach: Attach,
    ladder: Ladder,
    hedging: Hedging,
    /// When the upstream was asked.
    asked_at: UnixMillis,
    /// When it first said something that counts.
    content_at: Option<UnixMillis>,
    /// The last sign of progress; heartbeats are none.
    progress_at: UnixMillis,
    /// When the linger time of an unread stream is over.
    unread_until: Option<UnixMillis>,
    /// A wish to stop that came before the request was sent.
    stop_wanted: Option<ErrorCode>,
    /// An append failed before; a second failure is the end.
    append_failed: bool,
    end: Option<Arc<End>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// `Dialled` is being appended.
    Dialling,
    /// The request is out.
    Asked,
    /// The head was 2xx.
    Answering,
    /// An attempt failed, and the driver is asked who else there is.
    Consulting,
    /// The same deployment is asked again, later.
    Pausing {
        until: UnixMillis,
    },
    /// The provider's own stream of the answer is looked for, later.
    Away {
        until: UnixMillis,
    },
    /// The terminal record is being appended.
    Ending,
    Over,
}

impl Writer {
    /// A writer that waits for [`Input::Start`].
    pub fn new(plan: Plan, now: UnixMillis) -> Self {
        Self {
            answer: Answer::new(&plan),
            plan,
            attempts: Attempts::default(),
            attach: Attach::default(),
            ladder: Ladder::default(),
            hedging: Hedging::default(),
            asked_at: now,
            content_at: None,
            phase: Phase::Idle,
            seq: Seq::ZERO,
            acknowledged: Seq::ZERO,
            bytes: 0,
            progress_at: now,
            unread_until: None,
            stop_wanted: None,
            append_failed: false,
            end: None,
        }
    }

    /// When the next [`Input::Tick`] is due, if nothing else comes before.
    pub fn wake_at(&self) -> Option<UnixMillis> {
        let silence = match self.phase {
            Phase::Idle | Phase::Consulting | Phase::Ending | Phase::Over => return None,
            Phase::Dialling => None,
            Phase::Asked | Phase::Answering => {
                let (until, _) = self.patience(&self.waiting());
                let hedge = self.hedge_wakes_at();
                Some(hedge.map_or(until, |hedge| until.min(hedge)))
            }
            Phase::Pausing { until } => Some(until),
            Phase::Away { until } => Some(until.min(self.patience(&self.waiting()).0)),
        };
        silence.into_iter().chain(self.unread_until).min()
    }

    /// The place of the route that is asked, or was asked last.
    pub fn place(&self) -> usize {
        self.plan.route.at()
    }

    /// The number of the attempt under way, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempts.number()
    }

    /// Whether the terminal record is on its way or written.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Over)
    }

    /// Takes one input and pushes what is to be done.
    pub fn step(&mut self, now: UnixMillis, input: Input, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Over {
            return;
        }
        match input {
            Input::Start => self.on_start(now, outputs),
            Input::Head(head) => self.on_head(now, head, outputs),
            Input::Bytes(bytes) => self.on_bytes(now, &bytes, outputs),
            Input::Ended => self.on_ended(now, outputs),
            Input::Broken(breakage) => self.on_broken(now, breakage, outputs),
            Input::Appended => self.on_appended(now, outputs),
            Input::AppendFailed(code) => self.on_append_failed(now, code, outputs),
            Input::Tick => self.on_tick(now, outputs),
            Input::Stop(code) => self.on_stop(now, code, outputs),
            Input::Exhausted(output) => self.on_exhausted(now, output, outputs),
            Input::Keep => {
                self.plan.on_disconnect = OnDisconnect::Continue;
                self.unread_until = None;
            }
            Input::Readers(count) => self.on_readers(now, count, outputs),
            Input::Advice(advice) => self.on_advice(now, &advice, outputs),
            Input::HedgeFound(place) => self.on_hedge_found(now, place, outputs),
            Input::Hedge(input) => self.on_hedge(now, *input, outputs),
        }
    }

    fn on_start(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        if self.phase != Phase::Idle {
            return;
        }
        if self.attach.is_away() {
            return self.set_out(now, Vec::new(), outputs);
        }
        if self.attempts.latest.is_some() {
            self.phase = Phase::Consulting;
            return outputs.push(Output::Consult);
        }
        self.dial(outputs);
    }

    fn on_head(&mut self, now: UnixMillis, head: UpstreamHead, outputs: &mut Vec<Output>) {
        if self.phase != Phase::Asked {
            return;
        }
        self.phase = Phase::Answering;
        if self.attach.is_away() {
            return self.on_head_again(now, head, outputs);
        }
        self.progress_at = now;
        let record = self.head_record(&head);
        let handle = head.handle.clone();
        match self.answer.head(&self.plan, head) {
            // It goes out with the first events: nobody waits for it, and it saves a write.
            Ok(()) => {
                self.answer.pending.push(record);
                if handle.is_some_and(|handle| self.found(&handle)) {
                    self.log_head(outputs);
                }
            }
            Err(outcome) => self.conclude(now, *outcome, vec![record], outputs),
        }
    }

    fn head_record(&self, head: &UpstreamHead) -> Record {
        let shown = |id: &String| {
            let id = hide(id.clone().into(), &self.plan.leg().secrets.all());
            String::from_utf8_lossy(&id).into_owned()
        };
        Record::Head(Head {
            status: head.status,
            request_id: head.request_id.as_ref().map(shown),
            handle: None,
        })
    }

    fn on_bytes(&mut self, now: UnixMillis, bytes: &Bytes, outputs: &mut Vec<Output>) {
        if self.phase != Phase::Answering {
            return;
        }
        let step = self.answer.bytes(&self.plan, bytes);
        self.apply(now, step, outputs);
    }

    fn on_ended(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        if self.phase != Phase::Answering {
            return;
        }
        let step = self.answer.ended(&self.plan);
        self.apply(now, step, outputs);
    }

    fn on_broken(&mut self, now: UnixMillis, breakage: Breakage, outputs: &mut Vec<Output>) {
        let step = self.answer.broken(&self.plan, breakage);
        self.apply(now, step, outputs);
    }

    fn apply(&mut self, now: UnixMillis, step: Step, outputs: &mut Vec<Output>) {
        let Some(step) = self.catch_up(now, step, outputs) else {
            return;
        };
        let handle = self.answer.handle.clone();
        let found = handle.is_some_and(|handle| self.found(&handle));
        if step.progress {
            self.progress_at = now;
        }
        if self.content_at.is_none() && self.answer.has_content() {
            self.content_at = Some(now);
        }
        let mut records = Vec::new();
        let mut outcome = step.outcome;
        if !step.events.is_empty() {
            self.settle(now, outputs);
        }
        for event in step.events {
            match self.event(now, event) {
                Ok(event) => {
                    if records.is_empty() {
                        records.append(&mut self.answer.pending);
                    }
                    records.push(Record::Event(event));
                }
                Err(full) => {
                    outcome = Some(*full);
                    break;
                }
            }
        }
        match outcome {
            Some(outcome) => self.conclude(now, outcome, records, outputs),
            None if !records.is_empty() => outputs.push(Output::Append(records)),
            None if found => self.log_head(outputs),
            None => {}
        }
    }

    fn on_appended(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        self.acknowledged = self.seq;
        if self.on_hedge_dialled(now, outputs) {
            return;
        }
        match self.phase {
            Phase::Dialling if let Some(code) = self.stop_wanted => {
                // Nothing was sent yet, so nothing can have been charged.
                let outcome = Outcome::stopped(code, self.none_ran());
                self.end_with(now, &outcome, Vec::new(), outputs);
            }
            Phase::Dialling => {
                self.phase = Phase::Asked;
                self.progress_at = now;
                self.asked_at = now;
                self.content_at = None;
                self.expect_content(now);
                let call = self.call();
                outputs.push(call);
            }
            Phase::Ending => {
                self.phase = Phase::Over;
                outputs.push(Output::Done(self.end.clone()));
            }
            Phase::Away { until } if until <= now => self.look_for_it(now, outputs),
            Phase::Idle
            | Phase::Asked
            | Phase::Answering
            | Phase::Consulting
            | Phase::Pausing { .. }
            | Phase::Away { .. }
            | Phase::Over => {}
        }
    }

    fn on_tick(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        if self.is_over() {
            return;
        }
        if self.unread_until.is_some_and(|until| until <= now) {
            self.unread_until = None;
            self.on_stop(now, ErrorCode::Cancelled, outputs);
            return;
        }
        match self.phase {
            Phase::Away { until } if until <= now => self.look_for_it(now, outputs),
            Phase::Asked | Phase::Answering | Phase::Away { .. } => {
                self.check_patience(now, outputs);
                self.tick_hedge(now, outputs);
            }
            Phase::Pausing { until } if until <= now => self.dial(outputs),
            _ => {}
        }
    }

    fn on_stop(&mut self, now: UnixMillis, code: ErrorCode, outputs: &mut Vec<Output>) {
        match self.phase {
            Phase::Idle | Phase::Dialling => self.stop_wanted = Some(code),
            Phase::Asked | Phase::Answering | Phase::Away { .. } => {
                let outcome = Outcome::stopped(code, false);
                self.conclude(now, outcome, Vec::new(), outputs);
            }
            Phase::Pausing { .. } => {
                let outcome = Outcome::stopped(code, self.none_ran());
                self.end_with(now, &outcome, Vec::new(), outputs);
            }
            Phase::Consulting | Phase::Ending | Phase::Over => {}
        }
    }

    fn on_readers(&mut self, now: UnixMillis, count: usize, outputs: &mut Vec<Output>) {
        if count > 0 {
            self.unread_until = None;
            return;
        }
        match self.plan.on_disconnect {
            OnDisconnect::Continue => {}
            OnDisconnect::Cancel => self.on_stop(now, ErrorCode::Cancelled, outputs),
            OnDisconnect::Linger(time) => self.unread_until = Some(now.plus(time)),
        }
    }

    /// Whether an upstream has the request.
    const fn was_asked(&self) -> bool {
        matches!(
            self.phase,
            Phase::Asked | Phase::Answering | Phase::Away { .. }
        )
    }
}

impl Status {
    /// The status that goes with an error.
    fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Cancelled | ErrorCode::BudgetExhausted => Self::Cancelled,
            ErrorCode::GatewayRestarted
            | ErrorCode::OutcomeUnknown
            | ErrorCode::DrainTimeout
            | ErrorCode::Diverged => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}
