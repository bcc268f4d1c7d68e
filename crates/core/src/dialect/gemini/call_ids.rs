use bytes::Bytes;

use crate::dialect::edit::{Changed, elements, member, without};

/// The members of a part that may have the id of a call, in either form of their names.
const CALLS: [&str; 4] = [
    "functionCall",
    "functionResponse",
    "function_call",
    "function_response",
];

/// Takes the ids of calls and of their results out of a request, for Vertex AI refuses them. Every
/// other byte stays.
pub(in crate::dialect) fn without_call_ids(body: &Bytes) -> Bytes {
    let Ok(text) = str::from_utf8(body) else {
        return body.clone();
    };
    let changed = member(text, "contents", |contents| {
        elements(contents, |content| {
            member(content, "parts", |parts| elements(parts, part))
        })
    });
    match changed {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => body.clone(),
    }
}

fn part(text: &str) -> Changed {
    let without_id = |name: &&str| member(text, name, |call| without(call, &["id"]));
    let mut changes = CALLS.iter().map(without_id);
    let found = changes.find(|changed| !matches!(changed, Changed::Not));
    found.unwrap_or(Changed::Not)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_calls_go_and_all_else_stays() {
        let body = r#"{ "contents":[{"parts":[ {"text":"id"}]},{"role":"model","parts":[{"functionCall":{"id":"c1", "name":"f","args":{"id":1}},"thoughtSignature":"AA=="}]},{"parts":[{"function_response":{"name":"f","id":"c1","response":{}}}]}],"x" : 1.50}"#;
        let expected = r#"{ "contents":[{"parts":[ {"text":"id"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"id":1}},"thoughtSignature":"AA=="}]},{"parts":[{"function_response":{"name":"f","response":{}}}]}],"x" : 1.50}"#;
        assert_eq!(without_call_ids(&body.into()), expected);
        for other in [r#"{"contents":[{"parts":[{"text":"a"}]}]}"#, "no JSON", ""] {
            assert_eq!(without_call_ids(&other.into()), other);
        }
    }
}
