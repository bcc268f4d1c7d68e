//! What a gateway keeps of a conversation for clients that name the response before.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::fold::member;
use crate::dialect::edit::replace;
use crate::dialect::json::{for_each_element, for_each_member, text_of};
use crate::error::{Error, ErrorCode};

/// What a request says of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The response whose conversation it continues.
    pub previous: Option<String>,
    /// Whether the response is to be found afterwards: true unless the client says otherwise.
    pub store: bool,
}

impl Wish {
    /// Reads it. What is no request is refused elsewhere, with its reason.
    ///
    /// # Errors
    /// `InvalidValue` names the member.
    pub fn read(request: &[u8]) -> Result<Self, Error> {
        let mut wish = Self {
            previous: None,
            store: true,
        };
        let previous = member(request, "previous_response_id").filter(|id| *id != "null");
        if let Some(id) = previous {
            let id = text_of(id).ok().filter(|_| id.starts_with('"'));
            let wrong = || {
                let message = "`previous_response_id` is the id of a response, a string.";
                Error::new(ErrorCode::InvalidValue, message).param("previous_response_id")
            };
            wish.previous = Some(id.ok_or_else(wrong)?.into_owned());
            let conversation = member(request, "conversation").filter(|it| *it != "null");
            if conversation.is_some() {
                let message = "`previous_response_id` and `conversation` exclude each other.";
                return Err(Error::new(ErrorCode::InvalidValue, message).param("conversation"));
            }
        }
        wish.store = member(request, "store") != Some("false");
        if !wish.store && member(request, "background") == Some("true") {
            let message = "What runs in the background has to be stored: leave out `store`.";
            return Err(Error::new(ErrorCode::InvalidValue, message).param("store"));
        }
        Ok(wish)
    }
}

/// A request with the conversation before it in its `input`: the input of the response before, as it
/// is in the log, and the response's output. Instructions are not carried over. Every item stays byte
/// for byte, as providers' prompt caches and seals depend on them.
///
/// # Errors
/// `InvalidValue` for an `input` that is neither a text nor a list.
pub fn expand(request: &Bytes, before: &[u8], response: &[u8]) -> Result<Bytes, Error> {
    let text = str::from_utf8(request).unwrap_or_default();
    let mut items = items_of(before)?;
    if let Some(output) = member(response, "output") {
        let _ = for_each_element(output, |item| {
            if counts(item) {
                items.push(item.into());
            }
        });
    }
    items.extend(items_of(request)?);
    let input = format!("[{}]", items.join(","));
    let mut place = None;
    let _ = for_each_member(request, |member| {
        if member.key == "input" {
            place = Some(member.span);
        }
        Ok::<_, serde_json::Error>(())
    });
    let expanded = match (place, text.find('{')) {
        (Some(place), _) => replace(text, place, &input),
        (None, Some(start)) => {
            let comma = if text[start + 1..].trim_start().starts_with('}') {
                ""
            } else {
                ","
            };
            replace(
                text,
                start + 1..start + 1,
                &format!("\"input\":{input}{comma}"),
            )
        }
        (None, None) => return Ok(request.clone()),
    };
    Ok(expanded.into())
}

/// A call that was cut is nothing to go on from; a message is.
fn counts(item: &str) -> bool {
    let of = |name| member(item.as_bytes(), name).unwrap_or_default();
    of("type") == "\"message\"" || !matches!(of("status"), "\"incomplete\"" | "\"in_progress\"")
}

/// The items of a request's `input`, each as JSON.
fn items_of(request: &[u8]) -> Result<Vec<Cow<'_, str>>, Error> {
    let Some(input) = member(request, "input").filter(|input| *input != "null") else {
        return Ok(Vec::new());
    };
    if input.starts_with('"') {
        let message = format!(r#"{{"type":"message","role":"user","content":{input}}}"#);
        return Ok(vec![message.into()]);
    }
    let mut items = Vec::new();
    for_each_element(input, |item| items.push(Cow::Borrowed(item))).map_err(|_| {
        let message = "`input` must be a string or a list of items.";
        Error::new(ErrorCode::InvalidValue, message).param("input")
    })?;
    Ok(items)
}

/// The input items of a logged request as a list shows them, each with an id: its own, or one that
/// is made from `response`, the response's.
pub fn input_items(request: &[u8], response: &str) -> Vec<(String, Box<RawValue>)> {
    let items = items_of(request).unwrap_or_default();
    let items = items.iter().enumerate().filter_map(|(index, item)| {
        let mut item: Map<String, Value> = serde_json::from_str(item).ok()?;
        let kind = item.entry("type").or_insert_with(|| json!("message"));
        let kind = kind.as_str().unwrap_or("message").to_owned();
        if kind == "message" {
            spell_out(&mut item);
        }
        let own = item.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = own.unwrap_or_else(|| format!("{}_{}in{index}", prefix(&kind), bare(response)));
        item.insert("id".to_owned(), json!(id));
        let item = serde_json::value::to_raw_value(&item).ok()?;
        Some((id, item))
    });
    items.collect()
}

/// A message's content as a list of parts, which a request may write as a text.
fn spell_out(item: &mut Map<String, Value>) {
    let said = item.get("role").and_then(Value::as_str) == Some("assistant");
    if let Some(Value::String(text)) = item.get("content") {
        let part = if said {
            json!({"type": "output_text", "text": text, "annotations": []})
        } else {
            json!({"type": "input_text", "text": text})
        };
        item.insert("content".to_owned(), json!([part]));
    }
    item.entry("status").or_insert_with(|| json!("completed"));
}

fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg",
        "reasoning" => "rs",
        "function_call" => "fc",
        "function_call_output" => "fco",
        _ => "item",
    }
}

fn bare(response: &str) -> &str {
    response.strip_prefix("resp_").unwrap_or(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_its_items_byte_for_byte() {
        let request = Bytes::from(
            r#"{"previous_response_id":"resp_1", "input": "and \"then\"?" ,"model":"m"}"#,
        );
        let before = br#"{"input":[ {"role":"user", "content":"a"} ],"instructions":"x"}"#;
        let response = br#"{"output":[{"type":"reasoning","encrypted_content":"gA==" },{"type":"function_call","status":"incomplete"}]}"#;
        let expanded = expand(&request, before, response).unwrap();
        assert_eq!(
            expanded,
            r#"{"previous_response_id":"resp_1", "input": [{"role":"user", "content":"a"},{"type":"reasoning","encrypted_content":"gA==" },{"type":"message","role":"user","content":"and \"then\"?"}] ,"model":"m"}"#
        );
        let none = expand(&Bytes::from("{\"model\":\"m\"}"), before, b"{}").unwrap();
        assert_eq!(
            none,
            r#"{"input":[{"role":"user", "content":"a"}],"model":"m"}"#
        );
        let wrong = expand(&Bytes::from(r#"{"input":7}"#), before, b"{}").unwrap_err();
        assert_eq!(wrong.param.as_deref(), Some("input"));
    }

    #[test]
    fn items_have_ids_and_parts() {
        let request = br#"{"input":[{"role":"user","content":"a"},{"type":"function_call_output","call_id":"c","output":"b"},{"id":"rs_7","type":"reasoning","summary":[]}]}"#;
        let items = input_items(request, "resp_0k3v9f2m7qx4c");
        let ids: Vec<_> = items.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(
            ids,
            ["msg_0k3v9f2m7qx4cin0", "fco_0k3v9f2m7qx4cin1", "rs_7"]
        );
        let first: Value = serde_json::from_str(items[0].1.get()).unwrap();
        let expected = json!({"type": "message", "role": "user", "id": ids[0], "status": "completed",
            "content": [{"type": "input_text", "text": "a"}]});
        assert_eq!(first, expected);
    }

    #[test]
    fn wishes_that_cannot_be_are_refused() {
        let read = |body: &str| Wish::read(body.as_bytes());
        let plain = Wish {
            previous: None,
            store: true,
        };
        assert_eq!(read(r#"{"previous_response_id":null}"#), Ok(plain.clone()));
        assert_eq!(read("no JSON"), Ok(plain));
        for (body, param) in [
            (r#"{"previous_response_id":7}"#, "previous_response_id"),
            (
                r#"{"previous_response_id":"a","conversation":"c"}"#,
                "conversation",
            ),
            (r#"{"background":true,"store":false}"#, "store"),
        ] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
