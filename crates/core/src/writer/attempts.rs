//! What becomes of a generation whose upstream failed before anybody heard of its answer.

use std::cmp::Reverse;

use crate::id::UnixMillis;
use crate::policy::attempt::{Failure, Next, Standing};
use crate::policy::backoff::Backoff;
use crate::record::{Dialled, Record};

use super::answer::Answer;
use super::outcome::Outcome;
use super::{Advice, Output, Phase, Writer};

/// The attempts of one generation.
#[derive(Debug)]
pub(super) struct Attempts {
    /// Their number so far.
    made: u32,
    /// The number of the one that leads.
    number: u32,
    /// Those to the deployment that is asked.
    made_here: u32,
    /// The places of the route that were asked.
    asked: Vec<usize>,
    /// One of those that came to nothing may have run.
    may_have_run: bool,
    /// Records that go out with the next one: of audits, and the last events of an answer that was cut.
    pub(super) audit: Vec<Record>,
    /// What the client is told if nobody answers: of all failures the one that says most to it.
    told: Option<Failed>,
    /// What the driver is consulted about.
    pub(super) latest: Option<Failed>,
}

/// An attempt that came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) failure: Failure,
    pub(super) place: usize,
    pub(super) attempt: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            made: 1,
            number: 1,
            made_here: 1,
            asked: vec![0],
            may_have_run: false,
            audit: Vec::new(),
            told: None,
            latest: None,
        }
    }
}

impl Attempts {
    /// How many there are so far.
    pub(super) const fn made(&self) -> u32 {
        self.made
    }

    /// Which of them leads.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Whether nobody at this place was asked.
    pub(super) fn is_new(&self, place: usize) -> bool {
        !self.asked.contains(&place)
    }

    /// Another one begins beside, at this place of the route. Gives its number.
    pub(super) fn add(&mut self, place: usize) -> u32 {
        self.made += 1;
        self.asked.push(place);
        self.made
    }

    /// Another one leads.
    pub(super) const fn swap(&mut self, number: &mut u32, made_here: &mut u32) {
        std::mem::swap(&mut self.number, number);
        std::mem::swap(&mut self.made_here, made_here);
    }

    /// One came to nothing, and another one goes on.
    pub(super) fn remember(&mut self, failed: Failed) {
        self.may_have_run |= !failed.failure.nothing_ran;
        self.told = Some(self.most_telling(failed));
    }

    /// One was dropped.
    pub(super) const fn drop_one(&mut self) {
        self.may_have_run = true;
    }

    /// Of those that failed alike the first one, which was asked because it should have answered.
    fn most_telling(&mut self, latest: Failed) -> Failed {
        let says = |failed: &Failed| (failed.failure.kind.tells(), Reverse(failed.attempt));
        let before = self.told.take();
        let before = before.filter(|before| says(before) > says(&latest));
        before.unwrap_or(latest)
    }

    /// As many as the log knows of, at these places, were made before; of them this one leads.
    pub(super) fn reread(&mut self, made: u32, number: u32, asked: Vec<usize>) {
        (self.made, self.number) = (made, number);
        self.asked = asked;
        self.may_have_run = true;
    }

    /// Another one begins, at this place of the route.
    pub(super) fn turn_to(&mut self, place: usize) {
        self.made += 1;
        self.made_here = 1;
        self.asked.push(place);
        // Whoever was heard has run.
        self.may_have_run = true;
    }
}

impl Writer {
    /// The next attempt, as the log takes it before it is made.
    pub(super) fn dial(&mut self, outputs: &mut Vec<Output>) {
        self.phase = Phase::Dialling;
        self.cancel_run(outputs);
        self.attempts.number = self.attempts.made;
        let mut records = std::mem::take(&mut self.attempts.audit);
        records.push(self.dialled(self.attempts.number));
        outputs.push(Output::Append(records));
    }

    /// The record of an attempt that is about to be made.
    pub(super) fn dialled(&self, attempt: u32) -> Record {
        let leg = self.plan.leg();
        Record::Dialled(Dialled {
            attempt,
            upstream: leg.upstream.clone(),
            model: leg.model.clone(),
        })
    }

    /// Ends the generation, unless its upstream failed and somebody else may answer, or go on with what
    /// was delivered: then the driver is asked who there is.
    pub(super) fn conclude(
        &mut self,
        now: UnixMillis,
        outcome: Outcome,
        mut records: Vec<Record>,
        outputs: &mut Vec<Output>,
    ) {
        if self.is_over() {
            return;
        }
        if self.attach.is_away() {
            return self.still_away(now, &outcome, outputs);
        }
        let Some(outcome) = self.fall_back(outcome, &mut records, outputs) else {
            return;
        };
        self.settle(now, outputs);
        if self.can_reattach(&outcome) {
            return self.reattach(now, outcome, records, outputs);
        }
        if outcome.is_told() {
            self.attach.is_over();
        }
        self.lose(now, outcome, records, outputs);
    }

    /// The attempt under way is over, with this outcome.
    pub(super) fn judge(&self, outcome: &Outcome, outputs: &mut Vec<Output>) {
        if self.was_asked() {
            let took = self.content_at.map(|at| at.since(self.asked_at));
            outputs.push(Output::Judge(outcome.report(&self.plan, took)));
        }
    }

    /// The same as [`Self::conclude`], where the answer is not found again.
    pub(super) fn lose(
        &mut self,
        now: UnixMillis,
        outcome: Outcome,
        mut records: Vec<Record>,
        outputs: &mut Vec<Output>,
    ) {
        self.judge(&outcome, outputs);
        let may_pass = !self.answer.is_delivered() || self.plan.is_recovering();
        let failure = outcome.failure().filter(|_| may_pass);
        let Some(failure) = failure else {
            return self.end_with(now, &outcome, records, outputs);
        };
        if outcome.hang_up {
            outputs.push(Output::HangUp);
        }
        records.append(&mut self.answer.pending);
        self.attempts.audit.append(&mut records);
        self.attempts.latest = Some(Failed {
            outcome,
            failure,
            place: self.plan.route.at(),
            attempt: self.attempts.number,
        });
        self.phase = Phase::Consulting;
        outputs.push(Output::Consult);
    }

    pub(super) fn on_advice(
        &mut self,
        now: UnixMillis,
        advice: &Advice,
        outputs: &mut Vec<Output>,
    ) {
        let Some(failed) = self.attempts.latest.take() else {
            return;
        };
        if self.answer.is_delivered() {
            return self.climb(now, advice, failed, outputs);
        }
        let window = self.plan.leg().context_window;
        let legs = self.plan.route.legs();
        let mut others = advice
            .open
            .iter()
            .copied()
            .filter(|place| *place < legs.len() && !self.attempts.asked.contains(place));
        let other = others.clone().next();
        let larger = others.find(|place| legs[*place].context_window > window);
        let standing = Standing {
            made: self.attempts.made,
            made_here: self.attempts.made_here,
            others: other.is_some(),
            larger: larger.is_some(),
            other_key: advice.other_key,
            in_budget: advice.in_budget,
            backoff: Backoff::default()
                .pause(self.attempts.made_here, advice.random)
                .max(advice.rest),
            deadline: self.plan.deadline,
        };
        let next = self.plan.attempts.decide(now, failed.failure, &standing);
        match (next, other, larger) {
            (Next::Other, Some(place), _) | (Next::Larger, _, Some(place)) => {
                self.move_on(failed);
                self.plan.route.turn_to(place);
                self.attempts.asked.push(place);
                self.attempts.made_here = 1;
                self.answer = Answer::new(&self.plan);
                self.dial(outputs);
            }
            (Next::OtherKey, _, _) => {
                self.move_on(failed);
                self.answer = Answer::new(&self.plan);
                self.dial(outputs);
            }
            (Next::Again(pause), _, _) => {
                self.move_on(failed);
                self.attempts.made_here += 1;
                self.answer = Answer::new(&self.plan);
                self.phase = Phase::Pausing {
                    until: now.plus(pause),
                };
            }
            _ => self.give_up(now, failed, outputs),
        }
    }

    /// When it is another's turn than that of one that was asked then, of the time that the client has.
    pub(super) fn share(&self, asked_at: UnixMillis) -> Option<UnixMillis> {
        let asked = &self.attempts.asked;
        let others = self
            .plan
            .route
            .open()
            .filter(|place| !asked.contains(place));
        let (deadline, made) = (self.plan.deadline, self.attempts.made);
        let policy = &self.plan.attempts;
        policy.share(asked_at, deadline, made, others.count())
    }

    /// Whether nothing of this generation can have run, if nothing of the last attempt did.
    pub(super) const fn none_ran(&self) -> bool {
        !self.attempts.may_have_run
    }

    /// The record of an attempt that nobody heard of.
    pub(super) fn abandon(&mut self, failed: &Failed) {
        let upstream = &self.plan.leg().upstream;
        let record = failed.outcome.abandoned(failed.attempt, upstream);
        self.attempts.audit.push(Record::Abandoned(record));
    }

    fn move_on(&mut self, failed: Failed) {
        self.abandon(&failed);
        self.attempts.made += 1;
        self.attempts.remember(failed);
    }

    fn give_up(&mut self, now: UnixMillis, latest: Failed, outputs: &mut Vec<Output>) {
        let none_ran = self.none_ran() && latest.failure.nothing_ran;
        let mut told = self.attempts.most_telling(latest);
        self.plan.route.turn_to(told.place);
        told.outcome.nothing_ran = none_ran;
        told.outcome.hang_up = false;
        let records = std::mem::take(&mut self.attempts.audit);
        self.end_with(now, &told.outcome, records, outputs);
    }
}
