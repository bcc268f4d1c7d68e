//! Each golden stream of a provider, at every split, in every client's dialect.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use everstream_core::answer::{Answer, Delta, Fold};
use everstream_core::dialect::{
    ClientDialect, Decoder, Place, ProviderDialect, Renderer, ReplyHead,
};
use everstream_core::frame::event::{EventDecoder, Framing};
use everstream_core::frame::sse::SseEvent;

use crate::snapshot::{check, inputs};
use crate::{anthropic_client, frames, gemini_client, responses_client};

pub(crate) const CLIENTS: [ClientDialect; 4] = [
    ClientDialect::OpenAiChat,
    ClientDialect::Anthropic,
    ClientDialect::Gemini,
    ClientDialect::OpenAiResponses,
];
pub(crate) const PROVIDERS: [ProviderDialect; 6] = [
    ProviderDialect::OpenAiChat,
    ProviderDialect::Anthropic,
    ProviderDialect::Gemini,
    ProviderDialect::OpenAiResponses,
    ProviderDialect::Bedrock,
    ProviderDialect::Cohere,
];

/// Where an error comes behind seven events.
pub(crate) fn place() -> Place {
    Place {
        before: 7,
        head: head(),
        output: None,
    }
}

pub(crate) fn head() -> ReplyHead {
    ReplyHead {
        echo: bytes::Bytes::new(),
        id: "0000000000001".to_owned(),
        model: "asked-for".to_owned(),
        created: 1_700_000_000,
        show_usage: true,
    }
}

/// What came of a stream.
pub(crate) struct Heard {
    /// The events of each client.
    pub(crate) events: Vec<Vec<SseEvent>>,
    pub(crate) answer: Option<Answer>,
    /// Why it is no answer, if the decoder says so.
    pub(crate) broken: Option<String>,
}

/// Decodes a provider's bytes, in these chunks.
pub(crate) fn hear(dialect: ProviderDialect, chunks: &[Bytes]) -> Heard {
    let mut frames = EventDecoder::new(dialect.framing(), 1 << 20);
    let mut decoder = Decoder::new(dialect, &head().id);
    let mut renderers = CLIENTS.map(|client| Renderer::new(client, head()));
    let mut events = vec![Vec::new(); CLIENTS.len()];
    let mut fold = Fold::default();
    let mut out = |delta: &Delta<'_>| {
        fold.push(delta);
        for (renderer, events) in renderers.iter_mut().zip(&mut events) {
            renderer.push(delta, events);
        }
    };
    let mut read = Vec::new();
    for chunk in chunks {
        frames.push(chunk, &mut read).unwrap();
    }
    frames.finish(&mut read).unwrap();
    let mut result = Ok(());
    for event in read {
        if result.is_ok() {
            result = decoder.push(&event.name, &event.data, &mut out);
        }
    }
    let result = result.and_then(|()| decoder.finish(&mut out));
    Heard {
        events,
        answer: fold.finish().ok(),
        broken: result.err().map(|error| error.to_string()),
    }
}

fn text(heard: &Heard, client: usize) -> String {
    let mut text = String::new();
    for event in &heard.events[client] {
        if !event.name.is_empty() {
            writeln!(text, "event: {}", str::from_utf8(&event.name).unwrap()).unwrap();
        }
        writeln!(text, "data: {}\n", str::from_utf8(&event.data).unwrap()).unwrap();
    }
    if let Some(broken) = &heard.broken {
        writeln!(text, "broken: {broken}").unwrap();
    }
    text
}

/// How the files with its streams end.
fn ending(dialect: ProviderDialect) -> &'static str {
    match dialect.framing() {
        Framing::Sse => "sse",
        Framing::AwsEventStream => "frames",
    }
}

/// The bytes of a stream, as they come from its provider.
fn stream(dialect: ProviderDialect, path: &Path) -> Bytes {
    let file = fs::read(path).unwrap();
    match dialect.framing() {
        Framing::Sse => file.into(),
        Framing::AwsEventStream => frames::from_text(str::from_utf8(&file).unwrap()).into(),
    }
}

fn each_stream(mut test: impl FnMut(ProviderDialect, &Path, Bytes)) {
    for dialect in PROVIDERS {
        for path in inputs(dialect.as_str(), &format!(".{}", ending(dialect))) {
            test(dialect, &path, stream(dialect, &path));
        }
    }
}

#[test]
fn every_stream_is_the_same_wherever_it_is_cut() {
    // Decoders see whole events, one at a time: so nothing behind the framer can tell the cuts.
    let frames = |dialect: ProviderDialect, chunks: &[Bytes]| {
        let mut decoder = EventDecoder::new(dialect.framing(), 1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        events
    };
    each_stream(|dialect, path, bytes| {
        let whole = frames(dialect, std::slice::from_ref(&bytes));
        for cut in 0..=bytes.len() {
            let chunks = [bytes.slice(..cut), bytes.slice(cut..)];
            assert_eq!(
                frames(dialect, &chunks),
                whole,
                "{} at {cut}",
                path.display()
            );
        }
        let bytewise: Vec<_> = (0..bytes.len()).map(|at| bytes.slice(at..=at)).collect();
        let heard = hear(dialect, &bytewise);
        assert_eq!(
            heard.events,
            hear(dialect, &[bytes]).events,
            "{}",
            path.display()
        );
    });
}

#[test]
fn every_client_hears_what_it_did() {
    each_stream(|dialect, path, bytes| {
        let heard = hear(dialect, &[bytes]);
        for (index, client) in CLIENTS.into_iter().enumerate() {
            let snapshot = path.with_extension(format!("to_{}.sse", client.as_str()));
            check(&snapshot, &text(&heard, index));
        }
        let ended = heard.answer.is_some();
        anthropic_client::listen(&heard.events[1], ended);
        gemini_client::listen(&heard.events[2], ended);
        responses_client::listen(&heard.events[3], ended);
    });
}

#[test]
fn a_stream_folds_to_what_is_said_without_one() {
    for dialect in PROVIDERS {
        for path in inputs(dialect.as_str(), ".json") {
            let body = fs::read(&path).unwrap();
            let whole = dialect.read_answer(&body, &head().id).unwrap();
            let stream = stream(dialect, &path.with_extension(ending(dialect)));
            let heard = hear(dialect, &[stream]);
            assert_eq!(heard.answer.as_ref(), Some(&whole), "{}", path.display());
            for client in CLIENTS {
                let body = client.write_answer(&whole, &head());
                let snapshot = path.with_extension(format!("to_{}.json", client.as_str()));
                check(&snapshot, &format!("{}\n", str::from_utf8(&body).unwrap()));
            }
        }
    }
}

#[test]
fn an_answer_without_its_end_has_no_end_for_anybody() {
    let mut cut = 0;
    each_stream(|dialect, path, bytes| {
        let heard = hear(dialect, &[bytes]);
        if heard.answer.is_some() {
            return;
        }
        cut += 1;
        let all: String = (0..CLIENTS.len())
            .map(|client| text(&heard, client))
            .collect();
        for end in [
            "data: [DONE]",
            "message_stop",
            "message_delta",
            "event: response.completed",
            "event: response.incomplete",
            "\"finish_reason\":\"stop\"",
            "\"finishReason\":\"STOP\"",
        ] {
            assert!(!all.contains(end), "{}: {all}", path.display());
        }
        // The one of these that quotes a key is not to show it.
        assert!(!all.contains("sk-abcdef"), "{}", path.display());
    });
    assert!(cut >= 12, "{cut}");
}

#[test]
fn what_is_not_the_api_is_said_without_quoting_it() {
    for (dialect, data) in [
        (ProviderDialect::OpenAiChat, r#"{"choices":"sk-secret"}"#),
        (
            ProviderDialect::OpenAiChat,
            r#"{"choices":[{"index":128}]}"#,
        ),
        (ProviderDialect::OpenAiChat, "<html>sk-secret"),
        (
            ProviderDialect::Anthropic,
            r#"{"type":"message_delta","usage":"sk-secret"}"#,
        ),
        (ProviderDialect::Anthropic, "sk-secret"),
        (ProviderDialect::Gemini, r#"{"candidates":"sk-secret"}"#),
        (ProviderDialect::Gemini, r#"{"candidates":[{"index":128}]}"#),
        (
            ProviderDialect::OpenAiResponses,
            r#"{"type":"response.created","response":"sk-secret"}"#,
        ),
    ] {
        let mut decoder = Decoder::new(dialect, "x");
        let refused = decoder.push(b"", data.as_bytes(), &mut |_| {}).unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}
