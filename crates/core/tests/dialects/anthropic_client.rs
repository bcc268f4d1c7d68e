//! A client of Anthropic's API that is as strict as its documentation.

use std::collections::BTreeMap;

use everstream_core::frame::sse::SseEvent;
use serde_json::{Value, json};

/// Puts a message together from its events, as the official SDKs do, and fails at whatever the API
/// does not allow.
pub(crate) fn listen(events: &[SseEvent], ended: bool) -> Value {
    let mut message = Value::Null;
    let mut blocks: Vec<Value> = Vec::new();
    let mut inputs: BTreeMap<usize, String> = BTreeMap::new();
    let mut open: Vec<usize> = Vec::new();
    let mut stopped = false;
    for event in events {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let kind = data["type"].as_str().unwrap();
        assert_eq!(kind.as_bytes(), &*event.name);
        assert!(!stopped, "{kind} after message_stop");
        assert_eq!(
            kind == "message_start",
            message.is_null() && kind != "error",
            "{kind}"
        );
        let index = data["index"]
            .as_u64()
            .map(|index| usize::try_from(index).unwrap());
        match kind {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                assert_eq!(index, Some(blocks.len()));
                open.push(blocks.len());
                blocks.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                let index = index.unwrap();
                assert!(open.contains(&index), "{data}");
                let block = &mut blocks[index];
                let delta = &data["delta"];
                let (kind, name) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text"),
                    "thinking_delta" => ("thinking", "thinking"),
                    "signature_delta" => ("thinking", "signature"),
                    "input_json_delta" => ("tool_use", "partial_json"),
                    other => panic!("{other}"),
                };
                assert_eq!(block["type"], kind);
                let more = delta[name].as_str().unwrap();
                if name == "partial_json" {
                    inputs.entry(index).or_default().push_str(more);
                } else {
                    let text = block[name].as_str().unwrap().to_owned() + more;
                    block[name] = text.into();
                }
            }
            "content_block_stop" => {
                let index = index.unwrap();
                let at = open.iter().position(|open| *open == index).unwrap();
                open.remove(at);
            }
            "message_delta" => {
                assert!(open.is_empty(), "open at the end: {open:?}");
                assert!(data["delta"]["stop_reason"].is_string());
                assert!(data["usage"]["output_tokens"].is_u64());
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["stop_sequence"] = data["delta"]["stop_sequence"].clone();
                message["usage"] = data["usage"].clone();
                if let Some(fields) = data.get("provider_fields") {
                    message["provider_fields"] = fields.clone();
                }
            }
            "message_stop" => stopped = true,
            "error" => assert!(data["error"]["type"].is_string()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(stopped, ended);
    for (index, input) in inputs {
        blocks[index]["input"] = serde_json::from_str(&input).unwrap_or(json!(input));
    }
    if !message.is_null() {
        message["content"] = blocks.into();
    }
    message
}
