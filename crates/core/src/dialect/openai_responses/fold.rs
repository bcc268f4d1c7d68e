use bytes::Bytes;

use crate::dialect::json::{for_each_member, text_of};
use crate::dialect::openai::fault_from_event;
use crate::error::{Error, ErrorCode};

/// The body of an answer that is not streamed: the response of its last event.
///
/// # Errors
/// As [`Surface::fold`](crate::event::Surface::fold).
pub(in crate::dialect) fn fold(events: &[Bytes]) -> Result<Bytes, Error> {
    let none = || {
        let message = "The last event of the answer has no response.";
        Error::new(ErrorCode::UpstreamInvalid, message)
    };
    let last = events.last().ok_or_else(none)?;
    if let Some(response) = whole(last) {
        return Ok(response);
    }
    let kind = member(last, "type").and_then(|kind| text_of(kind).ok());
    let failed = matches!(kind.as_deref(), Some("error" | "response.failed"));
    let response = member(last, "response").filter(|_| failed);
    let told = response.map_or(&**last, str::as_bytes);
    Err(if failed {
        Error::new(ErrorCode::UpstreamError, fault_from_event(told).message)
    } else {
        none()
    })
}

/// The response that is in the last event of a whole answer, byte for byte.
pub(super) fn whole(event: &Bytes) -> Option<Bytes> {
    let kind = text_of(member(event, "type")?).ok()?;
    let is_end = matches!(&*kind, "response.completed" | "response.incomplete");
    let response = member(event, "response").filter(|_| is_end)?;
    Some(event.slice_ref(response.as_bytes()))
}

/// The text of a member of an object.
pub(super) fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a str> {
    let mut found = None;
    for_each_member(object, |member| {
        if member.key == name {
            found = Some(member.value);
        }
        Ok::<_, serde_json::Error>(())
    })
    .ok()?;
    found
}
