use bytes::Bytes;
use serde_json::Value;

use crate::dialect::openai::fault_from_body;
use crate::dialect::openai_chat;

/// The error object that the one event of a response has which failed before it began, for a response
/// with this status. What is no such event stays as it is.
pub(in crate::dialect) fn refusal(event: Bytes, status: u16) -> Bytes {
    let read: Value = serde_json::from_slice(&event).unwrap_or_default();
    let response = &read["response"];
    if response["error"].is_null() {
        return event;
    }
    let fault = fault_from_body(status, response.to_string().as_bytes());
    openai_chat::write_error(&fault.into())
}
