//! What goes to the tail of the log, and what if that does not take it.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::event::Event;
use crate::frame::sse::SseEvent;
use crate::id::UnixMillis;
use crate::record::Record;

use super::outcome::Outcome;
use super::{Output, Phase, Writer};

impl Writer {
    /// Numbers an event, or says which bound it would break.
    pub(super) fn event(
        &mut self,
        now: UnixMillis,
        event: SseEvent,
    ) -> Result<Event, Box<Outcome>> {
        let limits = &self.plan.limits;
        let bytes = self.bytes + event.data.len() as u64;
        if bytes > limits.stream_bytes {
            return Err(Outcome::too_large("limits.stream_bytes", limits.stream_bytes).into());
        }
        if self.seq.get() >= limits.stream_events {
            return Err(Outcome::too_large("limits.stream_events", limits.stream_events).into());
        }
        self.bytes = bytes;
        self.seq = self.seq.next();
        self.attach.heard(&event);
        let SseEvent { name, data } = event;
        Ok(Event {
            seq: self.seq,
            time: now,
            name,
            data,
        })
    }

    /// Appends what is left, the dialect's error event if there is an error, and the terminal
    /// record, all at once.
    pub(super) fn end_with(
        &mut self,
        now: UnixMillis,
        outcome: &Outcome,
        mut records: Vec<Record>,
        outputs: &mut Vec<Output>,
    ) {
        if self.is_over() {
            return;
        }
        self.restore();
        if outcome.hang_up {
            outputs.push(Output::HangUp);
        }
        if !outcome.is_whole() {
            self.cancel_run(outputs);
        }
        records.append(&mut self.answer.pending);
        if let Some(SseEvent { name, data }) =
            outcome.event(&self.plan, || self.answer.place(&self.plan, self.seq))
        {
            self.seq = self.seq.next();
            records.push(Record::Event(Event {
                seq: self.seq,
                time: now,
                name,
                data,
            }));
        }
        let usage = self.answer.usage(&self.plan, outcome.nothing_ran);
        let usage = self.spent().plus(&usage);
        let end = Arc::new(outcome.end(&self.plan, usage, now));
        records.push(Record::End(Arc::clone(&end)));
        self.end = Some(end);
        self.phase = Phase::Ending;
        outputs.push(Output::Append(records));
    }

    /// A failed append left nothing behind, so its numbers are free. One more append is tried, for
    /// the error and the terminal record; if the log refuses that too, the next start finds an
    /// orphan and resolves it, and the driver tells the readers.
    pub(super) fn on_append_failed(
        &mut self,
        now: UnixMillis,
        code: ErrorCode,
        outputs: &mut Vec<Output>,
    ) {
        if self.append_failed || self.phase == Phase::Over {
            self.phase = Phase::Over;
            outputs.push(Output::Done(None));
            return;
        }
        self.append_failed = true;
        self.seq = self.acknowledged;
        self.answer.pending.clear();
        let message = "The stream log could not be written, so the answer was stopped.";
        let mut outcome = Outcome::failed(Error::new(code, message));
        outcome.nothing_ran = self.phase == Phase::Dialling && self.none_ran();
        self.settle(now, outputs);
        // An end that was under way did not happen.
        self.phase = Phase::Answering;
        self.end_with(now, &outcome, Vec::new(), outputs);
    }
}
