use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::error::fault_from_event;
use crate::dialect::json_line;
use crate::error::{Error, ErrorCode};
use crate::event::{Surface, Usage};

/// Makes the body of an answer that is not streamed from the events of one that was.
///
/// Text is put together as it came, tool calls by their index; of what is not known here, texts are
/// put together and the last of other values counts. Usage is shown.
///
/// # Errors
/// `UpstreamInvalid` for an event that is not a chunk, or when there is none; `UpstreamError` for
/// an error event. Whether the answer is whole is not judged: the stream's terminal record says.
pub fn fold<'a>(surface: Surface, events: impl Iterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let mut answer = Answer::default();
    for data in events {
        let data = data.trim_ascii();
        if data != b"[DONE]" {
            answer.add(data)?;
        }
    }
    answer.into_body(surface)
}

/// The usage chunk for these figures, of a stream that does not show its provider's own. Goes in
/// front of the events for [`fold`], as what comes later counts.
pub fn usage_event(usage: &Usage) -> Bytes {
    json_line(&json!({"choices": [], "usage": usage_value(usage)}))
}

/// These figures in the words of OpenAI's older APIs.
pub fn usage_value(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    })
}

#[derive(Default)]
struct Answer {
    /// The members of the answer itself.
    head: Map<String, Value>,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    /// Its delta's members, put together.
    message: Map<String, Value>,
    /// Its other members: text, `logprobs`, `finish_reason`.
    rest: Map<String, Value>,
}

impl Answer {
    fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        let Ok(Value::Object(chunk)) = serde_json::from_slice(data) else {
            let message = "An event of the answer is not a JSON object.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            let fault = fault_from_event(data);
            return Err(Error::new(ErrorCode::UpstreamError, fault.message));
        }
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("choices", Value::Array(choices)) => {
                    for choice in choices {
                        self.add_choice(choice);
                    }
                }
                // A chunk without usage may say so; it does not take back what was said.
                (_, Value::Null) if self.head.contains_key(&name) => {}
                (_, value) => {
                    self.head.insert(name, value);
                }
            }
        }
        Ok(())
    }

    fn add_choice(&mut self, choice: Value) {
        let Value::Object(choice) = choice else {
            return;
        };
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let target = self.choices.entry(index).or_default();
        for (name, value) in choice {
            match (name.as_str(), value) {
                ("index", _) => {}
                ("delta" | "message", Value::Object(delta)) => merge(&mut target.message, delta),
                ("text", text @ Value::String(_)) => merge_member(&mut target.rest, name, text),
                ("logprobs", Value::Object(logprobs)) => {
                    let slot = target.rest.entry(name).or_insert_with(|| json!({}));
                    extend_lists(slot, logprobs);
                }
                (_, Value::Null) if target.rest.contains_key(&name) => {}
                (_, value) => {
                    target.rest.insert(name, value);
                }
            }
        }
    }

    fn into_body(mut self, surface: Surface) -> Result<Bytes, Error> {
        if self.head.is_empty() && self.choices.is_empty() {
            let message = "The answer has no events to make a body of.";
            return Err(Error::new(ErrorCode::UpstreamInvalid, message));
        }
        let chat = surface != Surface::Completions;
        let object = if chat {
            "chat.completion"
        } else {
            "text_completion"
        };
        self.head.insert("object".to_owned(), object.into());
        let choices = self.choices.into_iter();
        let choices: Value = choices
            .map(|(index, choice)| choice.finish(index, chat))
            .collect();
        self.head.insert("choices".to_owned(), choices);
        Ok(json_line(&self.head))
    }
}

impl Choice {
    fn finish(self, index: u64, chat: bool) -> Value {
        let mut choice = self.rest;
        choice.insert("index".to_owned(), index.into());
        if chat {
            let mut message = self.message;
            message.entry("role").or_insert_with(|| "assistant".into());
            message.entry("content").or_insert(Value::Null);
            if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
                calls.sort_by_key(|call| call["index"].as_u64());
                for call in calls.iter_mut().filter_map(Value::as_object_mut) {
                    call.remove("index");
                }
            }
            choice.insert("message".to_owned(), message.into());
        } else {
            choice.entry("text").or_insert_with(|| "".into());
        }
        choice.entry("logprobs").or_insert(Value::Null);
        choice.entry("finish_reason").or_insert(Value::Null);
        choice.into()
    }
}

/// Members of a delta that are said whole, and by some providers in every chunk.
const WHOLE: [&str; 6] = ["id", "index", "name", "object", "role", "type"];
/// How far back the parts of a list's element may be apart, in elements.
const OPEN_ELEMENTS: usize = 256;

/// Adds a delta, of a message or of a part of one, to what came before.
fn merge(into: &mut Map<String, Value>, delta: Map<String, Value>) {
    for (name, value) in delta {
        merge_member(into, name, value);
    }
}

fn merge_member(into: &mut Map<String, Value>, name: String, value: Value) {
    let whole = WHOLE.contains(&name.as_str());
    match (into.get_mut(&name), value) {
        (Some(Value::String(text)), Value::String(more)) if !whole => text.push_str(&more),
        (Some(Value::String(text)), Value::String(again)) if again.is_empty() || again == *text => {
        }
        (Some(Value::Object(before)), Value::Object(more)) => merge(before, more),
        (Some(Value::Array(before)), Value::Array(more)) => merge_lists(before, more),
        (Some(_), Value::Null) => {}
        (_, value) => {
            into.insert(name, value);
        }
    }
}

/// Elements with the same `index`, or else the same `id`, are parts of one. A list whose elements
/// have neither replaces the former one.
fn merge_lists(before: &mut Vec<Value>, more: Vec<Value>) {
    let mark = |element: &Value| {
        ["index", "id"].into_iter().find_map(|name| {
            let mark = element.get(name)?;
            (!mark.is_null()).then(|| (name, mark.clone()))
        })
    };
    if more.iter().any(|element| mark(element).is_none()) {
        *before = more;
        return;
    }
    for element in more {
        let same = mark(&element);
        let open = before
            .iter_mut()
            .rev()
            .take(OPEN_ELEMENTS)
            .find(|other| mark(other) == same);
        match (open, element) {
            (Some(Value::Object(before)), Value::Object(delta)) => merge(before, delta),
            (_, element) => before.push(element),
        }
    }
}

/// `logprobs` holds lists, of which each chunk has the next part.
fn extend_lists(slot: &mut Value, logprobs: Map<String, Value>) {
    if !slot.is_object() {
        *slot = json!({});
    }
    for (name, value) in logprobs {
        match (&mut slot[&name], value) {
            (Value::Array(list), Value::Array(more)) => list.extend(more),
            (Value::Null, value) => slot[&name] = value,
            (_, Value::Null) => {}
            (before, value) => *before = value,
        }
    }
}

#[cfg(test)]
mod tests;
