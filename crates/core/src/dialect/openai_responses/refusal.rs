use bytes::Bytes;
use serde_json::Value;

use crate::dialect::openai::{fault_body, fault_from_event};
use crate::error::ErrorCode;

/// The error object that the one event of a response has which failed before it began. What is no
/// such event stays as it is.
pub(in crate::dialect) fn refusal(event: Bytes) -> Bytes {
    let Ok(read) = serde_json::from_slice::<Value>(&event) else {
        return event;
    };
    let response = &read["response"];
    if response["error"].is_null() {
        return event;
    }
    let mut fault = fault_from_event(response.to_string().as_bytes());
    let code = fault.code.as_deref().and_then(ErrorCode::from_name);
    let code = code.unwrap_or(match fault.code.as_deref() {
        Some("rate_limit_exceeded") => ErrorCode::TooManyReaders,
        Some("invalid_prompt") => ErrorCode::InvalidValue,
        _ => ErrorCode::UpstreamError,
    });
    fault.kind = Some(code.openai_type().to_owned());
    fault_body(&fault, code)
}
