use super::event::EventOut;
use crate::dialect::extension::FieldsOut;
use crate::dialect::openai_responses::item::{Item, joined};
use crate::dialect::openai_responses::response::{ResponseOut, State, output};
use crate::dialect::translate::ReplyHead;
use crate::dialect::wire::EventWriter;
use crate::event::Usage;
use crate::frame::sse::SseEvent;

/// A response's items so far, and the events that tell of them, in order.
#[derive(Debug)]
pub(super) struct Emitter {
    pub(super) head: ReplyHead,
    pub(super) items: Vec<(String, Item)>,
    writer: EventWriter,
    /// The number of the next event.
    sequence: u64,
}

impl Emitter {
    pub(super) fn new(head: ReplyHead) -> Self {
        Self {
            head,
            items: Vec::new(),
            writer: EventWriter::default(),
            sequence: 0,
        }
    }

    /// Whether no event was told yet.
    pub(super) fn is_new(&self) -> bool {
        self.sequence == 0
    }

    /// Adds an item, and gives its place.
    pub(super) fn add(&mut self, item: Item, out: &mut Vec<SseEvent>) -> usize {
        let index = self.items.len();
        let id = item.id(&self.head.id, index);
        let mut event = EventOut {
            kind: "response.output_item.added",
            sequence_number: self.sequence,
            output_index: Some(index),
            ..EventOut::default()
        };
        // Its parts come one by one.
        event.item = Some(item.out(&id, "in_progress").without_parts());
        self.sequence += 1;
        out.push(self.writer.event(event.kind, &event));
        self.items.push((id, item));
        index
    }

    /// An item that is whole at once.
    pub(super) fn lone(&mut self, item: Item, out: &mut Vec<SseEvent>) {
        let index = self.add(item, out);
        if matches!(self.items.get(index), Some((_, Item::Message { .. }))) {
            self.part(index, "response.content_part.added", out);
        }
        self.done(index, out);
    }

    /// An event about the one part of an item.
    pub(super) fn part(&mut self, index: usize, kind: &'static str, out: &mut Vec<SseEvent>) {
        let Some((id, item)) = self.items.get(index) else {
            return;
        };
        let summary = matches!(item, Item::Reasoning { .. });
        let event = EventOut {
            kind,
            sequence_number: self.sequence,
            item_id: Some(id),
            output_index: Some(index),
            content_index: (!summary).then_some(0),
            summary_index: summary.then_some(0),
            part: item.part(),
            ..EventOut::default()
        };
        self.sequence += 1;
        out.push(self.writer.event(kind, &event));
    }

    /// Ends an item.
    pub(super) fn done(&mut self, index: usize, out: &mut Vec<SseEvent>) {
        if let Some((_, Item::Call { arguments, .. })) = self.items.get_mut(index)
            && arguments.is_empty()
        {
            arguments.push_str("{}");
        }
        let Some((id, item)) = self.items.get(index) else {
            return;
        };
        let mut event = EventOut {
            item_id: Some(id),
            output_index: Some(index),
            ..EventOut::default()
        };
        let part_done = match item {
            Item::Message {
                refusal: true,
                text,
                ..
            } => {
                event.kind = "response.refusal.done";
                event.content_index = Some(0);
                event.refusal = Some(text);
                Some("response.content_part.done")
            }
            Item::Message { text, logprobs, .. } => {
                event.kind = "response.output_text.done";
                event.content_index = Some(0);
                event.text = Some(text);
                event.logprobs = Some(joined(logprobs));
                Some("response.content_part.done")
            }
            Item::Reasoning { text, .. } if !text.is_empty() => {
                event.kind = "response.reasoning_summary_text.done";
                event.summary_index = Some(0);
                event.text = Some(text);
                Some("response.reasoning_summary_part.done")
            }
            Item::Call {
                name, arguments, ..
            } => {
                event.kind = "response.function_call_arguments.done";
                event.name = Some(name);
                event.arguments = Some(arguments);
                None
            }
            Item::Reasoning { .. } | Item::Image { .. } => None,
        };
        if !event.kind.is_empty() {
            event.sequence_number = self.sequence;
            self.sequence += 1;
            out.push(self.writer.event(event.kind, &event));
        }
        if let Some(kind) = part_done {
            self.part(index, kind, out);
        }
        let Some((id, item)) = self.items.get(index) else {
            return;
        };
        let event = EventOut {
            kind: "response.output_item.done",
            sequence_number: self.sequence,
            output_index: Some(index),
            item: Some(item.out(id, "completed")),
            ..EventOut::default()
        };
        self.sequence += 1;
        out.push(self.writer.event(event.kind, &event));
    }

    /// An event about an item.
    pub(super) fn event<'e>(
        &'e mut self,
        index: usize,
        out: &mut Vec<SseEvent>,
        fill: impl FnOnce(&mut EventOut<'e>),
    ) {
        let Some((id, _)) = self.items.get(index) else {
            return;
        };
        let mut event = EventOut {
            sequence_number: self.sequence,
            item_id: Some(id),
            output_index: Some(index),
            ..EventOut::default()
        };
        fill(&mut event);
        self.sequence += 1;
        out.push(self.writer.event(event.kind, &event));
    }

    pub(super) fn response(
        &mut self,
        kind: &'static str,
        state: State<'_>,
        usage: Option<&Usage>,
        extras: FieldsOut<'_>,
        out: &mut Vec<SseEvent>,
    ) {
        let items = output(&self.items, state);
        let response = ResponseOut::new(&self.head, state, items, usage, extras);
        let event = EventOut {
            kind,
            sequence_number: self.sequence,
            response: Some(response),
            ..EventOut::default()
        };
        self.sequence += 1;
        out.push(self.writer.event(kind, &event));
    }
}
