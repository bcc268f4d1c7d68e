use serde::Deserialize;

use crate::dialect::openai::{fault_from_body, fault_from_event};
use crate::dialect::wire::{Str, said};
use crate::fault::{Fault, FaultKind};

/// Longest name of an exception that is passed on.
const NAME_BYTES: usize = 64;

/// The exceptions of the API, without the word that ends all of their names, and what each has as its
/// status.
const EXCEPTIONS: [(&str, FaultKind, u16); 11] = [
    ("accessDenied", FaultKind::Forbidden, 403),
    ("internalServer", FaultKind::Server, 500),
    ("modelError", FaultKind::Server, 424),
    ("modelNotReady", FaultKind::Overloaded, 429),
    ("modelStreamError", FaultKind::Server, 424),
    ("modelTimeout", FaultKind::Timeout, 408),
    ("resourceNotFound", FaultKind::NotFound, 404),
    ("serviceQuotaExceeded", FaultKind::RateLimit, 400),
    ("serviceUnavailable", FaultKind::Overloaded, 503),
    ("throttling", FaultKind::RateLimit, 429),
    ("validation", FaultKind::Invalid, 400),
];

/// Reads the body of a response with an error status: a message, and at times the exception's name,
/// which is else in a header.
pub(in crate::dialect) fn read_error(status: u16, body: &[u8]) -> Fault {
    let named = serde_json::from_slice::<BodyIn<'_>>(body).ok();
    let name = named.and_then(|body| said(body.kind)).unwrap_or_default();
    let mut fault = Fault::from(fault_from_body(status, body));
    match known(&name) {
        Some((kind, _)) => fault.kind = kind,
        // The model failed, not the request.
        None if status == 424 => fault.kind = FaultKind::Server,
        None => {}
    }
    fault.code = code(&name).or(fault.code);
    fault
}

/// Reads an exception in the middle of a stream.
pub(super) fn read_exception(name: &[u8], data: &[u8]) -> Fault {
    let name = String::from_utf8_lossy(name);
    let mut fault = Fault::from(fault_from_event(data));
    if let Some((kind, status)) = known(&name) {
        fault.kind = kind;
        fault.status = Some(status);
    }
    fault.code = code(&name).or(fault.code);
    fault
}

#[derive(Deserialize)]
struct BodyIn<'a> {
    #[serde(rename = "__type", borrow)]
    kind: Option<Str<'a>>,
}

/// The name itself, of `aws.service#ThrottlingException` or `ThrottlingException:http://...`.
fn plain(name: &str) -> &str {
    let name = name.rsplit('#').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

fn known(name: &str) -> Option<(FaultKind, u16)> {
    let name = plain(name).strip_suffix("Exception")?;
    let found = EXCEPTIONS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name));
    found.map(|(_, kind, status)| (*kind, *status))
}

fn code(name: &str) -> Option<String> {
    let name = plain(name);
    let fits = !name.is_empty() && name.len() <= NAME_BYTES;
    let fits = fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| name.to_owned())
}
