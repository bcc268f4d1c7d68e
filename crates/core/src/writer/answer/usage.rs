//! What an answer has used: the provider's figures, or an estimate.

use super::Answer;
use crate::event::{Usage, tokens_of};
use crate::writer::Plan;

impl Answer {
    /// The provider's figures, or an estimate that says so.
    pub(in crate::writer) fn usage(&self, plan: &Plan, nothing_ran: bool) -> Usage {
        let ran = self.delivered || self.goes_on && self.content_events > 0;
        match &self.usage {
            Some(usage) if self.finished == 0 && ran => {
                // What some providers say first counts what they are about to say as nothing.
                let said = usage.output_tokens.max(self.content_events);
                Usage {
                    output_tokens: said,
                    estimated: usage.estimated || said != usage.output_tokens,
                    ..usage.clone()
                }
            }
            Some(usage) => usage.clone(),
            None if nothing_ran || !ran => Usage::default(),
            None => estimate(plan, self.content_events),
        }
    }

    /// What an attempt has cost of which nobody heard: the provider's figures, or an estimate.
    pub(in crate::writer) fn cost(&self, plan: &Plan) -> Usage {
        let usage = self.usage.clone();
        usage.unwrap_or_else(|| estimate(plan, self.content_events))
    }
}

/// What is counted where the provider counts nothing.
pub(super) fn estimate(plan: &Plan, content_events: u64) -> Usage {
    Usage {
        input_tokens: tokens_of(plan.request_bytes),
        output_tokens: content_events,
        estimated: true,
        ..Usage::default()
    }
}
