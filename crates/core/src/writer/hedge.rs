//! A second attempt beside one whose first content is late. Whoever has content first is the answer,
//! and the other one is dropped; if one fails, the other goes on.
//!
//! The writer's own fields are about one attempt, the one that leads. The other one waits here, and
//! changes places with it for as long as one of its own inputs is taken.

use std::mem::{swap, take};

use crate::event::Mode;
use crate::id::UnixMillis;
use crate::policy::breaker::Verdict;
use crate::policy::deployment::Report;
use crate::record::{Abandoned, Record};

use super::answer::Answer;
use super::attach::Attach;
use super::attempts::Failed;
use super::outcome::Outcome;
use super::patience::Waiting;
use super::{Input, Output, Phase, Writer};

/// Why an attempt was dropped whose answer nobody needed any more, as its record has it.
pub const HEDGE_LOST: &str = "hedge_lost";

/// Whether somebody is asked beside the attempt that leads.
#[derive(Debug, Default)]
pub(super) enum Hedging {
    /// Nobody.
    #[default]
    Off,
    /// Somebody will be, if there is no content then.
    Due(UnixMillis),
    /// The driver is asked who.
    Sought,
    /// Somebody is.
    On(Box<Other>),
}

/// The attempt that does not lead.
#[derive(Debug)]
pub(super) struct Other {
    place: usize,
    number: u32,
    made_here: u32,
    phase: Phase,
    answer: Answer,
    attach: Attach,
    asked_at: UnixMillis,
    content_at: Option<UnixMillis>,
    progress_at: UnixMillis,
    /// It led before, and does so again when the input is taken.
    led: bool,
}

impl Writer {
    /// The request is out, and its first content is waited for.
    pub(super) fn expect_content(&mut self, now: UnixMillis) {
        let wanted = self.plan.mode == Mode::Stream && !self.answer.is_delivered();
        let after = self.plan.leg().hedge_after.filter(|_| wanted);
        self.hedging = after.map_or(Hedging::Off, |after| Hedging::Due(now.plus(after)));
    }

    /// Whether two are asked at once.
    pub(super) const fn is_hedged(&self) -> bool {
        matches!(self.hedging, Hedging::On(_))
    }

    /// When something is to be done here.
    pub(super) fn hedge_wakes_at(&self) -> Option<UnixMillis> {
        match &self.hedging {
            Hedging::Off | Hedging::Sought => None,
            Hedging::Due(at) => Some(*at),
            Hedging::On(other) => {
                let (until, _) = self.patience(&other.waiting());
                Some(until)
            }
        }
    }

    pub(super) fn tick_hedge(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        match &self.hedging {
            Hedging::Due(at) if *at <= now && self.was_asked() => {
                let late = self.plan.deadline.is_some_and(|deadline| deadline <= now);
                let allowed = self.attempts.made() < self.plan.attempts.attempts;
                self.hedging = Hedging::Off;
                if allowed && !late {
                    self.hedging = Hedging::Sought;
                    outputs.push(Output::FindHedge);
                }
            }
            Hedging::On(other) if other.phase != Phase::Dialling => {
                self.with_other(|writer| writer.check_patience(now, outputs));
            }
            Hedging::Off | Hedging::Due(_) | Hedging::Sought | Hedging::On(_) => {}
        }
    }

    /// Logs that the one at `place` is about to be asked, if there is one.
    pub(super) fn on_hedge_found(
        &mut self,
        now: UnixMillis,
        place: Option<usize>,
        outputs: &mut Vec<Output>,
    ) {
        if !matches!(self.hedging, Hedging::Sought) {
            return;
        }
        self.hedging = Hedging::Off;
        let legs = self.plan.route.legs().len();
        let Some(place) = place.filter(|&at| at < legs && self.attempts.is_new(at)) else {
            return;
        };
        let led_by = self.plan.route.at();
        self.plan.route.turn_to(place);
        let number = self.attempts.add(place);
        let dialled = self.dialled(number);
        self.hedging = Hedging::On(Box::new(Other {
            place,
            number,
            made_here: 1,
            phase: Phase::Dialling,
            answer: Answer::new(&self.plan),
            attach: Attach::default(),
            asked_at: now,
            content_at: None,
            progress_at: now,
            led: false,
        }));
        self.plan.route.turn_to(led_by);
        outputs.push(Output::Append(vec![dialled]));
    }

    /// Its `Dialled` is in the log: true if that was what was appended.
    pub(super) fn on_hedge_dialled(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) -> bool {
        let Hedging::On(other) = &mut self.hedging else {
            return false;
        };
        if other.phase != Phase::Dialling {
            return false;
        }
        other.phase = Phase::Asked;
        (other.asked_at, other.progress_at) = (now, now);
        outputs.push(Output::Hedge(other.place, other.number));
        true
    }

    /// Takes an input of the attempt that does not lead.
    pub(super) fn on_hedge(&mut self, now: UnixMillis, input: Input, outputs: &mut Vec<Output>) {
        if !matches!(&self.hedging, Hedging::On(other) if other.phase != Phase::Dialling) {
            return;
        }
        self.with_other(|writer| match input {
            Input::Head(head) => writer.on_head(now, head, outputs),
            Input::Bytes(bytes) => writer.on_bytes(now, &bytes, outputs),
            Input::Ended => writer.on_ended(now, outputs),
            Input::Broken(breakage) => writer.on_broken(now, breakage, outputs),
            _ => {}
        });
    }

    /// Whoever leads now is the answer, or what ends it: the other one is dropped.
    pub(super) fn settle(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        if matches!(self.hedging, Hedging::Off) {
            return;
        }
        let Hedging::On(other) = take(&mut self.hedging) else {
            return;
        };
        // Its record could not be logged, so it was not sent.
        if other.phase == Phase::Dialling {
            return;
        }
        self.attempts.drop_one();
        let leg = &self.plan.route.legs()[other.place];
        let waited = now.since(other.asked_at);
        let report = Report {
            verdict: Verdict::Neutral,
            failure: None,
            retry_after: None,
            // It took at least that long, which says something only of one that was late.
            first_content: leg
                .hedge_after
                .filter(|after| waited >= *after)
                .map(|_| waited),
            streamed: true,
        };
        let lost = Abandoned {
            attempt: other.number,
            upstream: leg.upstream.clone(),
            reason: HEDGE_LOST.to_owned(),
            http_status: None,
            nothing_ran: false,
            usage: Some(other.answer.cost(&self.plan)),
            instead: Some(self.plan.leg().upstream.clone()),
        };
        self.note(other.answer.pending, lost);
        let run = other.attach.into_run();
        outputs.push(if other.led {
            Output::HedgeLeads(report, run)
        } else {
            Output::HedgeLost(report, run)
        });
    }

    /// The attempt that leads came to nothing: leaves it to the other one, if there is one and it
    /// would not say the same.
    pub(super) fn fall_back(
        &mut self,
        outcome: Outcome,
        records: &mut Vec<Record>,
        outputs: &mut Vec<Output>,
    ) -> Option<Outcome> {
        let failure = outcome.failure().filter(|f| !f.kind.blames_request());
        let Some(failure) = failure.filter(|_| self.is_hedged()) else {
            return Some(outcome);
        };
        if outcome.is_told() {
            self.attach.is_over();
        }
        let report = outcome.report(&self.plan, None);
        let mut pending = take(records);
        pending.append(&mut self.answer.pending);
        let upstream = self.plan.leg().upstream.clone();
        let mut record = outcome.abandoned(self.attempts.number(), &upstream);
        let failed = Failed {
            outcome,
            failure,
            place: self.plan.route.at(),
            attempt: self.attempts.number(),
        };
        self.attempts.remember(failed);
        self.change_places();
        let Hedging::On(gone) = take(&mut self.hedging) else {
            return None;
        };
        record.instead = Some(self.plan.leg().upstream.clone());
        self.note(pending, record);
        let run = gone.attach.into_run();
        // It has just come to lead, or it did before.
        outputs.push(if gone.led {
            Output::HedgeLeads(report, run)
        } else {
            Output::HedgeLost(report, run)
        });
        // The next process must not look for the one that failed.
        outputs.push(Output::Append(take(&mut self.answer.pending)));
        None
    }

    /// What became of the other attempt goes into the log before what comes of this one.
    fn note(&mut self, mut records: Vec<Record>, gone: Abandoned) {
        records.push(Record::Abandoned(gone));
        records.append(&mut self.answer.pending);
        self.answer.pending = records;
    }

    /// Lets the other one lead, and after that the one that did, if both are still there.
    fn with_other(&mut self, step: impl FnOnce(&mut Self)) {
        self.change_places();
        step(self);
        self.change_places();
    }

    fn change_places(&mut self) {
        let Hedging::On(other) = &mut self.hedging else {
            return;
        };
        let place = self.plan.route.at();
        self.plan.route.turn_to(other.place);
        other.place = place;
        other.led = !other.led;
        self.attempts.swap(&mut other.number, &mut other.made_here);
        swap(&mut self.phase, &mut other.phase);
        swap(&mut self.answer, &mut other.answer);
        swap(&mut self.attach, &mut other.attach);
        swap(&mut self.asked_at, &mut other.asked_at);
        swap(&mut self.content_at, &mut other.content_at);
        swap(&mut self.progress_at, &mut other.progress_at);
    }
}

impl Other {
    fn waiting(&self) -> Waiting<'_> {
        Waiting {
            place: self.place,
            phase: self.phase,
            answer: &self.answer,
            asked_at: self.asked_at,
            progress_at: self.progress_at,
            away: None,
        }
    }
}
