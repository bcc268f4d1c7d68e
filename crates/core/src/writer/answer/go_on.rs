//! An answer that another attempt goes on with.

use super::translation::Translation;
use super::{Answer, Body, Reading, Step};
use crate::dialect::ClientDialect;
use crate::dialect::openai::Marks;
use crate::event::Usage;
use crate::frame::sse::SseEvent;
use crate::writer::{Plan, UpstreamHead};

impl Answer {
    /// All that was delivered, if another attempt can go on from it.
    pub(in crate::writer) fn said(&self) -> Option<&str> {
        match (&self.reading, &self.shadow) {
            (Reading::Translated(translation), _) => translation.said(),
            (_, shadow) => shadow.as_ref()?.said(),
        }
    }

    /// Nobody heard of this attempt, and its cost is its record's alone.
    pub(in crate::writer) fn forget_usage(&mut self) {
        self.usage = None;
        self.content_events = 0;
    }

    /// Its events will come from the log.
    pub(in crate::writer) fn reread(&mut self, plan: &Plan) {
        if let Reading::Translated(translation) = &mut self.reading {
            translation.reread(plan);
        }
        self.body = Body::events(plan);
    }

    /// Takes an event as the client got it, and gives what it would have got now. `None` for one that
    /// nobody goes on behind.
    pub(in crate::writer) fn reread_event(
        &mut self,
        plan: &Plan,
        event: SseEvent,
    ) -> Option<Vec<SseEvent>> {
        let mut step = Step::default();
        self.take_event(plan, event, &mut step);
        if self.goes_on {
            // It is the sum over all attempts, of which this one's part is not known.
            self.usage = None;
        }
        step.outcome.is_none().then_some(step.events)
    }

    /// What follows in the log is of another attempt.
    pub(in crate::writer) fn reread_seam(&mut self) {
        if let Some(shadow) = self.shadow.take() {
            self.reading = Reading::Translated(Box::new(shadow.translation));
        }
        self.next_attempt();
    }

    /// The same answer, about to be gone on with by the upstream that is asked now. Earlier attempts
    /// used `before`. If it `repeats` what was delivered, that is dropped. Only where there is
    /// [`Self::said`].
    pub(in crate::writer) fn go_on(&mut self, plan: &Plan, before: &Usage, repeats: bool) {
        if let Some(shadow) = self.shadow.take() {
            self.reading = Reading::Translated(Box::new(shadow.translation));
        }
        if let Reading::Translated(translation) = &mut self.reading {
            translation.go_on(plan, before, repeats);
        }
        self.body = Body::Unknown;
        self.head = UpstreamHead::default();
        self.next_attempt();
    }

    fn next_attempt(&mut self) {
        self.usage = None;
        self.content_events = 0;
        self.finished = 0;
        self.marks = Marks::default();
        self.delivered = false;
        self.goes_on = true;
    }
}

/// An answer that goes through, translated for nobody beside: so there is a renderer that stands where
/// the client is, for who has to go on from there.
#[derive(Debug)]
pub(super) struct Shadow {
    translation: Translation,
    /// The blocks that the client saw, and those that the renderer would have shown it.
    passed: Blocks,
    rendered: Blocks,
}

/// Anthropic's content blocks: an empty one is none to a renderer, and moves the index of the next.
#[derive(Debug, Default, PartialEq, Eq)]
struct Blocks {
    opened: u64,
    closed: u64,
}

impl Shadow {
    /// `None` where nobody would go on; and for OpenAI's responses, as their items have ids that are
    /// the provider's own, and the last event repeats them.
    pub(super) fn new(plan: &Plan) -> Option<Box<Self>> {
        let client = plan.surface.client()?;
        let passes = plan.surface.passes_through(plan.leg().provider);
        let renews = client != ClientDialect::OpenAiResponses;
        (plan.is_recovering() && passes && renews).then(|| {
            Box::new(Self {
                translation: Translation::new(plan, client),
                passed: Blocks::default(),
                rendered: Blocks::default(),
            })
        })
    }

    /// Takes an event that went through; false if nobody can go on behind it.
    pub(super) fn push(&mut self, plan: &Plan, event: &SseEvent) -> bool {
        let mut events = Vec::new();
        let heard = self.translation.push(plan, event, &mut events);
        self.passed.count(event);
        events.iter().for_each(|event| self.rendered.count(event));
        heard.broken.is_none() && heard.fault.is_none()
    }

    fn said(&self) -> Option<&str> {
        let text = self.translation.said();
        text.filter(|_| self.passed == self.rendered)
    }
}

impl Blocks {
    fn count(&mut self, event: &SseEvent) {
        match &*event.name {
            b"content_block_start" => self.opened += 1,
            b"content_block_stop" => self.closed += 1,
            _ => {}
        }
    }
}
