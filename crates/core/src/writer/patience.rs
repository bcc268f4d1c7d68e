//! How long an upstream is waited for.

use crate::event::Mode;
use crate::id::{Seq, UnixMillis};
use crate::limits::UPSTREAM_END_MARK;

use super::answer::Answer;
use super::{Output, Phase, Writer};

/// Where an attempt stands that is waited for.
pub(super) struct Waiting<'a> {
    pub(super) place: usize,
    pub(super) phase: Phase,
    pub(super) answer: &'a Answer,
    pub(super) asked_at: UnixMillis,
    pub(super) progress_at: UnixMillis,
    /// When its provider is given up, and what is waited for then, if it is looked for.
    pub(super) away: Option<(UnixMillis, Wait)>,
}

/// What an upstream is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The head of its answer.
    Head,
    /// Its first event.
    First,
    /// The next one.
    Next,
    /// The end of its answer.
    End,
    /// Its first event, and no longer than the client says.
    Client,
    /// Its first event, while there is time for others.
    Share,
}

impl Writer {
    /// Gives up who took too long.
    pub(super) fn check_patience(&mut self, now: UnixMillis, outputs: &mut Vec<Output>) {
        let (until, wait) = self.patience(&self.waiting());
        if until > now {
            return;
        }
        if self.answer.is_finished(&self.plan) {
            let step = self.answer.unmarked(&self.plan);
            return self.apply(now, step, outputs);
        }
        let since = match wait {
            Wait::Head | Wait::End => self.asked_at,
            Wait::First | Wait::Next | Wait::Client | Wait::Share => self.progress_at,
        };
        let outcome = self.answer.late(&self.plan, wait, until.since(since));
        self.conclude(now, outcome, Vec::new(), outputs);
    }

    /// When the upstream is given up if it says nothing more, and what was waited for then.
    pub(super) fn patience(&self, waiting: &Waiting<'_>) -> (UnixMillis, Wait) {
        let leg = &self.plan.route.legs()[waiting.place];
        let heard = waiting.answer.has_content();
        let progress_at = waiting.progress_at;
        let silence = if let Some(away) = waiting.away {
            away
        } else if waiting.answer.is_finished(&self.plan) {
            let wait = leg.event_timeout.min(UPSTREAM_END_MARK);
            (progress_at.plus(wait), Wait::Next)
        } else if waiting.answer.has_begun() {
            (progress_at.plus(leg.event_timeout), Wait::Next)
        } else {
            (progress_at.plus(leg.first_event_timeout), Wait::First)
        };
        // Who is to go on with an answer that was heard has all its time.
        let waited_for = !heard && !waiting.answer.is_delivered() && self.seq == Seq::ZERO;
        let client = self.plan.deadline.filter(|_| waited_for);
        let head = leg
            .head_timeout
            .filter(|_| waiting.phase == Phase::Asked && waiting.away.is_none())
            .map(|time| waiting.asked_at.plus(time));
        let end = leg.total_timeout.map(|time| waiting.asked_at.plus(time));
        // A body that comes as a whole says nothing before it is done, however well it goes.
        let shared = waited_for && self.plan.mode == Mode::Stream;
        let share = self.share(waiting.asked_at).filter(|_| shared);
        let others = [
            (client, Wait::Client),
            (share, Wait::Share),
            (head, Wait::Head),
            (end, Wait::End),
        ];
        let others = others
            .into_iter()
            .filter_map(|(until, wait)| Some((until?, wait)));
        others.fold(
            silence,
            |soonest, other| {
                if other.0 < soonest.0 { other } else { soonest }
            },
        )
    }

    /// What is waited for of the attempt that leads.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        Waiting {
            place: self.plan.route.at(),
            phase: self.phase,
            answer: &self.answer,
            asked_at: self.asked_at,
            progress_at: self.progress_at,
            away: self.patience_away(),
        }
    }
}
