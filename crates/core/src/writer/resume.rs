//! A writer for a generation whose former writer died: its state is what the log makes of it.

use std::collections::VecDeque;

use crate::error::{Error, ErrorCode};
use crate::event::Event;
use crate::frame::sse::SseEvent;
use crate::id::{Seq, UnixMillis};
use crate::policy::attempt::{Failure, FailureKind};
use crate::record::{Record, Seam, SeamKind};

use super::attempts::Failed;
use super::calls::Calls;
use super::outcome::Outcome;
use super::{Plan, Writer};

/// A generation as its log tells it, from the first record on.
///
/// The events are read as the client reads them, and rendered anew beside that: as long as this gives
/// the same events, whoever goes on says the next one as the former writer would have.
#[derive(Debug)]
pub struct Resumption {
    writer: Writer,
    /// Where the answer was cut before, in order.
    seams: VecDeque<Seam>,
    /// What was rendered and is not in the log yet, and the other way round.
    rendered: VecDeque<SseEvent>,
    logged: VecDeque<SseEvent>,
}

impl Resumption {
    /// The generation of `plan`, whose log has these records beside its events. `None` where nobody
    /// could go on: for want of consent or ability, or as who answered is not on the route any more.
    pub fn new(mut plan: Plan, audit: &[Record], now: UnixMillis) -> Option<Self> {
        if !plan.is_recovering() {
            return None;
        }
        let calls = Calls::read(audit);
        let dialled: Vec<_> = audit
            .iter()
            .filter_map(|record| match record {
                Record::Dialled(dialled) => Some(dialled),
                _ => None,
            })
            .collect();
        let seams: VecDeque<_> = audit
            .iter()
            .filter_map(|record| match record {
                Record::Seam(seam) if is_cut(seam) => Some(seam.clone()),
                _ => None,
            })
            .collect();
        let last = calls.open.last()?.dialled.attempt;
        let place = |attempt: u32| {
            let at = dialled.iter().find(|one| one.attempt == attempt)?;
            plan.route.place_of(at)
        };
        let first = place(seams.front().map_or(last, |seam| seam.attempt))?;
        let asked: Vec<usize> = (1..=calls.made).filter_map(place).collect();
        let is_seam = |record: &&Record| matches!(record, Record::Seam(seam) if is_cut(seam));
        let behind = audit.iter().skip_while(|record| !is_seam(record));
        let in_vain = behind.filter_map(|record| match record {
            Record::Abandoned(gone) => place(gone.attempt),
            _ => None,
        });
        let in_vain = in_vain.collect();
        let latest = place(last)?;
        plan.route.turn_to(first);
        let mut writer = Writer::new(plan, now);
        writer.answer.reread(&writer.plan);
        writer.attempts.reread(calls.made, last, asked);
        writer.attempts.latest = Some(Failed {
            outcome: stopped(),
            failure: Failure {
                kind: FailureKind::Broken,
                nothing_ran: false,
                retry_after: None,
            },
            place: latest,
            attempt: last,
        });
        let ran_again = seams.iter().any(|seam| seam.kind == SeamKind::RanAgain);
        writer.ladder.reread(in_vain, ran_again);
        let mut resumption = Self {
            writer,
            seams,
            rendered: VecDeque::new(),
            logged: VecDeque::new(),
        };
        resumption.pass_seams();
        Some(resumption)
    }

    /// Takes the next event. False when nobody can go on behind it: then the rest need not be read.
    pub fn push(&mut self, event: &Event) -> bool {
        let writer = &mut self.writer;
        if event.seq != writer.seq.next() {
            return false;
        }
        writer.seq = event.seq;
        writer.bytes += event.data.len() as u64;
        let event = SseEvent {
            name: event.name.clone(),
            data: event.data.clone(),
        };
        self.logged.push_back(event.clone());
        let Some(events) = writer.answer.reread_event(&writer.plan, event) else {
            return false;
        };
        self.rendered.extend(events);
        while let (Some(rendered), Some(logged)) = (self.rendered.front(), self.logged.front()) {
            if rendered != logged {
                return false;
            }
            self.rendered.pop_front();
            self.logged.pop_front();
        }
        self.pass_seams();
        true
    }

    /// The writer, behind the last event. It waits for [`Input::Start`](super::Input::Start), and asks
    /// then who goes on. `None` when nobody can.
    pub fn finish(self) -> Option<Writer> {
        let Self {
            mut writer,
            seams,
            rendered,
            logged,
            ..
        } = self;
        let whole = seams.is_empty() && rendered.is_empty() && logged.is_empty();
        if !whole || writer.seq == Seq::ZERO || writer.answer.said().is_none() {
            return None;
        }
        writer.acknowledged = writer.seq;
        let failed = writer.attempts.latest.as_ref()?;
        writer.plan.route.turn_to(failed.place);
        if !writer.answer.is_heard() {
            let record = failed
                .outcome
                .abandoned(failed.attempt, &writer.plan.leg().upstream);
            writer.attempts.audit.push(Record::Abandoned(record));
        }
        Some(writer)
    }

    fn pass_seams(&mut self) {
        while let Some(seam) = self.seams.pop_front_if(|seam| seam.seq <= self.writer.seq) {
            self.writer.ladder.pass(&seam);
            self.writer.answer.reread_seam();
        }
    }
}

/// Whether somebody else goes on behind it.
const fn is_cut(seam: &Seam) -> bool {
    !matches!(seam.kind, SeamKind::Reattached)
}

/// What is told if nobody goes on. Whoever answered did not fail, and may be asked again.
pub(super) fn stopped() -> Outcome {
    let message =
        "The gateway was stopped in the middle of this answer, and nobody goes on with it.";
    let error = Error::new(ErrorCode::GatewayRestarted, message);
    Outcome::upstream_failed(error, FailureKind::Broken)
}
