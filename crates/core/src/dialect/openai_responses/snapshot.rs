//! A response as it is so far, from the events that are logged of it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::fold::{member, whole};
use super::observe::UPSTREAM_ID;
use super::response::{OutputOut, ResponseOut, State};
use crate::content::Json;
use crate::dialect::extension::FieldsOut;
use crate::dialect::json::text_of;
use crate::dialect::json_line;
use crate::dialect::translate::ReplyHead;
use crate::event::{Event, Status};

/// The response that the last event of a whole answer has, or that is a body of its own; `None` for
/// any other event.
pub fn of_end(event: &Event) -> Option<Bytes> {
    if let Some(response) = whole(&event.data) {
        return Some(response);
    }
    let is_body = member(&event.data, "object") == Some("\"response\"");
    is_body.then(|| event.data.clone())
}

/// The id that the upstream itself gave to a response that was passed through.
pub fn upstream_id(response: &[u8]) -> Option<String> {
    let id = text_of(member(response, UPSTREAM_ID)?).ok()?;
    (!id.is_empty()).then(|| id.into_owned())
}

/// Puts a response together from its events, as the API's own SDKs do.
#[derive(Debug, Default)]
pub struct Snapshot {
    response: Option<Map<String, Value>>,
    items: BTreeMap<u64, Value>,
    /// A body that was logged in pieces.
    pieces: BytesMut,
}

impl Snapshot {
    /// Takes the next event.
    pub fn push(&mut self, event: &Event) {
        if event.is_piece() {
            self.pieces.extend_from_slice(&event.data);
            return;
        }
        let Ok(Value::Object(mut data)) = serde_json::from_slice(&event.data) else {
            return;
        };
        if data.get("object") == Some(&json!("response")) {
            self.response = Some(data);
            return;
        }
        if let Some(Value::Object(response)) = data.remove("response") {
            self.response = Some(response);
        } else if let Some(index) = data.get("output_index").and_then(Value::as_u64) {
            self.item(index, data);
        }
    }

    fn item(&mut self, index: u64, mut data: Map<String, Value>) {
        if let Some(item) = data.remove("item") {
            self.items.insert(index, item);
            return;
        }
        let Some(item) = self.items.get_mut(&index) else {
            return;
        };
        let kind = data.remove("type");
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        let kind = kind.strip_prefix("response.").unwrap_or(kind);
        let at = |name: &str| data.get(name).and_then(Value::as_u64);
        let list = if kind.starts_with("reasoning_summary") {
            ("summary", at("summary_index"))
        } else {
            ("content", at("content_index"))
        };
        if let (Some(part), Some(slot)) = (data.get("part"), slot(item, list)) {
            *slot = part.clone();
        }
        let delta = data.get("delta").and_then(Value::as_str);
        let (target, name) = match kind {
            "function_call_arguments.delta" => (Some(item), "arguments"),
            "refusal.delta" => (slot(item, list), "refusal"),
            "output_text.delta" | "reasoning_text.delta" | "reasoning_summary_text.delta" => {
                (slot(item, list), "text")
            }
            _ => return,
        };
        if let (Some(target), Some(delta)) = (target, delta) {
            append(target, name, delta);
        }
    }

    /// The items so far, as a response that broke off has them.
    pub fn output(self) -> Option<Json<'static>> {
        let items: Vec<_> = self.items.into_values().map(cut).collect();
        let items = serde_json::value::to_raw_value(&items).ok()?;
        Some(Json::from(&*items).into_owned())
    }

    /// The response of a stream that is in this state. `head` is what it is without any event.
    pub fn finish(self, status: Status, head: &ReplyHead) -> Bytes {
        if !self.pieces.is_empty() {
            return self.pieces.freeze();
        }
        let mut response = self.response.unwrap_or_else(|| queued(head));
        let said = response.get("status").and_then(Value::as_str);
        let status = match (status, said) {
            (Status::Queued, _) => "queued",
            (Status::Running, _) => "in_progress",
            (Status::Cancelled, _) => "cancelled",
            (Status::Completed, Some("incomplete")) => "incomplete",
            (Status::Completed, _) => "completed",
            (Status::Failed | Status::Interrupted, _) => "failed",
        };
        response.insert("status".to_owned(), json!(status));
        let said = response.get("output").and_then(Value::as_array);
        if said.is_none_or(Vec::is_empty) {
            let running = matches!(status, "queued" | "in_progress");
            let items = self.items.into_values();
            let items = items.map(|item| if running { item } else { cut(item) });
            response.insert("output".to_owned(), items.collect());
        }
        json_line(&response)
    }
}

/// An item of a response that gets no more.
fn cut(mut item: Value) -> Value {
    if item["status"] == "in_progress" {
        item["status"] = json!("incomplete");
    }
    item
}

/// The part of an item at this place of one of its lists, which grows by one at most.
fn slot<'a>(item: &'a mut Value, (list, index): (&str, Option<u64>)) -> Option<&'a mut Value> {
    let index = usize::try_from(index?).ok()?;
    let list = item.as_object_mut()?.entry(list);
    let list = list.or_insert_with(|| json!([])).as_array_mut()?;
    if index == list.len() {
        list.push(json!({}));
    }
    list.get_mut(index)
}

fn append(part: &mut Value, name: &str, delta: &str) {
    if let Some(part) = part.as_object_mut()
        && let Value::String(text) = part.entry(name).or_insert_with(|| json!(""))
    {
        text.push_str(delta);
    }
}

fn queued(head: &ReplyHead) -> Map<String, Value> {
    let output = OutputOut::Items(Vec::new());
    let response = ResponseOut::new(head, State::Queued, output, None, FieldsOut::new());
    match serde_json::to_value(&response) {
        Ok(Value::Object(response)) => response,
        _ => Map::new(),
    }
}
