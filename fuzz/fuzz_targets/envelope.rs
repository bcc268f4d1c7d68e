//! Requests: any body is read or refused, and the upstream gets JSON that says the same.
#![no_main]

use bytes::Bytes;
use everstream_core::dialect::openai::{Envelope, fingerprint};
use everstream_core::event::Surface;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    for surface in [
        Surface::ChatCompletions,
        Surface::Completions,
        Surface::Embeddings,
    ] {
        let Ok(envelope) = Envelope::parse(&body, surface) else {
            continue;
        };
        for (ask_usage, force_stream) in [(false, false), (true, false), (true, true)] {
            let rewritten = envelope.upstream_body("other\"model", ask_usage, force_stream);
            if let Ok(before) = serde_json::from_slice::<Value>(&body) {
                let after = serde_json::from_slice(&rewritten).expect("it was JSON before");
                assert_eq!(unlike(before), unlike(after));
            }
        }
        let same = envelope.upstream_body(&envelope.model, false, false);
        let delivery = fingerprint(&same).ok();
        assert_eq!(delivery, fingerprint(&body).ok());
    }
});

/// The value without what a rewrite may change.
fn unlike(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        for name in ["model", "stream", "stream_options", "background"] {
            members.remove(name);
        }
    }
    value
}
