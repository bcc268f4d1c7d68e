use bytes::Bytes;

use super::finish;
use super::item::{Item, items};
use super::response::{ResponseOut, State, output};
use super::stream::Decoder;
use super::wire::ResponseIn;
use crate::answer::{Answer, Choice, Delta, Fold};
use crate::dialect::extension::fields;
use crate::dialect::json_line;
use crate::dialect::openai::fault_from_event;
use crate::dialect::translate::{DecodeError, ReplyHead, whole};

/// Reads the body of an answer that is not streamed.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let response: ResponseIn<'_> = serde_json::from_slice(body)?;
    if response.error.is_some() {
        return Err(DecodeError::Failed(fault_from_event(body).into()));
    }
    let mut fold = Fold::default();
    let mut out = |delta: &Delta<'_>| fold.push(delta);
    Decoder::new(id).whole(response, body, &mut out)?;
    whole(fold)
}

/// Writes the body of an answer that is not streamed. The API knows one choice.
pub(in crate::dialect) fn write_answer(answer: &Answer, head: &ReplyHead) -> Bytes {
    let head = known(head, &answer.start);
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let items = numbered(items(choice), &head);
    let refused = items
        .iter()
        .any(|(_, item)| matches!(item, Item::Message { refusal: true, .. }));
    let stop = choice.finish.as_ref();
    let state = match stop.and_then(|finish| finish::write(finish, refused)) {
        None => State::Completed,
        Some(reason) => State::Incomplete(reason),
    };
    let extras = fields(&choice.extras);
    json_line(&ResponseOut::new(
        &head,
        state,
        output(&items, state),
        answer.usage.as_ref(),
        extras,
    ))
}

/// Takes what the provider says, but for the id: under that the client asks the gateway.
pub(super) fn known(head: &ReplyHead, start: &crate::answer::Start<'_>) -> ReplyHead {
    let id = head.id.clone();
    let mut head = head.clone();
    head.take(start);
    head.id = id;
    head
}

fn numbered(items: Vec<Item>, head: &ReplyHead) -> Vec<(String, Item)> {
    let items = items.into_iter().enumerate();
    items
        .map(|(index, item)| (item.id(&head.id, index), item))
        .collect()
}
