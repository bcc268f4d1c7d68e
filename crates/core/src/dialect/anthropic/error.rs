use bytes::Bytes;
use serde::Serialize;

use crate::dialect::json_line;
use crate::dialect::openai::fault_from_body;
use crate::fault::{Fault, FaultKind};

/// Reads the body of a response with an error status.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    fault_from_body(status, body).into()
}

/// The error object, as a body or as the data of a stream's `error` event.
pub(in crate::dialect) fn write_error(fault: &Fault) -> Bytes {
    json_line(&Body {
        kind: "error",
        error: Object {
            kind: type_of(fault.kind),
            message: &fault.message,
        },
    })
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
