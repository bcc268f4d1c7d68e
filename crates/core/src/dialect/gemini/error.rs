use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::json_line;
use crate::dialect::openai::{UpstreamFault, fault_from_body, fault_from_event};
use crate::dialect::wire::{Str, said};
use crate::fault::{Fault, FaultKind};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
/// The domain of reasons that no service of Google's gave.
const DOMAIN: &str = "everstream";
/// Longest name that is passed on.
const NAME_BYTES: usize = 64;

/// Reads the body of a response with an error status. It is within an array where a stream in the
/// form of one was asked for.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    let list = serde_json::from_slice::<Vec<&RawValue>>(body);
    let first = list.ok().and_then(|list| list.first().copied());
    let body = first.map_or(body, |first| first.get().as_bytes());
    read(fault_from_body(status, body), body)
}

/// Reads an error in the middle of a stream, or in the place of an answer.
pub(super) fn read_event(data: &[u8]) -> Fault {
    read(fault_from_event(data), data)
}

fn read(mut upstream: UpstreamFault, body: &[u8]) -> Fault {
    let body = serde_json::from_slice::<BodyIn<'_>>(body).ok();
    let Some(error) = body.and_then(|body| body.error) else {
        return upstream.into();
    };
    // The code is the HTTP status once more.
    upstream.code = said(error.status)
        .filter(|status| is_name(status))
        .map(Cow::into_owned);
    let mut fault = Fault::from(upstream);
    for detail in error.details.into_iter().flatten() {
        match detail.kind.as_ref().map_or("", |kind| &*kind.0) {
            RETRY_INFO => {
                fault.retry_after = said(detail.retry_delay).and_then(|delay| duration(&delay));
            }
            BAD_REQUEST => {
                let violation = detail.field_violations.into_iter().flatten().next();
                let field = violation.and_then(|violation| said(violation.field));
                fault.param = field.filter(|field| is_name(field)).map(Cow::into_owned);
            }
            // Google refuses a key that it does not know with status 400.
            ERROR_INFO if said(detail.reason).as_deref() == Some("API_KEY_INVALID") => {
                fault.kind = FaultKind::Unauthorized;
            }
            _ => {}
        }
    }
    fault
}

#[derive(Deserialize)]
struct BodyIn<'a> {
    #[serde(borrow)]
    error: Option<ErrorIn<'a>>,
}

#[derive(Deserialize)]
struct ErrorIn<'a> {
    #[serde(borrow)]
    status: Option<Str<'a>>,
    #[serde(borrow)]
    details: Option<Vec<DetailIn<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DetailIn<'a> {
    #[serde(rename = "@type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    retry_delay: Option<Str<'a>>,
    #[serde(borrow)]
    reason: Option<Str<'a>>,
    #[serde(borrow)]
    field_violations: Option<Vec<ViolationIn<'a>>>,
}

#[derive(Deserialize)]
struct ViolationIn<'a> {
    #[serde(borrow)]
    field: Option<Str<'a>>,
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A duration in protobuf's form for JSON: `34.07s`.
fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The error object, as a body or as the data of a stream's last event.
pub(in crate::dialect) fn write_error(fault: &Fault) -> Bytes {
    let param = fault.param.as_deref();
    let details = [
        fault.retry_after.map(|after| DetailOut::RetryInfo {
            retry_delay: format!("{}s", after.as_secs_f64()),
        }),
        param.map(|field| DetailOut::BadRequest {
            field_violations: [ViolationOut {
                field,
                description: &fault.message,
            }],
        }),
        fault.code.as_deref().map(|reason| DetailOut::ErrorInfo {
            reason,
            domain: DOMAIN,
        }),
    ];
    json_line(&BodyOut {
        error: ErrorOut {
            code: fault.http_status(),
            message: &fault.message,
            status: status_of(fault.kind),
            details: details.into_iter().flatten().collect(),
        },
    })
}

#[derive(Serialize)]
struct BodyOut<'a> {
    error: ErrorOut<'a>,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<DetailOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "@type", rename_all_fields = "camelCase")]
enum DetailOut<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo")]
    RetryInfo { retry_delay: String },
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest")]
    BadRequest {
        field_violations: [ViolationOut<'a>; 1],
    },
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo {
        reason: &'a str,
        domain: &'static str,
    },
}

#[derive(Serialize)]
struct ViolationOut<'a> {
    field: &'a str,
    description: &'a str,
}

/// The name in `google.rpc.Code`.
const fn status_of(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid | FaultKind::TooLarge | FaultKind::ContentFilter => "INVALID_ARGUMENT",
        FaultKind::Unauthorized => "UNAUTHENTICATED",
        FaultKind::Forbidden => "PERMISSION_DENIED",
        FaultKind::NotFound => "NOT_FOUND",
        // Of what is used up Google says the same, be it for a minute or for the month.
        FaultKind::RateLimit | FaultKind::Billing => "RESOURCE_EXHAUSTED",
        FaultKind::Overloaded | FaultKind::Interrupted => "UNAVAILABLE",
        FaultKind::Timeout => "DEADLINE_EXCEEDED",
        FaultKind::Cancelled => "CANCELLED",
        FaultKind::Server => "INTERNAL",
    }
}
