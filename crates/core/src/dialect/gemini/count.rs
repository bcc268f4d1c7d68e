use bytes::Bytes;

use super::url::place;
use crate::dialect::edit::{Changed, member};
use crate::dialect::json_line;
use crate::event::tokens_of;

/// Where an upstream counts the tokens of a request, below the version of the API.
pub fn count_path(model: &str) -> String {
    place(model) + ":countTokens"
}

/// The body of such a question for `model`. It may hold a whole request, which names its model too.
pub fn count_body(body: &Bytes, model: &str) -> Bytes {
    let Ok(text) = str::from_utf8(body) else {
        return body.clone();
    };
    let name = serde_json::Value::from(place(model).trim_start_matches('/')).to_string();
    let rename = |inner: &str| member(inner, "model", |_| Changed::To(name.clone()));
    match member(text, "generateContentRequest", rename) {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => body.clone(),
    }
}

/// The answer where nobody can count: an estimate that says so.
pub fn count_estimate(body: &[u8]) -> Bytes {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Estimate {
        total_tokens: u64,
        estimated: bool,
    }
    json_line(&Estimate {
        total_tokens: tokens_of(body.len()),
        estimated: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_within_names_the_upstreams_model() {
        let cases = [
            (
                r#"{"generateContentRequest": {"model":"models/m","contents":[]}}"#,
                r#"{"generateContentRequest": {"model":"models/u","contents":[]}}"#,
            ),
            (r#"{ "contents":[] }"#, r#"{ "contents":[] }"#),
            ("no JSON", "no JSON"),
        ];
        for (body, expected) in cases {
            assert_eq!(count_body(&body.into(), "u"), expected);
        }
        assert_eq!(count_path("u"), "/models/u:countTokens");
    }
}
