use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dialect::json_line;
use crate::dialect::openai::fault_from_body;
use crate::dialect::wire::{Str, said};
use crate::error::ErrorCode;
use crate::fault::{Fault, FaultKind};

/// The field by which a request is a turn of a conversation that Anthropic's servers keep.
pub(super) const THREAD: &str = "thread";

/// Reads the body of a response with an error status.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    let mut fault = Fault::from(fault_from_body(status, body));
    let body = serde_json::from_slice::<BodyIn<'_>>(body).ok();
    let details = body.and_then(|body| body.error?.details);
    let code = details.and_then(|details| said(details.error_code));
    if let Some(code) = code.filter(|code| is_of_threads(code)) {
        fault.code = Some(code.into_owned());
    }
    fault
}

/// The error object, as a body or as the data of a stream's `error` event.
pub(in crate::dialect) fn write_error(fault: &Fault) -> Bytes {
    json_line(&Body {
        kind: "error",
        error: Object {
            kind: type_of(fault.kind),
            message: &fault.message,
            details: details(fault),
        },
    })
}

/// By these words Anthropic's SDKs, whose tool runners begin a thread unasked, know that they are to
/// begin another one, or to go on without.
fn details(fault: &Fault) -> Option<Details<'_>> {
    let code = fault.code.as_deref()?;
    let untranslatable = code == ErrorCode::Untranslatable.as_str();
    let error_code = if untranslatable && fault.param.as_deref() == Some(THREAD) {
        "thread_unsupported_request"
    } else {
        Some(code).filter(|code| is_of_threads(code))?
    };
    Some(Details { error_code })
}

fn is_of_threads(code: &str) -> bool {
    let is_name = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.starts_with("thread_") && is_name && code.len() <= 64
}

#[derive(Deserialize)]
struct BodyIn<'a> {
    #[serde(borrow)]
    error: Option<ErrorIn<'a>>,
}

#[derive(Deserialize)]
struct ErrorIn<'a> {
    #[serde(borrow)]
    details: Option<DetailsIn<'a>>,
}

#[derive(Deserialize)]
struct DetailsIn<'a> {
    #[serde(borrow)]
    error_code: Option<Str<'a>>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

const fn type_of(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid | FaultKind::ContentFilter => "invalid_request_error",
        FaultKind::Unauthorized => "authentication_error",
        FaultKind::Billing => "billing_error",
        FaultKind::Forbidden => "permission_error",
        FaultKind::NotFound => "not_found_error",
        FaultKind::TooLarge => "request_too_large",
        FaultKind::RateLimit => "rate_limit_error",
        FaultKind::Overloaded => "overloaded_error",
        FaultKind::Timeout => "timeout_error",
        FaultKind::Interrupted | FaultKind::Cancelled | FaultKind::Server => "api_error",
    }
}
