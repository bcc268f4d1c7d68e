//! What becomes of an answer whose budgets have nothing left.

use crate::content::Json;
use crate::error::ErrorCode;
use crate::event::Usage;
use crate::id::UnixMillis;
use crate::record::Record;

use super::outcome::Outcome;
use super::{Output, Phase, Writer};

impl Writer {
    /// What the attempt that leads has used so far, as far as it is known.
    pub fn used(&self) -> Usage {
        self.answer.usage(&self.plan, false)
    }

    /// Ends an answer of which something was delivered as if it had reached its limit of tokens; one
    /// of which nothing was is stopped, and one that is finished but for its end mark is not.
    pub(super) fn on_exhausted(
        &mut self,
        now: UnixMillis,
        output: Option<Json<'static>>,
        outputs: &mut Vec<Output>,
    ) {
        if self.is_over() || self.answer.is_finished(&self.plan) {
            return;
        }
        let is_streaming = self.phase == Phase::Answering && self.answer.is_stream();
        if !is_streaming || !self.answer.is_heard() {
            return self.on_stop(now, ErrorCode::BudgetExhausted, outputs);
        }
        let mut records = Vec::new();
        let mut outcome = Outcome::exhausted();
        for event in self.answer.stopped(&self.plan, self.seq, output) {
            match self.event(now, event) {
                Ok(event) => records.push(Record::Event(event)),
                Err(full) => {
                    outcome = *full;
                    break;
                }
            }
        }
        self.conclude(now, outcome, records, outputs);
    }
}
