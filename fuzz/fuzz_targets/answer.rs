//! Answers of upstreams: each line of the input is an event's data, after its name and a tab if it has
//! one. Whatever they are, they are classed, and put together or refused; a body made of them is one
//! that would be accepted. In another API they are JSON, line by line.
#![no_main]

use everstream_core::answer::Delta;
use everstream_core::dialect::openai::{Kind, fault_from_body, fold, observe, observe_body};
use everstream_core::dialect::{ClientDialect, Decoder, ProviderDialect, Renderer, ReplyHead};
use everstream_core::event::Surface;
use everstream_core::frame::sse::SseEvent;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const CLIENTS: [ClientDialect; 4] = [
    ClientDialect::OpenAiChat,
    ClientDialect::Anthropic,
    ClientDialect::Gemini,
    ClientDialect::OpenAiResponses,
];

fuzz_target!(|input: &[u8]| {
    let events = || input.split(|&byte| byte == b'\n');
    for data in events().filter(|data| str::from_utf8(data).is_ok()) {
        let seen = observe(data);
        let data = data.trim_ascii();
        let is_object = data.starts_with(b"{") && serde_json::from_slice::<&RawValue>(data).is_ok();
        let classed = !matches!(seen.kind, Kind::Malformed | Kind::Done);
        assert!(is_object || !classed);
        // Choices that are none make an object malformed; nothing else does.
        assert!(classed || !is_object || may_name_choices(data));
    }
    for surface in [Surface::ChatCompletions, Surface::Completions] {
        if let Ok(body) = fold(surface, events()) {
            assert_eq!(observe_body(&body).kind, Kind::Content);
        }
    }
    let fault = fault_from_body(500, input);
    assert!(!fault.message.is_empty() && !fault.message.chars().any(char::is_control));
    for provider in [
        ProviderDialect::OpenAiChat,
        ProviderDialect::Anthropic,
        ProviderDialect::Gemini,
        ProviderDialect::OpenAiResponses,
        ProviderDialect::Bedrock,
        ProviderDialect::Cohere,
    ] {
        streamed(provider, events());
        whole(provider, input);
    }
});

/// Whether a member may be called so, be it with escapes.
fn may_name_choices(data: &[u8]) -> bool {
    data.windows(7).any(|word| word == b"choices") || data.contains(&b'\\')
}

fn streamed<'a>(provider: ProviderDialect, lines: impl Iterator<Item = &'a [u8]>) {
    let mut decoder = Decoder::new(provider, "id");
    let mut renderers = CLIENTS.map(|client| Renderer::new(client, ReplyHead::default()));
    let mut written = Vec::new();
    let mut out = |delta: &Delta<'_>| {
        for renderer in &mut renderers {
            renderer.push(delta, &mut written);
        }
    };
    // As a framer gives them, they are text.
    for line in lines.filter(|line| str::from_utf8(line).is_ok()) {
        let tab = line.iter().position(|&byte| byte == b'\t');
        let (name, data) = tab.map_or((&b""[..], line), |at| (&line[..at], &line[at + 1..]));
        if decoder.push(name, data, &mut out).is_err() {
            break;
        }
    }
    decoder.finish(&mut out).ok();
    for SseEvent { data, .. } in written {
        assert!(&*data == b"[DONE]" || is_json(&data), "{data:?}");
    }
}

fn whole(provider: ProviderDialect, body: &[u8]) {
    let fault = provider.read_error(500, body);
    let answer = provider.read_answer(body, "id");
    for client in CLIENTS {
        assert!(is_json(&client.write_error(&fault)));
        if let Ok(answer) = &answer {
            assert!(is_json(&client.write_answer(answer, &ReplyHead::default())));
        }
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
