//! What is particular to Bedrock: whose model it is, exceptions, and any events at all.

use everstream_core::answer::Delta;
use everstream_core::dialect::bedrock::Family;
use everstream_core::dialect::{ClientDialect, Decoder, ProviderDialect, Renderer, Traits};
use everstream_core::fault::FaultKind;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::requests::send;
use crate::transcripts::{CLIENTS, head};

fn sent(family: Family, members: &Value) -> String {
    let mut body = json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]});
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    let traits = Traits {
        bedrock_family: family,
        ..Traits::default()
    };
    send(
        ClientDialect::Anthropic,
        ProviderDialect::Bedrock,
        body.to_string().as_bytes(),
        &traits,
    )
}

#[test]
fn a_model_gets_what_it_takes_under_its_own_names() {
    let top_k = json!({"top_k": 5});
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}});
    let more = |sent: String| {
        let sent: Value = serde_json::from_str(&sent).unwrap_or_else(|_| panic!("{sent}"));
        sent["additionalModelRequestFields"].clone()
    };
    let of = |family, members| more(sent(family, members));
    let nested = json!({"inferenceConfig": {"topK": 5}});
    assert_eq!(of(Family::Claude, &top_k), top_k);
    assert_eq!(of(Family::Nova, &top_k), nested);
    assert_eq!(of(Family::Claude, &budget), budget);
    let effort = json!({"reasoning_effort": "low"});
    assert_eq!(of(Family::GptOss, &budget), effort);
    for (family, members, path) in [
        (Family::GptOss, &top_k, "top_k"),
        (Family::Other, &top_k, "top_k"),
        (Family::Nova, &budget, "thinking"),
        (Family::Other, &budget, "thinking"),
        (
            Family::GptOss,
            &json!({"thinking": {"type": "disabled"}}),
            "thinking",
        ),
    ] {
        let sent = sent(family, members);
        assert!(
            sent.contains(&format!(" at {path}: ")),
            "{family:?}: {sent}"
        );
    }
}

#[test]
fn only_models_that_cache_get_marks() {
    for (family, marked) in [
        (Family::Claude, true),
        (Family::Nova, true),
        (Family::GptOss, false),
        (Family::Other, false),
    ] {
        let sent: Value = serde_json::from_str(&sent(family, &json!({}))).unwrap();
        let mut content = vec![json!({"text": "x"})];
        if marked {
            content.push(json!({"cachePoint": {"type": "default", "ttl": "1h"}}));
        }
        assert_eq!(sent["messages"][0]["content"], json!(content), "{family:?}");
    }
}

#[test]
fn an_exception_has_its_kind_name_and_status() {
    for (name, kind, status) in [
        ("throttlingException", FaultKind::RateLimit, Some(429)),
        ("validationException", FaultKind::Invalid, Some(400)),
        ("modelStreamErrorException", FaultKind::Server, Some(424)),
        ("internalServerException", FaultKind::Server, Some(500)),
        (
            "serviceUnavailableException",
            FaultKind::Overloaded,
            Some(503),
        ),
        ("somethingNewException", FaultKind::Server, None),
    ] {
        let mut decoder = Decoder::new(ProviderDialect::Bedrock, "x");
        let mut faults = Vec::new();
        let event = format!("exception:{name}");
        let data = br#"{"message":"A reason"}"#;
        let result = decoder.push(event.as_bytes(), data, &mut |delta| {
            if let Delta::Error(fault) = delta {
                faults.push(fault.clone());
            }
        });
        result.unwrap();
        let [fault] = &faults[..] else {
            panic!("{name}: {faults:?}");
        };
        assert_eq!((fault.kind, fault.status), (kind, status), "{name}");
        assert_eq!(fault.code.as_deref(), Some(name));
        assert_eq!(fault.message, "A reason");
    }
}

#[test]
fn a_refusal_is_read_in_every_form() {
    let read = |status, body: Value| {
        ProviderDialect::Bedrock.read_error(status, body.to_string().as_bytes())
    };
    let named = json!({"__type": "com.amazon#ThrottlingException", "message": "Slow down"});
    let fault = read(400, named);
    assert_eq!(fault.kind, FaultKind::RateLimit);
    assert_eq!(fault.code.as_deref(), Some("ThrottlingException"));
    let fault = read(403, json!({"Message": "Not you"}));
    assert_eq!(
        (fault.kind, &*fault.message),
        (FaultKind::Forbidden, "Not you")
    );
    let fault = read(424, json!({"message": "It broke"}));
    assert_eq!((fault.kind, fault.http_status()), (FaultKind::Server, 424));
    let fault = ProviderDialect::Bedrock.read_error(502, b"<html>");
    assert_eq!(fault.kind, FaultKind::Server);
}

proptest! {
    #[test]
    fn no_event_is_a_panic(
        events in vec((
            "(messageSta|contentBlockSta|contentBlockDel|contentBlockSto|messageSto|metada)(rt|ta|p)|exception:\\PC{0,4}",
            prop_oneof![
                "\\PC{0,30}",
                "\\{\"contentBlockIndex\":[01],\"(delta|start)\":\\{\"(text|toolUse|reasoningContent|citation)\":(\"x\"|\\{\\}|\\{\"input\":\"x\"\\})\\}\\}",
                "\\{\"(stopReason|usage|trace)\":(\"x\"|\\{\\}|1)\\}",
            ],
        ), 0..6),
    ) {
        let mut decoder = Decoder::new(ProviderDialect::Bedrock, "x");
        let mut renderers = CLIENTS.map(|client| Renderer::new(client, head()));
        let mut out = Vec::new();
        let mut render = |delta: &Delta<'_>| {
            for renderer in &mut renderers {
                renderer.push(delta, &mut out);
            }
        };
        for (name, data) in &events {
            let _ = decoder.push(name.as_bytes(), data.as_bytes(), &mut render);
        }
        let _ = decoder.finish(&mut render);
    }
}
