use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::dialect::json_line;
use crate::dialect::openai::fault_from_event;
use crate::error::{Error, ErrorCode};

/// Makes the body of an answer that is not streamed from the events of one that was, as the API's
/// own SDKs put a message together; what is not known here is kept as it came.
///
/// # Errors
/// As [`Surface::fold`](crate::event::Surface::fold).
pub(in crate::dialect) fn fold<'a>(events: impl Iterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let mut message = Message::default();
    for data in events {
        message.add(data)?;
    }
    message.into_body()
}

#[derive(Default)]
struct Message {
    head: Map<String, Value>,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Default)]
struct Block {
    members: Map<String, Value>,
    /// A call's arguments so far.
    input: String,
}

impl Message {
    fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        let Ok(Value::Object(mut event)) = serde_json::from_slice(data) else {
            let message = "An event of the answer is not a JSON object.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        };
        let index = event.get("index").and_then(Value::as_u64).unwrap_or(0);
        let kind = event.remove("type");
        let mut object = |name: &str| match event.remove(name) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        match kind.as_ref().and_then(Value::as_str).unwrap_or_default() {
            "message_start" => self.head = object("message"),
            "content_block_start" => {
                self.blocks.insert(
                    index,
                    Block {
                        members: object("content_block"),
                        input: String::new(),
                    },
                );
            }
            "content_block_delta" => {
                let delta = object("delta");
                self.blocks.entry(index).or_default().add(delta);
            }
            "message_delta" => {
                self.head.extend(object("delta"));
                self.usage(object("usage"));
                // Whatever else it says is about the message.
                self.head.extend(event);
            }
            "error" => {
                let fault = fault_from_event(data);
                return Err(Error::new(ErrorCode::UpstreamError, fault.message));
            }
            _ => {}
        }
        Ok(())
    }

    /// Later figures replace earlier ones; a null takes nothing back.
    fn usage(&mut self, figures: Map<String, Value>) {
        let usage = self
            .head
            .entry("usage")
            .or_insert_with(|| Map::new().into());
        if let Value::Object(usage) = usage {
            usage.extend(figures.into_iter().filter(|(_, value)| !value.is_null()));
        }
    }

    fn into_body(mut self) -> Result<Bytes, Error> {
        if self.head.is_empty() {
            let message = "The answer has no events to make a body of.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        }
        let blocks = self.blocks.into_values().map(Block::finish);
        let content = self.head.entry("content").or_insert(Value::Null);
        match content {
            Value::Array(content) => content.extend(blocks),
            content => *content = blocks.collect(),
        }
        Ok(json_line(&self.head))
    }
}

impl Block {
    fn add(&mut self, mut delta: Map<String, Value>) {
        let kind = delta.remove("type").unwrap_or_default();
        match kind.as_str().unwrap_or_default() {
            "input_json_delta" => {
                if let Some(Value::String(json)) = delta.get("partial_json") {
                    self.input.push_str(json);
                }
            }
            "citations_delta" => {
                let list = self.members.entry("citations").or_insert(Value::Null);
                if !list.is_array() {
                    *list = Value::Array(Vec::new());
                }
                if let (Value::Array(list), Some(citation)) = (list, delta.remove("citation")) {
                    list.push(citation);
                }
            }
            "signature_delta" => self.members.extend(delta),
            // Texts go on; of anything else the last one counts.
            _ => {
                for (name, value) in delta {
                    match (self.members.get_mut(&name), value) {
                        (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
                        (_, value) => {
                            self.members.insert(name, value);
                        }
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Value {
        if !self.input.is_empty() {
            // Better seen as it is than taken for none.
            let input = serde_json::from_str(&self.input).unwrap_or(Value::String(self.input));
            self.members.insert("input".to_owned(), input);
        }
        self.members.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folded(events: &[Value]) -> Result<Value, Error> {
        let events: Vec<_> = events.iter().map(Value::to_string).collect();
        let body = fold(events.iter().map(String::as_bytes))?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn events_make_the_message_that_an_sdk_makes_of_them() {
        let block = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
        let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        let message = folded(&[
            json!({"type": "message_start", "message": {"id": "m", "content": [], "stop_reason": null,
                "usage": {"input_tokens": 3, "output_tokens": 1, "service_tier": "standard"}}}),
            json!({"type": "ping"}),
            block(
                0,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
            ),
            delta(0, json!({"type": "thinking_delta", "thinking": "Let me"})),
            delta(0, json!({"type": "thinking_delta", "thinking": " see."})),
            delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
            block(1, json!({"type": "text", "text": ""})),
            delta(1, json!({"type": "text_delta", "text": "Hi"})),
            delta(
                1,
                json!({"type": "citations_delta", "citation": {"cited_text": "x"}}),
            ),
            block(
                2,
                json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
            ),
            delta(2, json!({"type": "input_json_delta", "partial_json": ""})),
            delta(
                2,
                json!({"type": "input_json_delta", "partial_json": "{\"a\":"}),
            ),
            delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"output_tokens": 9, "input_tokens": null}, "context_management": {"x": 1}}),
            json!({"type": "message_stop"}),
        ]);
        assert_eq!(
            message.unwrap(),
            json!({
                "id": "m",
                "content": [
                    {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
                    {"type": "text", "text": "Hi", "citations": [{"cited_text": "x"}]},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
                ],
                "stop_reason": "tool_use",
                "stop_sequence": null,
                "usage": {"input_tokens": 3, "output_tokens": 9, "service_tier": "standard"},
                "context_management": {"x": 1},
            })
        );
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(folded(&[]).is_err());
        assert!(fold(std::iter::once(&b"nonsense"[..])).is_err());
        let error = json!({"type": "error", "error": {"type": "api_error", "message": "Broke."}});
        assert_eq!(folded(&[error]).unwrap_err().message, "Broke.");
    }
}
