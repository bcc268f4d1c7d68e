//! A client of Google's API that is as strict as its documentation.

use everstream_core::frame::sse::SseEvent;
use serde_json::{Value, json};

/// Puts an answer together from its chunks, and fails at whatever the API or its SDKs do not allow.
pub(crate) fn listen(events: &[SseEvent], ended: bool) -> Value {
    let mut answer = json!({"candidates": []});
    let mut finished = false;
    for event in events {
        // The SDKs take a stream line by line.
        assert!(event.name.is_empty() && !event.data.contains(&b'\n'));
        assert!(!finished, "a chunk behind the last");
        let chunk: Value = serde_json::from_slice(&event.data).unwrap();
        if let Some(error) = chunk.get("error") {
            assert!(error["code"].is_u64() && error["status"].is_string());
            continue;
        }
        for name in ["usageMetadata", "modelVersion", "responseId"] {
            if let Some(value) = chunk.get(name) {
                answer[name] = value.clone();
            }
        }
        for candidate in chunk["candidates"].as_array().unwrap() {
            finished |= take(&mut answer["candidates"], candidate);
        }
    }
    assert_eq!(finished, ended);
    answer
}

/// Gives whether the candidate is over.
fn take(all: &mut Value, candidate: &Value) -> bool {
    let all = all.as_array_mut().unwrap();
    let index = usize::try_from(candidate["index"].as_u64().unwrap()).unwrap();
    while all.len() <= index {
        let content = json!({"parts": [], "role": "model"});
        all.push(json!({"content": content, "index": all.len()}));
    }
    let known = &mut all[index];
    assert!(known.get("finishReason").is_none());
    assert_eq!(candidate["content"]["role"], "model");
    let parts = candidate["content"]["parts"].as_array().unwrap();
    assert!(!parts.is_empty());
    for part in parts {
        let kinds = ["text", "functionCall", "inlineData", "fileData"];
        let has = kinds.iter().filter(|kind| part.get(**kind).is_some());
        assert_eq!(has.count(), 1, "{part}");
        if let Some(call) = part.get("functionCall") {
            assert!(call["args"].is_object() && call["name"].is_string());
        }
        add(known["content"]["parts"].as_array_mut().unwrap(), part);
    }
    let others = [
        "finishReason",
        "finishMessage",
        "logprobsResult",
        "provider_fields",
    ];
    for name in others {
        if let Some(value) = candidate.get(name) {
            known[name] = value.clone();
        }
    }
    candidate.get("finishReason").is_some()
}

fn add(parts: &mut Vec<Value>, part: &Value) {
    let kind = |part: &Value| part.get("text").map(|_| part.get("thought").is_some());
    let last = parts.last_mut().filter(|last| {
        last.get("thoughtSignature").is_none() && kind(last).is_some() && kind(last) == kind(part)
    });
    let signature = part.get("thoughtSignature");
    if let Some(last) = last {
        let text = last["text"].as_str().unwrap().to_owned() + part["text"].as_str().unwrap();
        last["text"] = text.into();
        if let Some(signature) = signature {
            last["thoughtSignature"] = signature.clone();
        }
    } else if part["text"] != "" || signature.is_some() {
        parts.push(part.clone());
    }
}
