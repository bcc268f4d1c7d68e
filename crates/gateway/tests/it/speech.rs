//! Short streamed answers in the words of each API, and what a client hears of one.

use everstream_testkit::provider::{Cut, Script, Step};
use everstream_testkit::sse::Frame;
use serde_json::{Value, json};

use crate::talk::CHAT;

/// An API that a provider, or a client, speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Messages,
    Responses,
    Gemini,
}

pub(crate) const APIS: [Api; 4] = [Api::Chat, Api::Messages, Api::Responses, Api::Gemini];

impl Api {
    pub(crate) fn upstream(self) -> &'static str {
        match self {
            Self::Chat => "provider = \"vllm\"",
            Self::Messages => "provider = \"anthropic\"",
            Self::Responses => "dialect = \"responses\"",
            Self::Gemini => "dialect = \"gemini\"",
        }
    }

    pub(crate) fn ask(self) -> (&'static str, Value) {
        let told = json!([{"role": "user", "content": "Tell."}]);
        match self {
            Self::Chat => (
                CHAT,
                json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "messages": told}),
            ),
            Self::Messages => (
                "/v1/messages",
                json!({"model": "m", "stream": true, "max_tokens": 100, "messages": told}),
            ),
            Self::Responses => (
                "/v1/responses",
                json!({"model": "m", "stream": true, "input": "Tell."}),
            ),
            Self::Gemini => (
                "/v1beta/models/m:streamGenerateContent?alt=sse",
                json!({"contents": [{"role": "user", "parts": [{"text": "Tell."}]}]}),
            ),
        }
    }

    /// How many events come before the first text.
    pub(crate) fn before(self) -> usize {
        self.begins().len()
    }

    fn begins(self) -> Vec<Value> {
        match self {
            Self::Chat => vec![chunk(&json!({"role": "assistant", "content": ""}), None)],
            Self::Messages => vec![
                json!({"type": "message_start", "message": {"id": "msg_a", "type": "message", "role": "assistant",
                    "model": "x", "content": [], "stop_reason": null, "usage": {"input_tokens": 5, "output_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ],
            Self::Responses => vec![
                json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_a",
                    "object": "response", "created_at": 7, "model": "x", "status": "in_progress", "output": []}}),
            ],
            Self::Gemini => vec![],
        }
    }

    fn says(self, text: &str) -> Value {
        match self {
            Self::Chat => chunk(&json!({"content": text}), None),
            Self::Messages => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
            }
            Self::Responses => {
                json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text})
            }
            Self::Gemini => {
                json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]})
            }
        }
    }

    fn ends(self) -> Vec<Value> {
        match self {
            Self::Chat => vec![
                chunk(&json!({}), Some("stop")),
                json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "x", "choices": [],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}}),
                json!("[DONE]"),
            ],
            Self::Messages => vec![
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 9}}),
                json!({"type": "message_stop"}),
            ],
            Self::Responses | Self::Gemini => vec![],
        }
    }

    /// An answer of these words, to its end or to where it is cut.
    pub(crate) fn answer(self, words: &[&str], whole: bool) -> Script {
        let mut events = self.begins();
        events.extend(words.iter().map(|word| self.says(word)));
        let said = events.len();
        if whole {
            events.extend(self.ends());
        }
        let steps: Vec<_> = events.iter().map(event).collect();
        let script = Script::sse_steps(steps);
        if whole {
            script
        } else {
            script.cut_after_events(said, Cut::Close)
        }
    }

    /// The text of a client's events.
    pub(crate) fn text(self, frames: &[Frame]) -> String {
        let piece = |event: Value| {
            let text = match self {
                Self::Chat => &event["choices"][0]["delta"]["content"],
                Self::Messages => &event["delta"]["text"],
                Self::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
                Self::Responses => &Value::Null,
                Self::Gemini => &event["candidates"][0]["content"]["parts"][0]["text"],
            };
            text.as_str().unwrap_or_default().to_owned()
        };
        values(frames).into_iter().map(piece).collect()
    }

    /// Whether these are one answer, whole, begun once.
    pub(crate) fn is_whole(self, frames: &[Frame]) -> bool {
        let all = values(frames);
        let count = |is: &dyn Fn(&Value) -> bool| all.iter().filter(|value| is(value)).count();
        let of_type = |kind: &str| count(&|value| value["type"] == kind);
        match self {
            Self::Chat => {
                let roles = |value: &Value| value["choices"][0]["delta"]["role"] == "assistant";
                let ids = |value: &Value| value["id"] == all[0]["id"];
                let done = frames.last().and_then(|frame| frame.data.as_deref());
                count(&roles) == 1 && count(&ids) == all.len() && done == Some("[DONE]")
            }
            Self::Messages => of_type("message_start") == 1 && of_type("message_stop") == 1,
            Self::Responses => {
                let numbers = all.iter().map(|value| value["sequence_number"].as_u64());
                let dense = numbers.eq((0..all.len() as u64).map(Some));
                dense && of_type("response.created") == 1 && of_type("response.completed") == 1
            }
            Self::Gemini => count(&|value| value["candidates"][0]["finishReason"] == "STOP") == 1,
        }
    }
}

fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "x",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn values(frames: &[Frame]) -> Vec<Value> {
    let data = frames.iter().filter_map(|frame| frame.data.as_deref());
    data.filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn event(value: &Value) -> Step {
    let name = value["type"]
        .as_str()
        .map(|name| format!("event: {name}\n"));
    let data = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let name = name.unwrap_or_default();
    Step::Event(format!("{name}data: {data}\n\n").into())
}
