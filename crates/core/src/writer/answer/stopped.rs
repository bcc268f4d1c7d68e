//! An answer that is ended here, before its own end.

use super::{Answer, Reading};
use crate::content::Json;
use crate::dialect::Stopped;
use crate::frame::sse::SseEvent;
use crate::id::Seq;
use crate::writer::Plan;

impl Answer {
    /// The events that end it behind `before`, as if it had reached its limit of tokens. `output` is
    /// what was delivered of OpenAI's items, where only the log knows it.
    pub(in crate::writer) fn stopped(
        &mut self,
        plan: &Plan,
        before: Seq,
        output: Option<Json<'static>>,
    ) -> Vec<SseEvent> {
        let usage = self.usage(plan, false);
        let mut place = self.place(plan, before);
        place.output = place.output.or(output);
        let (choices, block) = match &mut self.reading {
            Reading::Translated(translation) => return translation.stopped(plan, &usage),
            Reading::OpenAi => (self.marks.unfinished(), None),
            Reading::Observed(observer) => (observer.unfinished(), observer.open_block()),
        };
        plan.surface.stopped(&Stopped {
            place,
            choices,
            block,
            usage,
        })
    }
}
