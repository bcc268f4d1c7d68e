use bytes::Bytes;
use serde::Serialize;

use crate::dialect::json_line;
use crate::dialect::openai::fault_from_body;
use crate::fault::{Fault, FaultKind};

/// Reads the body of a response with an error status, in any of the forms that servers have.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    fault_from_body(status, body).into()
}

/// The error object, as a body or as the data of a stream's last event.
pub(in crate::dialect) fn write_error(fault: &Fault) -> Bytes {
    json_line(&Body {
        error: Object {
            message: &fault.message,
            kind: type_of(fault.kind),
            param: fault.param.as_deref(),
            code: fault.code.as_deref().or(code_of(fault.kind)),
        },
    })
}

#[derive(Serialize)]
struct Body<'a> {
    error: Object<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

const fn type_of(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid
        | FaultKind::Unauthorized
        | FaultKind::Forbidden
        | FaultKind::NotFound
        | FaultKind::TooLarge
        | FaultKind::ContentFilter => "invalid_request_error",
        FaultKind::Billing => "insufficient_quota",
        FaultKind::RateLimit => "rate_limit_error",
        FaultKind::Interrupted => "stream_interrupted",
        FaultKind::Cancelled => "stream_cancelled",
        FaultKind::Overloaded | FaultKind::Timeout | FaultKind::Server => "server_error",
    }
}

const fn code_of(kind: FaultKind) -> Option<&'static str> {
    match kind {
        FaultKind::Unauthorized => Some("invalid_api_key"),
        FaultKind::Billing => Some("insufficient_quota"),
        FaultKind::RateLimit => Some("rate_limit_exceeded"),
        FaultKind::ContentFilter => Some("content_filter"),
        _ => None,
    }
}
