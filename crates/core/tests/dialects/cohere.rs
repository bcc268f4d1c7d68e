//! What is particular to Cohere: plans, tools, refusals, and any events at all.

use everstream_core::answer::Delta;
use everstream_core::dialect::{ClientDialect, Decoder, ProviderDialect, Renderer, Traits};
use everstream_core::fault::FaultKind;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::requests::send;
use crate::transcripts::{CLIENTS, head};

fn sent(body: &Value) -> Value {
    let sent = send(
        ClientDialect::OpenAiChat,
        ProviderDialect::Cohere,
        body.to_string().as_bytes(),
        &Traits::default(),
    );
    serde_json::from_str(&sent).unwrap_or_else(|_| panic!("{sent}"))
}

#[test]
fn what_was_thought_before_calls_is_their_plan() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "reasoning_content": "Hm. ", "content": "b"},
        {"role": "assistant", "reasoning_content": "So.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "d"},
        {"role": "assistant", "reasoning_content": "Good.", "content": "e"},
        {"role": "user", "content": "f"},
    ]});
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!([
        {"role": "user", "content": [text("a")]},
        {"role": "assistant", "content": [text("b")], "tool_plan": "Hm. So.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [text("d")]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Good."}, text("e")]},
        {"role": "user", "content": [text("f")]},
    ]);
    assert_eq!(sent(&body)["messages"], expected);
}

#[test]
fn a_model_that_has_to_call_one_tool_is_told_of_no_other() {
    let tool =
        |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {}}});
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "a"}],
        "tools": [tool("f"), tool("g")]});
    for (choice, names, word) in [
        (json!("auto"), json!([tool("f"), tool("g")]), Value::Null),
        (json!("none"), json!([tool("f"), tool("g")]), json!("NONE")),
        (
            json!({"type": "function", "function": {"name": "g"}}),
            json!([tool("g")]),
            json!("REQUIRED"),
        ),
    ] {
        body["tool_choice"] = choice;
        let sent = sent(&body);
        assert_eq!((&sent["tools"], &sent["tool_choice"]), (&names, &word));
    }
}

#[test]
fn a_refusal_keeps_its_words() {
    for (status, kind) in [
        (400, FaultKind::Invalid),
        (401, FaultKind::Unauthorized),
        (404, FaultKind::NotFound),
        (422, FaultKind::Invalid),
        (429, FaultKind::RateLimit),
        (498, FaultKind::ContentFilter),
        (500, FaultKind::Server),
        (503, FaultKind::Overloaded),
    ] {
        let body = json!({"id": "x", "message": "A reason"}).to_string();
        let fault = ProviderDialect::Cohere.read_error(status, body.as_bytes());
        assert_eq!((fault.kind, fault.http_status()), (kind, status));
        assert_eq!(fault.message, "A reason");
    }
}

proptest! {
    #[test]
    fn no_event_is_a_panic(
        events in vec((
            "message-start|content-(start|delta|end)|tool-plan-delta|tool-call-(start|delta|end)|citation-start|message-end",
            "\"x\"|\\{\\}|1|\\{\"(content|tool_plan|tool_calls|citations)\":(\"x\"|\\{\\}|\\{\"(text|thinking|id)\":\"x\"\\})\\}",
        ), 0..6),
    ) {
        let mut decoder = Decoder::new(ProviderDialect::Cohere, "x");
        let mut renderers = CLIENTS.map(|client| Renderer::new(client, head()));
        let mut out = Vec::new();
        let mut render = |delta: &Delta<'_>| {
            for renderer in &mut renderers {
                renderer.push(delta, &mut out);
            }
        };
        for (kind, message) in &events {
            let data = format!("{{\"type\":\"{kind}\",\"delta\":{{\"message\":{message}}}}}");
            let _ = decoder.push(b"", data.as_bytes(), &mut render);
        }
        let _ = decoder.finish(&mut render);
    }
}
