use serde_json::{Value, json};

use super::*;

/// What a provider's events look like, and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voice(pub(super) ProviderDialect);

impl Voice {
    pub(super) fn begin(self) -> Vec<Value> {
        match self.0 {
            Anthropic => vec![
                json!({"type": "message_start", "message": {"id": "msg_a", "type": "message", "role": "assistant", "model": "m",
                    "content": [], "stop_reason": null, "usage": {"input_tokens": 5, "output_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ],
            OpenAiResponses => vec![
                json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_a", "object": "response",
                    "created_at": 7, "model": "m", "status": "in_progress", "output": []}}),
                json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                    "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}}),
            ],
            Gemini => vec![],
            _ => vec![chunk(
                &json!({"role": "assistant", "content": ""}),
                &Value::Null,
            )],
        }
    }

    pub(super) fn text(self, text: &str) -> Value {
        match self.0 {
            Anthropic => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
            }
            OpenAiResponses => {
                json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text})
            }
            Gemini => {
                json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
                "responseId": "g", "modelVersion": "m"})
            }
            _ => chunk(&json!({"content": text}), &Value::Null),
        }
    }

    pub(super) fn end(self) -> Vec<Value> {
        match self.0 {
            Anthropic => vec![
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 9}}),
                json!({"type": "message_stop"}),
            ],
            OpenAiResponses => vec![
                json!({"type": "response.completed", "response": {"id": "resp_a", "object": "response",
                "model": "m", "status": "completed", "output": [],
                "usage": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}}}),
            ],
            Gemini => vec![
                json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
                "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 9, "totalTokenCount": 14},
                "responseId": "g", "modelVersion": "m"}),
            ],
            _ => vec![
                chunk(&json!({}), &json!("stop")),
                json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}}),
                json!("[DONE]"),
            ],
        }
    }

    pub(super) fn reasoning(self) -> Value {
        match self.0 {
            Anthropic => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}})
            }
            OpenAiResponses => {
                json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"})
            }
            Gemini => {
                json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}], "role": "model"}, "index": 0}]})
            }
            _ => chunk(&json!({"reasoning_content": "hm"}), &Value::Null),
        }
    }
}

pub(super) fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}
