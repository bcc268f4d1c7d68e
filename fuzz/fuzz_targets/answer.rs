//! Answers of upstreams: each line of the input is an event's data. Whatever they are, they are
//! classed, and put together or refused; a body made of them is one that would be accepted.
#![no_main]

use everstream_core::dialect::openai::{Kind, fault_from_body, fold, observe, observe_body};
use everstream_core::event::Surface;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    let events = || input.split(|&byte| byte == b'\n');
    for data in events().filter(|data| str::from_utf8(data).is_ok()) {
        let seen = observe(data);
        let data = data.trim_ascii();
        let is_object = data.starts_with(b"{") && serde_json::from_slice::<&RawValue>(data).is_ok();
        assert_eq!(
            is_object,
            !matches!(seen.kind, Kind::Malformed | Kind::Done)
        );
    }
    for surface in [Surface::ChatCompletions, Surface::Completions] {
        if let Ok(body) = fold(surface, events()) {
            assert_eq!(observe_body(&body).kind, Kind::Content);
        }
    }
    let fault = fault_from_body(500, input);
    assert!(!fault.message.is_empty() && !fault.message.chars().any(char::is_control));
});
