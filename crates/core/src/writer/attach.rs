//! How an answer whose connection was cut is read on from the provider's own stream of it.
//!
//! That is read from its start, as if it were the first time, so that nothing has to be known of how
//! far the provider's events had come: what it makes of the client's events is dropped as long as it is
//! what was delivered.

use crate::dialect::{Handle, Tally};
use crate::event::{Mode, Usage};
use crate::frame::sse::SseEvent;
use crate::id::{Seq, UnixMillis};
use crate::policy::attempt::FailureKind;
use crate::policy::reattach::{self, HEAD_TIMEOUT};
use crate::record::{Record, Seam, SeamKind};

use super::answer::{Answer, Step};
use super::hedge::Hedging;
use super::outcome::Outcome;
use super::patience::Wait;
use super::{Output, Phase, UpstreamHead, Writer};

/// The way back to the provider's stream of the attempt under way.
#[derive(Debug, Default)]
pub(super) struct Attach {
    /// By what it is found.
    handle: Option<Handle>,
    /// What was delivered since it is known.
    heard: Tally,
    away: Option<Box<Away>>,
}

/// The connection is lost, and what was delivered is not all heard again yet.
#[derive(Debug)]
struct Away {
    /// What cut it.
    cut: Outcome,
    /// The answer as it was delivered, for who goes on with it if this does not.
    delivered: Answer,
    /// The provider's head came.
    headed: bool,
    /// Tries so far.
    tries: u32,
    tried_at: UnixMillis,
    /// When it is enough.
    until: UnixMillis,
    /// What is said again.
    again: Tally,
}

impl Attach {
    /// Whether what is heard is not new yet.
    pub(super) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Counts an event that is delivered.
    pub(super) fn heard(&mut self, event: &SseEvent) {
        if self.handle.is_some() {
            self.heard.push(event);
        }
    }

    /// What the provider says came to its own end, so that nothing is left to be stopped.
    pub(super) fn is_over(&mut self) {
        self.handle = None;
    }

    /// The run that goes on at the provider without its connection, if there is one.
    pub(super) fn into_run(self) -> Option<Handle> {
        self.handle
    }
}

impl Writer {
    /// The provider's stream can be found again by this, if nothing was delivered of anything else. True
    /// if that is to be logged now, at the latest together with the first event.
    pub(super) fn found(&mut self, handle: &Handle) -> bool {
        if self.attach.handle.is_some() {
            return false;
        }
        for record in &mut self.answer.pending {
            if let Record::Head(head) = record {
                head.handle = Some(handle.clone());
            }
        }
        self.attach.handle = Some(handle.clone());
        // A head says not whose it is: beside another attempt it waits until that came to nothing.
        !self.answer.pending.is_empty() && !self.is_hedged()
    }

    /// What is known of the head goes into the log without waiting for an event.
    pub(super) fn log_head(&mut self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Append(std::mem::take(&mut self.answer.pending)));
    }

    /// Whether the run of an answer that ends so may be going on, and can be found again.
    pub(super) fn can_reattach(&self, outcome: &Outcome) -> bool {
        let Some(failure) = outcome.failure() else {
            return false;
        };
        let streamed = self.plan.mode == Mode::Stream;
        let by_handle = self.attach.handle.is_some() && streamed;
        // Nobody knows whether it has the request, and the same one under the same key runs once.
        let unheard = self.phase == Phase::Asked || !streamed;
        let by_key = self.plan.leg().keyed && unheard && self.seq == Seq::ZERO;
        !failure.nothing_ran
            && reattach::may_run_on(failure.kind, self.answer.is_delivered())
            && (by_handle || by_key)
            && self.attach.heard.events() == self.seq.get()
    }

    /// Sets out for the provider's stream. What was heard to the end goes to the readers.
    pub(super) fn reattach(
        &mut self,
        now: UnixMillis,
        cut: Outcome,
        mut records: Vec<Record>,
        outputs: &mut Vec<Output>,
    ) {
        self.hedging = Hedging::Off;
        outputs.push(Output::HangUp);
        records.append(&mut self.answer.pending);
        let handle = self.attach.handle.take();
        let heard = std::mem::take(&mut self.attach.heard);
        self.lost_before(now, handle, heard, cut);
        self.set_out(now, records, outputs);
    }

    /// The connection was lost, of an attempt whose events are all delivered ones.
    pub(super) fn lost_before(
        &mut self,
        now: UnixMillis,
        handle: Option<Handle>,
        heard: Tally,
        cut: Outcome,
    ) {
        let fresh = Answer::new(&self.plan);
        let delivered = std::mem::replace(&mut self.answer, fresh);
        let away = Away {
            cut,
            delivered,
            headed: false,
            tries: 0,
            tried_at: now,
            until: now.plus(self.plan.leg().event_timeout),
            again: Tally::default(),
        };
        self.attach = Attach {
            handle,
            heard,
            away: Some(Box::new(away)),
        };
    }

    /// Says in the log that the answer is looked for, behind what else has to stand there.
    pub(super) fn set_out(
        &mut self,
        now: UnixMillis,
        mut records: Vec<Record>,
        outputs: &mut Vec<Output>,
    ) {
        let cut = self.attach.away.as_ref().map(|away| away.cut.reason());
        records.push(Record::Seam(Seam {
            attempt: self.attempts.number(),
            upstream: self.plan.leg().upstream.clone(),
            reason: cut.unwrap_or_default(),
            kind: SeamKind::Reattached,
            seq: self.seq,
            usage: Usage::default(),
        }));
        self.phase = Phase::Away { until: now };
        outputs.push(Output::Append(records));
    }

    /// Asks for the provider's stream.
    pub(super) fn look_for_it(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        let fresh = Answer::new(&self.plan);
        if let Some(away) = &mut self.attach.away {
            self.answer = fresh;
            away.headed = false;
            away.tries += 1;
            away.tried_at = now;
            away.again = Tally::default();
            self.phase = Phase::Asked;
            let place = self.plan.route.at();
            outputs.push(Output::Reattach(place, self.way().cloned()));
        }
    }

    /// By what the stream is asked for. What is not streamed comes once more under its key.
    fn way(&self) -> Option<&Handle> {
        let handle = self.attach.handle.as_ref();
        handle.filter(|_| self.plan.mode == Mode::Stream)
    }

    /// Drops what was delivered before. `None` if nothing is left, or all is decided.
    pub(super) fn catch_up(
        &mut self,
        now: UnixMillis,
        mut step: Step,
        outputs: &mut Vec<Output>,
    ) -> Option<Step> {
        let Some(away) = &mut self.attach.away else {
            return Some(step);
        };
        let behind = self.attach.heard.events() - away.again.events();
        let known = usize::try_from(behind).map_or(step.events.len(), |n| n.min(step.events.len()));
        for event in step.events.drain(..known) {
            away.again.push(&event);
        }
        let caught_up = known as u64 == behind;
        let diverged = caught_up && known > 0 && away.again != self.attach.heard;
        let cut_again = match &step.outcome {
            Some(outcome) if outcome.is_whole() => false,
            // Behind what was delivered, the provider's own words are news.
            Some(outcome) => !caught_up || outcome.is_cut() || !self.answer.is_stream(),
            None => false,
        };
        match step.outcome.take() {
            _ if diverged => {}
            Some(outcome) if cut_again && step.events.is_empty() => {
                self.still_away(now, &outcome, outputs);
                return None;
            }
            None if step.events.is_empty() => return None,
            outcome if caught_up => {
                step.outcome = outcome;
                self.attach.away = None;
                return Some(step);
            }
            _ => {}
        }
        let outcome = Outcome::diverged(&self.plan);
        self.restore();
        self.judge(&outcome, outputs);
        self.end_with(now, &outcome, Vec::new(), outputs);
        None
    }

    /// A try came to nothing: another one is made, or whatever else there is for an answer that was cut.
    pub(super) fn still_away(
        &mut self,
        now: UnixMillis,
        outcome: &Outcome,
        outputs: &mut Vec<Output>,
    ) {
        let Some(away) = &self.attach.away else {
            return;
        };
        let Some(failure) = outcome.failure() else {
            self.restore();
            self.judge(outcome, outputs);
            return self.end_with(now, outcome, Vec::new(), outputs);
        };
        outputs.push(Output::HangUp);
        let (left, chance) = (away.until.since(now), self.chance(away.tries));
        let most = match self.seq {
            // Somebody else can answer, and the client has nothing yet.
            Seq::ZERO if self.plan.route.legs().len() > 1 => reattach::TRIES_UNHEARD,
            _ => reattach::TRIES,
        };
        let pause = reattach::pause(&failure, away.tries..most, left, chance);
        if let Some(pause) = pause {
            self.phase = Phase::Away {
                until: now.plus(pause),
            };
            return;
        }
        if let Some(cut) = self.restore() {
            self.lose(now, cut, Vec::new(), outputs);
        }
    }

    /// The answer is again what was delivered of it. Gives what cut it.
    pub(super) fn restore(&mut self) -> Option<Outcome> {
        let away = self.attach.away.take()?;
        self.answer = away.delivered;
        Some(away.cut)
    }

    /// Stops a run that goes on without its connection.
    pub(super) fn cancel_run(&mut self, outputs: &mut Vec<Output>) {
        if let Some(handle) = std::mem::take(&mut self.attach).into_run() {
            outputs.push(Output::Cancel(handle));
        }
    }

    /// When a provider that was found is given up, or one that is looked for.
    pub(super) fn patience_away(&self) -> Option<(UnixMillis, Wait)> {
        let away = self.attach.away.as_ref()?;
        if self.phase == Phase::Asked && self.way().is_some() {
            let head = away.tried_at.plus(HEAD_TIMEOUT);
            return Some((head.min(away.until), Wait::Head));
        }
        let asked = away.headed || self.phase == Phase::Asked;
        let thinks = asked && self.seq == Seq::ZERO;
        let first = self.progress_at.plus(self.plan.leg().first_event_timeout);
        let until = if thinks {
            first.max(away.until)
        } else {
            away.until
        };
        Some((until, Wait::Next))
    }

    /// The head of what was looked for.
    pub(super) fn on_head_again(
        &mut self,
        now: UnixMillis,
        head: UpstreamHead,
        outputs: &mut Vec<Output>,
    ) {
        let (record, handle) = (self.head_record(&head), head.handle.clone());
        if let Err(outcome) = self.answer.head(&self.plan, head) {
            return self.still_away(now, &outcome, outputs);
        }
        if !self.answer.is_stream() && self.plan.mode == Mode::Stream {
            return;
        }
        if let Some(away) = &mut self.attach.away {
            away.headed = true;
        }
        if self.attach.handle.is_none() {
            self.answer.pending.push(record);
        }
        if handle.is_some_and(|handle| self.found(&handle)) {
            self.log_head(outputs);
        }
    }

    /// A number that differs from stream to stream, for those who are cut together.
    fn chance(&self, tries: u32) -> u64 {
        let seed = self.plan.stream.to_bits().wrapping_add(tries.into());
        // The golden ratio spreads neighbours far apart (Fibonacci hashing).
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

impl Outcome {
    /// Whether it says nothing of the run but that its connection is lost.
    fn is_cut(&self) -> bool {
        let kind = self.failure().map(|failure| failure.kind);
        matches!(
            kind,
            Some(FailureKind::Broken | FailureKind::Silent | FailureKind::Unreachable)
        )
    }
}
