use serde_json::Value;

use super::*;

impl Bench {
    /// The client's text, of events that keep to its API's order.
    pub(super) fn heard(&self) -> String {
        let events = self.events();
        let events: Vec<Value> = events
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect();
        let mut ids: Vec<&str> = events
            .iter()
            .filter(|e| e["error"].is_null())
            .flat_map(|e| [&e["id"], &e["responseId"], &e["response"]["id"]])
            .filter_map(Value::as_str)
            .collect();
        ids.dedup();
        assert!(ids.len() <= 1, "{events:?}");
        let of_type = |kind: &str| events.iter().filter(|e| e["type"] == kind).count();
        let texts = match self.writer.plan.surface {
            Surface::Messages => {
                assert!(of_type("message_start") <= 1, "{events:?}");
                let starts = events
                    .iter()
                    .filter(|e| e["type"] == "content_block_start")
                    .map(|e| e["index"].as_u64());
                assert!(starts.eq((0..of_type("content_block_start") as u64).map(Some)));
                assert!(of_type("content_block_stop") <= of_type("content_block_start"));
                let delta = |e: &Value| e["delta"]["text"].as_str().map(str::to_owned);
                events.iter().filter_map(delta).collect::<Vec<_>>()
            }
            Surface::Responses => {
                assert!(of_type("response.created") <= 1);
                let numbers = events.iter().map(|e| e["sequence_number"].as_u64());
                assert!(numbers.eq((0..events.len() as u64).map(Some)), "{events:?}");
                let is_text = |e: &&Value| e["type"] == "response.output_text.delta";
                let texts = events.iter().filter(is_text);
                texts
                    .filter_map(|e| e["delta"].as_str().map(str::to_owned))
                    .collect()
            }
            Surface::GenerateContent => {
                let part = |e: &Value| {
                    e["candidates"][0]["content"]["parts"][0]["text"]
                        .as_str()
                        .map(str::to_owned)
                };
                events.iter().filter_map(part).collect()
            }
            _ => {
                let delta = |e: &Value| e["choices"][0]["delta"].clone();
                let roles = events.iter().filter(|e| delta(e)["role"] == "assistant");
                assert!(roles.count() <= 1, "{events:?}");
                let text = |e: &Value| delta(e)["content"].as_str().map(str::to_owned);
                events.iter().filter_map(text).collect()
            }
        };
        texts.concat()
    }

    /// The text of the one answer that the client's API makes of all events.
    pub(super) fn folded(&self) -> String {
        let events: Vec<Bytes> = self.events().into_iter().map(Bytes::from).collect();
        let usage = &self.end().usage;
        let surface = self.writer.plan.surface;
        let body = surface.fold(usage, &events).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let texts = |parts: &Value| {
            let parts = parts.as_array().unwrap().iter();
            parts
                .filter_map(|part| part["text"].as_str())
                .collect::<String>()
        };
        match surface {
            Surface::Messages => texts(&body["content"]),
            Surface::Responses => texts(&body["output"][0]["content"]),
            Surface::GenerateContent => texts(&body["candidates"][0]["content"]["parts"]),
            _ => body["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }
}
