//! The end of an answer that the gateway stops: in each dialect that of an answer which reached its
//! limit of tokens, so that its clients take what they have for a cut, but proper, answer.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Place, openai, openai_responses};
use crate::event::{Surface, Usage};
use crate::frame::sse::SseEvent;

/// Where an answer that goes through stands when it is stopped.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// As for an error.
    pub place: Place,
    /// The choices that go on.
    pub choices: Vec<u32>,
    /// The content block of Anthropic's that is open.
    pub block: Option<u64>,
    /// What was used.
    pub usage: Usage,
}

impl Surface {
    /// The events that end an answer there.
    pub fn stopped(self, at: &Stopped) -> Vec<SseEvent> {
        match self {
            Self::ChatCompletions => openai_end(
                at,
                "chat.completion.chunk",
                |index| json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": "length"}),
            ),
            Self::Completions => openai_end(
                at,
                "text_completion",
                |index| json!({"index": index, "text": "", "logprobs": null, "finish_reason": "length"}),
            ),
            Self::Messages => anthropic_end(at),
            Self::Responses => vec![openai_responses::incomplete(&at.place, &at.usage)],
            Self::GenerateContent => vec![gemini_end(at)],
            // They are never streamed.
            Self::Embeddings => Vec::new(),
        }
    }
}

fn openai_end(at: &Stopped, object: &str, choice: impl Fn(u32) -> Value) -> Vec<SseEvent> {
    let head = &at.place.head;
    let chunk = |choices: Vec<Value>| {
        json!({
            "id": head.id,
            "object": object,
            "created": head.created,
            "model": head.model,
            "choices": choices,
        })
    };
    let mut events = vec![event(
        "",
        &chunk(at.choices.iter().copied().map(choice).collect()),
    )];
    if head.show_usage {
        // With an id: OpenAI's client for Node drops the usage of a chunk that has none.
        let mut usage = chunk(Vec::new());
        usage["usage"] = openai::usage_value(&at.usage);
        events.push(event("", &usage));
    }
    events.push(SseEvent {
        name: Bytes::new(),
        data: Bytes::from_static(b"[DONE]"),
    });
    events
}

fn anthropic_end(at: &Stopped) -> Vec<SseEvent> {
    let stop = |index: u64| {
        let data = json!({"type": "content_block_stop", "index": index});
        event("content_block_stop", &data)
    };
    let delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
        "usage": {"output_tokens": at.usage.output_tokens},
    });
    let end = json!({"type": "message_stop"});
    let ends = [event("message_delta", &delta), event("message_stop", &end)];
    at.block.map(stop).into_iter().chain(ends).collect()
}

fn gemini_end(at: &Stopped) -> SseEvent {
    let usage = &at.usage;
    let total = usage.input_tokens.saturating_add(usage.output_tokens);
    let candidate = |index: &u32| {
        json!({
            "content": {"role": "model", "parts": [{"text": ""}]},
            "finishReason": "MAX_TOKENS",
            "index": index,
        })
    };
    let candidates: Vec<_> = at.choices.iter().map(candidate).collect();
    let data = json!({
        "candidates": candidates,
        "usageMetadata": {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": usage.output_tokens,
            "totalTokenCount": total,
        },
        "modelVersion": at.place.head.model,
    });
    event("", &data)
}

fn event(name: &'static str, data: &Value) -> SseEvent {
    SseEvent {
        name: Bytes::from_static(name.as_bytes()),
        data: data.to_string().into(),
    }
}
