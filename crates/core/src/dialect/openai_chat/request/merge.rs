use std::borrow::Cow;

use super::out::{ContentOut, MessageOut};

impl<'a> MessageOut<'a> {
    /// Takes what the model said next, which other APIs may have in a message of its own: results
    /// have to follow on the message with all of their calls.
    pub(super) fn add(&mut self, next: MessageOut<'a>) {
        let text = |content: Option<ContentOut<'a>>| match content {
            Some(ContentOut::Text(text)) => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        };
        let mut details = next.reasoning_details;
        for (index, detail) in (self.reasoning_details.len()..).zip(&mut details) {
            detail.number(u32::try_from(index).unwrap_or(u32::MAX));
        }
        self.reasoning_details.append(&mut details);
        self.tool_calls.extend(next.tool_calls);
        self.extra_content = next.extra_content.or(self.extra_content.take());
        for (all, more) in [
            (&mut self.refusal, next.refusal),
            (&mut self.reasoning_content, next.reasoning_content),
            (&mut self.reasoning, next.reasoning),
        ] {
            if let Some(more) = more {
                all.get_or_insert_default().push_str(&more);
            }
        }
        let said = match (text(self.content.take()), text(next.content)) {
            (Some(before), Some(more)) => Some(before + more),
            (before, more) => before.or(more),
        };
        let silent = self.tool_calls.is_empty() && self.refusal.is_none();
        let said = said.or(silent.then_some(Cow::Borrowed("")));
        self.content = said.map(ContentOut::Text);
    }
}
