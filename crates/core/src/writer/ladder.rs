//! How an answer goes on whose upstream failed after somebody heard of it.

use std::sync::Arc;

use crate::dialect::Prefix;
use crate::event::Usage;
use crate::id::UnixMillis;
use crate::policy::recovery::{Candidate, Cut, Rung};
use crate::record::{Record, Seam, SeamKind};

use super::attempts::Failed;
use super::{Advice, Output, Writer};

/// The attempts at one answer.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    /// What those before this one used, of which anything was heard.
    spent: Usage,
    /// What cut the answer: what the client is told if nobody goes on.
    cut: Option<Failed>,
    /// The places that were asked to go on in vain.
    in_vain: Vec<usize>,
    /// It was run again once.
    ran_again: bool,
    /// What the next request begins its answer with.
    prefix: Option<Arc<Prefix>>,
}

impl Ladder {
    /// As the log knows it.
    pub(super) fn reread(&mut self, in_vain: Vec<usize>, ran_again: bool) {
        self.in_vain = in_vain;
        self.ran_again = ran_again;
    }

    /// Somebody went on here.
    pub(super) fn pass(&mut self, seam: &Seam) {
        self.spent = self.spent.plus(&seam.usage);
    }
}

impl Writer {
    /// What comes next for an answer of which something was delivered.
    pub(super) fn climb(
        &mut self,
        now: UnixMillis,
        advice: &Advice,
        failed: Failed,
        outputs: &mut Vec<Output>,
    ) {
        let latest = failed.failure.kind;
        let heard = self.answer.is_heard();
        let cut = match self.ladder.cut.take() {
            Some(cut) if !heard => {
                self.ladder.in_vain.push(failed.place);
                self.abandon(&failed);
                self.answer.forget_usage();
                cut
            }
            _ => failed,
        };
        let rung = self.plan.on_cut.decide(
            &Cut {
                kind: cut.failure.kind,
                latest,
                at: cut.place,
                text: self.answer.said(),
                made: self.attempts.made(),
                most: self.plan.attempts.attempts,
                in_budget: advice.in_budget,
                ran_again: self.ladder.ran_again,
            },
            &self.candidates(advice),
        );
        let (place, kind) = match rung {
            Rung::Continue(place) => (place, SeamKind::Continued),
            Rung::RunAgain(place) => (place, SeamKind::RanAgain),
            Rung::Tell => return self.tell(now, cut, outputs),
        };
        if heard {
            self.seam(&cut, kind);
        }
        self.ladder.cut = Some(cut);
        self.go_on(place, kind, outputs);
    }

    /// Whether somebody may be asked to go on with the answer, now or if it is cut later.
    pub fn may_go_on(&self) -> bool {
        self.plan.is_recovering() && self.answer.said().is_some()
    }

    /// What the attempts before this one used.
    pub(super) const fn spent(&self) -> &Usage {
        &self.ladder.spent
    }

    /// The call that is to be made.
    pub(super) fn call(&mut self) -> Output {
        let place = self.plan.route.at();
        match self.ladder.prefix.take() {
            Some(prefix) => Output::Continue(place, prefix),
            None => Output::Dial(place),
        }
    }

    fn candidates(&self, advice: &Advice) -> Vec<Candidate> {
        let legs = self.plan.route.legs();
        let free = |place: &&usize| !self.ladder.in_vain.contains(place);
        let candidate = |&place: &usize| {
            let leg = legs.get(place)?;
            Some(Candidate {
                place,
                abilities: leg.abilities,
                refuses_space: leg.provider.refuses_trailing_space(),
            })
        };
        let open = advice.open.iter();
        open.filter(free).filter_map(candidate).collect()
    }

    fn seam(&mut self, cut: &Failed, kind: SeamKind) {
        let usage = self.answer.usage(&self.plan, false);
        self.ladder.spent = self.ladder.spent.plus(&usage);
        self.attempts.audit.push(Record::Seam(Seam {
            attempt: self.attempts.number(),
            upstream: self.plan.leg().upstream.clone(),
            reason: cut.outcome.reason(),
            kind,
            seq: self.seq,
            usage,
        }));
    }

    fn go_on(&mut self, place: usize, kind: SeamKind, outputs: &mut Vec<Output>) {
        self.attempts.turn_to(place);
        self.plan.route.turn_to(place);
        let repeats = match kind {
            SeamKind::Continued => {
                self.ladder.prefix = self.answer.said().map(|text| {
                    let tokens = self.ladder.spent.output_tokens;
                    let text = text.into();
                    Arc::new(Prefix { text, tokens })
                });
                self.plan.leg().abilities.repeats
            }
            // No other attempt: it has a way of its own.
            SeamKind::Reattached => false,
            SeamKind::RanAgain => {
                self.ladder.ran_again = true;
                true
            }
        };
        self.answer.go_on(&self.plan, &self.ladder.spent, repeats);
        self.dial(outputs);
    }

    fn tell(&mut self, now: UnixMillis, mut cut: Failed, outputs: &mut Vec<Output>) {
        self.plan.route.turn_to(cut.place);
        cut.outcome.nothing_ran = false;
        cut.outcome.hang_up = false;
        let records = std::mem::take(&mut self.attempts.audit);
        self.end_with(now, &cut.outcome, records, outputs);
    }
}
