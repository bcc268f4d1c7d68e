//! Requests: any body is read or refused, and the upstream gets JSON: that says the same if it passes
//! through, and in its own API if it is translated. A form may be cut anywhere.
#![no_main]

use bytes::Bytes;
use everstream_core::dialect::openai::{Envelope, fingerprint};
use everstream_core::dialect::{ClientDialect, ProviderDialect, Target, Traits};
use everstream_core::event::Surface;
use everstream_core::frame::multipart::{FieldFinder, FoundField, MultipartError};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    passed_through(&Bytes::copy_from_slice(input));
    translated(input);
    let found = find(input, input.len().max(1));
    assert_eq!(find(input, 1), found);
    assert_eq!(find(input, 7), found);
    if let Ok(Some(field)) = found {
        let place = usize::try_from(field.place.start).expect("inputs are small");
        assert!(input[place..].starts_with(field.value.as_bytes()));
    }
});

fn passed_through(body: &Bytes) {
    for surface in [
        Surface::ChatCompletions,
        Surface::Completions,
        Surface::Embeddings,
        Surface::Messages,
        Surface::Responses,
    ] {
        let Ok(envelope) = Envelope::parse(body, surface) else {
            continue;
        };
        for (ask_usage, force_stream) in [(false, false), (true, false), (true, true)] {
            let rewritten = envelope.upstream_body("other\"model", ask_usage, force_stream);
            if let Ok(before) = serde_json::from_slice::<Value>(body) {
                let after = serde_json::from_slice(&rewritten).expect("it was JSON before");
                assert_eq!(unlike(before), unlike(after));
            }
        }
        let same = envelope.upstream_body(&envelope.model, false, false);
        let delivery = fingerprint(&same).ok();
        assert_eq!(delivery, fingerprint(body).ok());
    }
}

/// The value without what a rewrite may change.
fn unlike(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        for name in ["model", "stream", "stream_options", "background"] {
            members.remove(name);
        }
    }
    value
}

fn translated(body: &[u8]) {
    for client in [
        ClientDialect::OpenAiChat,
        ClientDialect::Anthropic,
        ClientDialect::Gemini,
        ClientDialect::OpenAiResponses,
    ] {
        let Ok(ask) = client.read_request(body) else {
            continue;
        };
        for provider in [
            ProviderDialect::OpenAiChat,
            ProviderDialect::Anthropic,
            ProviderDialect::Gemini,
            ProviderDialect::OpenAiResponses,
            ProviderDialect::Bedrock,
            ProviderDialect::Cohere,
        ] {
            let target = Target {
                model: "other\"model",
                stream: true,
                traits: &Traits::MAKERS,
            };
            if let Ok(body) = provider.write_request(&ask, &target) {
                serde_json::from_slice::<IgnoredAny>(&body).expect("it is JSON");
            }
        }
    }
}

/// The field `model` of a form.
fn find(body: &[u8], size: usize) -> Result<Option<FoundField>, MultipartError> {
    let mut finder = FieldFinder::new("XX", "model", 16);
    for piece in body.chunks(size) {
        finder.push(piece)?;
    }
    Ok(finder.found().cloned())
}
