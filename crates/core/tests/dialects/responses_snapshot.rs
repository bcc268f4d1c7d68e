//! A response put together from its events is the one that its last event has.

use std::fs;

use bytes::Bytes;
use everstream_core::dialect::ReplyHead;
use everstream_core::dialect::openai_responses::snapshot::{Snapshot, of_end};
use everstream_core::event::{Event, Status};
use everstream_core::frame::sse::{SseDecoder, SseEvent};
use everstream_core::id::{Seq, UnixMillis};
use serde_json::{Value, json};

/// The events of all golden streams of the dialect, made by providers and by the renderer.
fn streams() -> Vec<(String, Vec<Event>)> {
    let mut streams = Vec::new();
    for provider in ["openai_responses", "openai_chat", "anthropic", "gemini"] {
        let folder = format!("{}/tests/golden/{provider}", env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            let name = name.strip_suffix(".sse").unwrap_or_default().to_owned();
            let own = provider == "openai_responses" && !name.contains(".to_");
            if name.ends_with(".to_openai_responses") || (own && !name.is_empty()) {
                streams.push((name, events(&fs::read(&path).unwrap())));
            }
        }
    }
    assert!(streams.len() > 30, "few streams are there");
    streams
}

fn events(text: &[u8]) -> Vec<Event> {
    let mut decoder = SseDecoder::new(1 << 20);
    let mut decoded = Vec::new();
    decoder
        .push(&Bytes::copy_from_slice(text), &mut decoded)
        .unwrap();
    decoder.finish(&mut decoded).unwrap();
    let event = |(seq, event): (u64, SseEvent)| Event {
        seq: Seq::new(seq),
        time: UnixMillis(0),
        name: event.name,
        data: event.data,
    };
    (1..).zip(decoded).map(event).collect()
}

/// Without what only comes with the end of a part, or of the response.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for name in ["annotations", "logprobs", "status"] {
                members.remove(name);
            }
            for member in members.values_mut() {
                *member = plain(member.take());
            }
        }
        Value::Array(elements) => {
            for element in elements {
                *element = plain(element.take());
            }
        }
        _ => {}
    }
    value
}

#[test]
fn the_events_before_the_last_make_its_output() {
    for (name, events) in streams() {
        let Some((last, before)) = events.split_last() else {
            continue;
        };
        let Some(whole) = of_end(last) else { continue };
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let mut snapshot = Snapshot::default();
        before.iter().for_each(|event| snapshot.push(event));
        let output = serde_json::to_value(snapshot.output()).unwrap();
        assert_eq!(plain(output), plain(whole["output"].clone()), "{name}");
    }
}

#[test]
fn deltas_alone_say_the_same_text() {
    for (name, events) in streams() {
        let Some(whole) = events.last().and_then(of_end) else {
            continue;
        };
        let mut snapshot = Snapshot::default();
        let text = |event: &&Event| {
            let kind = str::from_utf8(&event.name).unwrap();
            !matches!(
                kind.rsplit('.').next(),
                Some("done" | "completed" | "incomplete")
            )
        };
        events
            .iter()
            .filter(text)
            .for_each(|event| snapshot.push(event));
        let running = snapshot.finish(Status::Running, &ReplyHead::default());
        let [running, whole]: [Value; 2] =
            [running, whole].map(|response| serde_json::from_slice(&response).unwrap());
        assert_eq!(running["status"], "in_progress", "{name}");
        let said = |response: &Value| -> Vec<Value> {
            let items = response["output"].as_array().unwrap().iter();
            let said = items.flat_map(|item| {
                let parts = ["content", "summary"].map(|list| item[list].as_array().cloned());
                let parts = parts.into_iter().flatten().flatten();
                let texts = parts.map(|part| part.get("text").or(part.get("refusal")).cloned());
                let texts: Vec<_> = texts.flatten().collect();
                texts
            });
            said.collect()
        };
        assert_eq!(said(&running), said(&whole), "{name}");
    }
}

#[test]
fn anything_can_be_pushed() {
    let event = |data: &str| Event {
        seq: Seq::new(1),
        time: UnixMillis(0),
        name: Bytes::new(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    };
    let mut snapshot = Snapshot::default();
    for data in [
        "",
        "[1]",
        r#"{"output_index":0,"delta":"a"}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":7}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a"}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"content":"x"}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":9,"delta":"a"}"#,
        r#"{"type":"response.content_part.added","output_index":1,"content_index":18446744073709551615,"part":1}"#,
    ] {
        snapshot.push(&event(data));
    }
    let response = snapshot.finish(Status::Failed, &ReplyHead::default());
    let response: Value = serde_json::from_slice(&response).unwrap();
    assert_eq!(response["output"], json!([7, {"content": "x"}]));
}
