//! A client of OpenAI's Responses API that is as strict as its documentation.

use everstream_core::frame::sse::SseEvent;
use serde_json::{Value, json};

/// Puts a response together from its events, fails at whatever the API does not allow, and gives the
/// response of the last event.
pub(crate) fn listen(events: &[SseEvent], ended: bool) -> Value {
    let mut items: Vec<Value> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut last = Value::Null;
    for (number, event) in events.iter().enumerate() {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        let kind = data["type"].as_str().unwrap();
        assert_eq!(kind.as_bytes(), &*event.name);
        assert_eq!(data["sequence_number"], number);
        assert!(last.is_null(), "{kind} behind the end");
        assert_eq!(kind == "response.created", number == 0);
        assert_eq!(kind == "response.in_progress", number == 1);
        let index = data["output_index"].as_u64();
        let index = index.map(|index| usize::try_from(index).unwrap());
        if let (Some(index), Some(id)) = (index, data.get("item_id")) {
            assert!(open.contains(&index), "{data}");
            assert_eq!(*id, items[index]["id"]);
        }
        match kind {
            "response.created" | "response.in_progress" => {
                assert_eq!(data["response"]["status"], "in_progress");
            }
            "response.output_item.added" => {
                assert_eq!(index, Some(items.len()));
                open.push(items.len());
                items.push(data["item"].clone());
            }
            "response.output_item.done" => {
                let index = index.unwrap();
                open.retain(|open| *open != index);
                let item = &mut items[index];
                item["status"] = data["item"]["status"].clone();
                // It comes only now.
                item["encrypted_content"] = data["item"]["encrypted_content"].clone();
                for name in ["status", "encrypted_content"] {
                    if item[name].is_null() {
                        item.as_object_mut().unwrap().remove(name);
                    }
                }
                assert_eq!(*item, data["item"]);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                last = data["response"].clone();
                assert_eq!(
                    kind,
                    format!("response.{}", last["status"].as_str().unwrap())
                );
            }
            _ => part(&mut items[index.unwrap()], kind, &data),
        }
    }
    let whole = matches!(last["status"].as_str(), Some("completed" | "incomplete"));
    assert_eq!(whole, ended);
    if whole {
        assert!(open.is_empty(), "open at the end: {open:?}");
        let output = last["output"].as_array().unwrap();
        assert_eq!(output.len(), items.len());
        for (item, said) in output.iter().zip(&items) {
            assert_eq!((&item["id"], &item["type"]), (&said["id"], &said["type"]));
            assert_eq!(item["arguments"], said["arguments"]);
        }
    }
    last
}

/// An event about a part of an item.
fn part(item: &mut Value, kind: &str, data: &Value) {
    let at = |name: &str| usize::try_from(data[name].as_u64().unwrap()).unwrap();
    let append = |text: &mut Value| {
        let delta = data["delta"].as_str().unwrap();
        *text = (text.as_str().unwrap().to_owned() + delta).into();
    };
    match kind {
        "response.content_part.added" => {
            assert_eq!(
                item["content"].as_array().unwrap().len(),
                at("content_index")
            );
            item["content"]
                .as_array_mut()
                .unwrap()
                .push(data["part"].clone());
        }
        "response.reasoning_summary_part.added" => {
            assert_eq!(
                item["summary"].as_array().unwrap().len(),
                at("summary_index")
            );
            item["summary"]
                .as_array_mut()
                .unwrap()
                .push(data["part"].clone());
        }
        "response.output_text.delta" => {
            let part = &mut item["content"][at("content_index")];
            append(&mut part["text"]);
            let more = data["logprobs"].as_array().unwrap().clone();
            part["logprobs"].as_array_mut().unwrap().extend(more);
        }
        "response.refusal.delta" => append(&mut item["content"][at("content_index")]["refusal"]),
        "response.reasoning_summary_text.delta" => {
            append(&mut item["summary"][at("summary_index")]["text"]);
        }
        "response.function_call_arguments.delta" => append(&mut item["arguments"]),
        "response.output_text.done" => {
            assert_eq!(item["content"][at("content_index")]["text"], data["text"]);
        }
        "response.refusal.done" => {
            assert_eq!(
                item["content"][at("content_index")]["refusal"],
                data["refusal"]
            );
        }
        "response.reasoning_summary_text.done" => {
            assert_eq!(item["summary"][at("summary_index")]["text"], data["text"]);
        }
        "response.content_part.done" => {
            assert_eq!(item["content"][at("content_index")], data["part"]);
        }
        "response.reasoning_summary_part.done" => {
            assert_eq!(item["summary"][at("summary_index")], data["part"]);
        }
        "response.function_call_arguments.done" => {
            // A call without any has none in its deltas.
            if item["arguments"] == "" {
                item["arguments"] = json!("{}");
            }
            assert_eq!(item["arguments"], data["arguments"]);
            assert_eq!(item["name"], data["name"]);
        }
        other => panic!("{other}"),
    }
}
