use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::error::read_event;
use crate::dialect::json_line;
use crate::error::{Error, ErrorCode};

/// Makes the body of an answer that is not streamed from the chunks of one that was: texts that the
/// stream has cut are one part again, and of all else that is not known here the last counts.
///
/// # Errors
/// As [`Surface::fold`](crate::event::Surface::fold).
pub(in crate::dialect) fn fold<'a>(events: impl Iterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let mut answer = Answer::default();
    for data in events {
        answer.add(data)?;
    }
    answer.into_body()
}

#[derive(Default)]
struct Answer {
    head: Map<String, Value>,
    candidates: BTreeMap<u64, Candidate>,
}

#[derive(Default)]
struct Candidate {
    members: Map<String, Value>,
    content: Map<String, Value>,
    parts: Vec<Map<String, Value>>,
}

impl Answer {
    fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        let Ok(Value::Object(mut chunk)) = serde_json::from_slice(data) else {
            let message = "An event of the answer is not a JSON object.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            let fault = read_event(data);
            return Err(Error::new(ErrorCode::UpstreamError, fault.message));
        }
        if let Some(Value::Array(candidates)) = chunk.remove("candidates") {
            for candidate in candidates {
                let Value::Object(members) = candidate else {
                    continue;
                };
                let index = members.get("index").and_then(Value::as_u64).unwrap_or(0);
                self.candidates.entry(index).or_default().add(members);
            }
        }
        if let Some(Value::Object(figures)) = chunk.remove("usageMetadata") {
            // Not every chunk has all of them.
            extend(&mut self.head, "usageMetadata", figures);
        }
        replace(&mut self.head, chunk);
        Ok(())
    }

    fn into_body(mut self) -> Result<Bytes, Error> {
        if self.head.is_empty() && self.candidates.is_empty() {
            let message = "The answer has no events to make a body of.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        }
        // A prompt that was blocked has none.
        if !self.candidates.is_empty() {
            let candidates = self.candidates.into_values().map(Candidate::finish);
            self.head
                .insert("candidates".to_owned(), candidates.collect());
        }
        Ok(json_line(&self.head))
    }
}

impl Candidate {
    fn add(&mut self, mut members: Map<String, Value>) {
        if let Some(Value::Object(mut content)) = members.remove("content") {
            if let Some(Value::Array(parts)) = content.remove("parts") {
                for part in parts {
                    if let Value::Object(part) = part {
                        self.part(part);
                    }
                }
            }
            replace(&mut self.content, content);
        }
        for lists in ["citationMetadata", "logprobsResult"] {
            if let Some(Value::Object(more)) = members.remove(lists) {
                append(&mut self.members, lists, more);
            }
        }
        replace(&mut self.members, members);
    }

    fn part(&mut self, part: Map<String, Value>) {
        if let Some(before) = self
            .parts
            .last_mut()
            .filter(|before| goes_on(before, &part))
        {
            let more = part.get("text").and_then(Value::as_str).unwrap_or_default();
            if let Some(Value::String(text)) = before.get_mut("text") {
                text.push_str(more);
            }
            if let Some(signature) = part.get("thoughtSignature") {
                before.insert("thoughtSignature".to_owned(), signature.clone());
            }
        } else if part.len() != 1 || part.get("text").and_then(Value::as_str) != Some("") {
            self.parts.push(part);
        }
    }

    fn finish(mut self) -> Value {
        if !self.content.is_empty() || !self.parts.is_empty() {
            let parts = self.parts.into_iter().map(Value::Object);
            self.content.insert("parts".to_owned(), parts.collect());
            self.members
                .insert("content".to_owned(), self.content.into());
        }
        self.members.into()
    }
}

/// Whether a part is the next piece of the text, or of the thought, before it. One that is signed is
/// whole.
fn goes_on(before: &Map<String, Value>, part: &Map<String, Value>) -> bool {
    let is_text = |part: &Map<String, Value>, known: &[&str]| {
        part.get("text").is_some_and(Value::is_string)
            && part.keys().all(|name| known.contains(&name.as_str()))
    };
    let thought = |part: &Map<String, Value>| part.get("thought") == Some(&Value::Bool(true));
    is_text(before, &["text", "thought"])
        && is_text(part, &["text", "thought", "thoughtSignature"])
        && thought(before) == thought(part)
}

/// Later members replace earlier ones; a null takes nothing back.
fn replace(members: &mut Map<String, Value>, later: Map<String, Value>) {
    members.extend(later.into_iter().filter(|(_, value)| !value.is_null()));
}

/// The same for the members of an object within.
fn extend(members: &mut Map<String, Value>, name: &str, later: Map<String, Value>) {
    match members.get_mut(name) {
        Some(Value::Object(known)) => replace(known, later),
        _ => {
            members.insert(name.to_owned(), later.into());
        }
    }
}

/// The same, but that lists go on.
fn append(members: &mut Map<String, Value>, name: &str, later: Map<String, Value>) {
    let Some(Value::Object(known)) = members.get_mut(name) else {
        members.insert(name.to_owned(), later.into());
        return;
    };
    for (name, value) in later {
        match (known.get_mut(&name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (_, Value::Null) => {}
            (_, value) => {
                known.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folded(chunks: &[Value]) -> Result<Value, Error> {
        let chunks: Vec<_> = chunks.iter().map(Value::to_string).collect();
        let body = fold(chunks.iter().map(String::as_bytes))?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    fn chunk(parts: &Value) -> Value {
        json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
            "responseId": "r"})
    }

    #[test]
    fn chunks_make_the_answer_that_is_not_streamed() {
        let answer = folded(&[
            chunk(&json!([{"thought": true, "text": "h"}])),
            chunk(&json!([{"thought": true, "text": "m"}])),
            chunk(&json!([{"text": "Wind", "new": 1}])),
            chunk(&json!([{"text": " a"}])),
            chunk(&json!([{"text": "uf."}])),
            chunk(&json!([{"text": "", "thoughtSignature": "c2ln"}])),
            chunk(
                &json!([{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2k="}]),
            ),
            json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"},
                "finishReason": "STOP", "groundingMetadata": {"x": 1}}],
                "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "g", "new": [1]}),
            json!({"usageMetadata": {"candidatesTokenCount": 2, "promptTokenCount": null}}),
        ]);
        let expected = json!({"candidates": [{"index": 0, "finishReason": "STOP",
            "groundingMetadata": {"x": 1},
            "content": {"role": "model", "parts": [
                {"thought": true, "text": "hm"}, {"text": "Wind", "new": 1},
                {"text": " auf.", "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2k="}]}}],
            "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2},
            "modelVersion": "g", "responseId": "r", "new": [1]});
        assert_eq!(answer.unwrap(), expected);
    }

    #[test]
    fn candidates_are_told_apart_and_lists_go_on() {
        let of = |index: u64, text: &str| {
            json!({"candidates": [{"index": index, "content": {"parts": [{"text": text}]},
                "citationMetadata": {"citationSources": [text]},
                "logprobsResult": {"chosenCandidates": [{"token": text}]}}]})
        };
        let answer = folded(&[of(0, "a"), of(1, "x"), of(0, "b")]).unwrap();
        let first = &answer["candidates"][0];
        assert_eq!(first["content"]["parts"], json!([{"text": "ab"}]));
        let sources = &first["citationMetadata"]["citationSources"];
        assert_eq!(sources, &json!(["a", "b"]));
        let chosen = &first["logprobsResult"]["chosenCandidates"];
        assert_eq!(chosen, &json!([{"token": "a"}, {"token": "b"}]));
        let parts = &answer["candidates"][1]["content"]["parts"];
        assert_eq!(parts, &json!([{"text": "x"}]));
    }

    #[test]
    fn a_blocked_prompt_has_no_candidates() {
        let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
        assert_eq!(folded(std::slice::from_ref(&blocked)).unwrap(), blocked);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let failed = json!({"error": {"code": 503, "message": "Overloaded."}});
        let error = folded(&[chunk(&json!([])), failed]).unwrap_err();
        assert_eq!(
            (error.code, &*error.message),
            (ErrorCode::UpstreamError, "Overloaded.")
        );
        for nothing in [&[][..], &[json!([1])]] {
            let error = folded(nothing).unwrap_err();
            assert_eq!(error.code, ErrorCode::UpstreamInvalid);
        }
    }
}
