use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::dialect::{json_line, redact};
use crate::error::{Error, ErrorCode};
use crate::limits::UPSTREAM_MESSAGE_CHARS;

/// Longest `code`, `type` or `param` that is passed on.
const NAME_BYTES: usize = 64;

/// The error object of the OpenAI dialect, on one line: the body of a response, or the data of a
/// terminal event. When a stream broke off, the message says where the rest can be read.
pub fn error_body(error: &Error) -> Bytes {
    json_line(&Body {
        error: Object {
            message: &error.told(),
            kind: error.code.openai_type(),
            param: error.param.as_deref(),
            code: error.code.as_str(),
        },
    })
}

/// An upstream's failure as an error object, with its own words, `type`, `param` and `code`.
pub fn fault_body(fault: &UpstreamFault, fallback: ErrorCode) -> Bytes {
    json_line(&Body {
        error: Object {
            message: &fault.message,
            kind: fault.kind.as_deref().unwrap_or(fallback.openai_type()),
            param: fault.param.as_deref(),
            code: fault.code.as_deref().unwrap_or(fallback.as_str()),
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
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// What an upstream says went wrong, safe to show and to log: short, one line, without
/// credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFault {
    /// Its words. Not empty.
    pub message: String,
    /// Its code, as text also when it was a number.
    pub code: Option<String>,
    /// Its `type`.
    pub kind: Option<String>,
    /// The field of the request that it blames.
    pub param: Option<String>,
    /// The HTTP status: the response's own, or the one that an error event names.
    pub status: Option<u16>,
}

/// Reads the body of a response with an error status: an OpenAI error object, `{"error":"..."}`,
/// `{"message":...}`, `{"detail":...}`, a page of HTML, or plain text.
pub fn fault_from_body(status: u16, body: &[u8]) -> UpstreamFault {
    UpstreamFault {
        status: Some(status),
        ..fault_from_event(body)
    }
}

/// Reads the data of an error event, also of one that only its name (`event: error`) tells, in any
/// of the forms that a body may have.
pub fn fault_from_event(data: &[u8]) -> UpstreamFault {
    match serde_json::from_slice::<Value>(data) {
        Ok(value) => from_value(&value),
        Err(_) => UpstreamFault {
            message: safe(&page_text(&String::from_utf8_lossy(data))),
            code: None,
            kind: None,
            param: None,
            status: None,
        },
    }
}

fn from_value(value: &Value) -> UpstreamFault {
    let error = match &value["error"] {
        Value::Null => value,
        error => error,
    };
    let number = |name: &str| {
        let status = u16::try_from(error[name].as_u64()?).ok()?;
        (400..600).contains(&status).then_some(status)
    };
    let reason = message(error).or_else(|| message(value));
    UpstreamFault {
        message: safe(&(reason.unwrap_or_default().to_owned() + &filtered(error))),
        code: name(&error["code"]),
        kind: name(&error["type"]),
        param: name(&error["param"]),
        status: number("status").or_else(|| number("code")),
    }
}

/// The filters of Azure's that a request was caught in, as a sentence behind the reason.
fn filtered(error: &Value) -> String {
    let results = &error["innererror"]["content_filter_result"];
    let names = results.as_object().into_iter().flatten();
    let names = names.filter(|(_, result)| result["filtered"] == true);
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" Filtered: {}.", names.join(", "))
    }
}

fn message(value: &Value) -> Option<&str> {
    let words = match value {
        // FastAPI lists what is wrong with each field.
        Value::Array(list) => return message(list.first()?),
        Value::Object(object) => ["message", "Message", "detail", "msg", "error_description"]
            .iter()
            .filter_map(|name| object.get(*name))
            .find_map(message),
        other => other.as_str(),
    };
    words.filter(|words| !words.trim().is_empty())
}

fn name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(name) => redact(name).into_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !name.is_empty() && name.len() <= NAME_BYTES;
    (fits && name.bytes().all(|byte| byte.is_ascii_graphic())).then_some(name)
}

/// A page's title is all that a person wants of it.
fn page_text(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('<') {
        return text.to_owned();
    }
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let end = lower[start..].find('<')?;
        Some(text[start..start + end].trim()).filter(|title| !title.is_empty())
    });
    match title {
        Some(title) => format!("a page of HTML, titled \"{title}\""),
        None => "a page of HTML".to_owned(),
    }
}

fn safe(text: &str) -> String {
    // Only the start is looked at: the text may be a whole body.
    let start: String = text.chars().take(4 * UPSTREAM_MESSAGE_CHARS).collect();
    let words: Vec<&str> = start
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    let line = redact(&line);
    if line.is_empty() {
        return "The upstream gave no reason.".to_owned();
    }
    match line.char_indices().nth(UPSTREAM_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.into_owned(),
    }
}

#[cfg(test)]
mod tests;
