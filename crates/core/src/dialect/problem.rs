//! `application/problem+json` (RFC 9457): errors of Everstream's own paths.

use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;
use crate::id::StreamId;

/// The media type of [`problem_body`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The problem document of an error, on one line.
pub fn problem_body(error: &Error) -> Bytes {
    let name = error.code.as_str();
    let problem = Problem {
        kind: format!("urn:everstream:error:{name}"),
        title: title(name),
        status: error.code.status(),
        detail: &error.message,
        code: name,
        param: error.param.as_deref(),
        stream: error.stream,
    };
    super::json_line(&problem)
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamId>,
}

/// `cursor_ahead` as "Cursor ahead".
fn title(name: &str) -> String {
    let words = name.replace('_', " ");
    let (first, rest) = words.split_at(1);
    first.to_ascii_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_problem_has_the_members_of_the_rfc() {
        let error = Error::new(ErrorCode::CursorAhead, "The log ends at 3.\nNot at 9.")
            .param("after")
            .stream(StreamId::from_bits(1));
        assert_eq!(
            problem_body(&error),
            concat!(
                r#"{"type":"urn:everstream:error:cursor_ahead","title":"Cursor ahead","status":409,"#,
                r#""detail":"The log ends at 3.\nNot at 9.","code":"cursor_ahead","param":"after","#,
                r#""stream":"0000000000001"}"#,
            )
        );
    }

    #[test]
    fn every_code_makes_one_line() {
        for &code in ErrorCode::ALL {
            let body = problem_body(&Error::new(code, "x"));
            assert!(body.starts_with(b"{") && !body.contains(&b'\n'), "{code}");
        }
    }
}
