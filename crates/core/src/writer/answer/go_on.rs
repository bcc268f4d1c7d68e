//! An answer that another attempt goes on with.

use super::translation::Translation;
use super::{Answer, Body, Reading};
use crate::dialect::ClientDialect;
use crate::event::Usage;
use crate::id::UnixMillis;
use crate::writer::{Plan, UpstreamHead};

impl Answer {
    /// All that was delivered, if another attempt can go on from it.
    pub(in crate::writer) fn said(&self) -> Option<&str> {
        match (&self.reading, &self.shadow) {
            (Reading::Translated(translation), _) | (_, Some(translation)) => translation.said(),
            _ => None,
        }
    }

    /// Nobody heard of this attempt, and its cost is its record's alone.
    pub(in crate::writer) fn forget_usage(&mut self) {
        self.usage = None;
        self.content_events = 0;
    }

    /// The same answer, about to be gone on with by the upstream that is asked now. Earlier attempts
    /// used `before`. If it `repeats` what was delivered, that is dropped. Only where there is
    /// [`Self::said`].
    pub(in crate::writer) fn go_on(&mut self, plan: &Plan, before: &Usage, repeats: bool) {
        let shadow = self.shadow.take();
        if let Some(shadow) = shadow {
            self.reading = Reading::Translated(shadow);
        }
        if let Reading::Translated(translation) = &mut self.reading {
            translation.go_on(plan, before, repeats);
        }
        self.body = Body::Unknown;
        self.head = UpstreamHead::default();
        self.usage = None;
        self.content_events = 0;
        self.finished = 0;
        self.delivered = false;
        self.goes_on = true;
    }
}

/// Only where what an API's events have said so far is all that a renderer has to know: the items of
/// OpenAI's responses have ids that are the provider's own, and its last event repeats them.
pub(super) fn shadow(plan: &Plan, now: UnixMillis) -> Option<Box<Translation>> {
    let client = plan.surface.client()?;
    let passes = plan.surface.passes_through(plan.leg().provider);
    let renews = client != ClientDialect::OpenAiResponses;
    (plan.is_recovering() && passes && renews)
        .then(|| Box::new(Translation::new(plan, client, now)))
}
