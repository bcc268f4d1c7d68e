//! What holds for any answer in Google's dialect.

use std::fs;

use bytes::Bytes;
use everstream_core::answer::{Answer, Choice, Delta, Finish, Reason};
use everstream_core::content::{Content, Maker, Part, Seal, SealForm};
use everstream_core::dialect::{ClientDialect, ProviderDialect};
use everstream_core::event::{Surface, Usage};
use everstream_core::frame::sse::{SseDecoder, SseEvent};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::gemini_client::listen;
use crate::properties::{
    ALL, WORDS, call, comes_back, google, next_turn, number, render, seal, start, text, usage,
};
use crate::snapshot::inputs;
use crate::transcripts::{head, hear};

fn reasoning() -> impl Strategy<Value = Part<'static>> {
    WORDS.prop_map(|text| Content::Reasoning(text.into()).into())
}

fn parts(
    seals: impl Strategy<Value = Option<Seal<'static>>>,
) -> impl Strategy<Value = Vec<Part<'static>>> {
    let part = prop_oneof![text(), reasoning(), call()];
    let sealed = (part, seals).prop_map(|(part, seal)| Part { seal, ..part });
    vec(sealed, 0..6).prop_map(|parts| number(apart(parts)))
}

/// Without those that a stream cannot tell from more of the part before.
fn apart(parts: Vec<Part<'static>>) -> Vec<Part<'static>> {
    let mut kept: Vec<Part<'static>> = Vec::new();
    for part in parts {
        let open = kept.last().filter(|last| last.seal.is_none());
        let goes_on = open.is_some_and(|last| {
            matches!(
                (&last.content, &part.content),
                (Content::Text(_), Content::Text(_))
                    | (Content::Reasoning(_), Content::Reasoning(_))
            )
        });
        if !goes_on {
            kept.push(part);
        }
    }
    kept
}

/// A seal that is on no part.
fn hidden(data: String) -> Part<'static> {
    Part {
        seal: Some(Seal {
            maker: Maker::Google,
            form: SealForm::Signature,
            id: None,
            data: data.into(),
        }),
        ..Content::Reasoning("".into()).into()
    }
}

fn finish(parts: &[Part<'_>], which: usize) -> Finish<'static> {
    let calls = |part: &Part<'_>| matches!(part.content, Content::ToolCall(_));
    let plain = if parts.iter().any(calls) {
        Reason::ToolCalls
    } else {
        Reason::Stop
    };
    let with = |reason, detail: &'static str| Finish {
        reason,
        detail: Some(detail.into()),
    };
    match which {
        0 => plain.into(),
        1 => Reason::Length.into(),
        2 => Reason::ContentFilter.into(),
        3 => with(Reason::ContentFilter, "RECITATION"),
        _ => with(Reason::Other, "LANGUAGE"),
    }
}

fn choice() -> impl Strategy<Value = Choice> {
    let last = option::of("[A-Za-z0-9+/]{1,12}");
    (parts(google()), last, 0..5_usize).prop_map(|(mut parts, last, which)| {
        let closed = parts
            .last()
            .is_none_or(|part| part.seal.is_some() || !matches!(part.content, Content::Text(_)));
        parts.extend(last.filter(|_| closed).map(hidden));
        Choice {
            finish: Some(finish(&parts, which)),
            parts,
            ..Choice::default()
        }
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    // The API does not tell what was written to a cache.
    let usage = usage().prop_map(|usage| Usage {
        cache_write_tokens: 0,
        ..usage
    });
    (start(None), vec(choice(), 1..3), usage).prop_map(|(start, choices, usage)| Answer {
        start,
        choices,
        usage: Some(usage),
    })
}

proptest! {
    #[test]
    fn an_answer_in_googles_dialect_comes_back(answer in answer()) {
        comes_back(ClientDialect::Gemini, ProviderDialect::Gemini, &answer);
    }

    #[test]
    fn a_client_of_googles_sends_back_what_it_got(parts in parts(option::of(seal(ALL, true)))) {
        let choice = Choice { parts: parts.clone(), ..Choice::default() };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        prop_assert_eq!(next_turn(ClientDialect::Gemini, &answer), parts);
    }

    #[test]
    fn googles_stream_adds_up_to_its_whole_answer(answer in answer()) {
        let deltas: Vec<Delta<'_>> = answer.deltas().collect();
        let heard = listen(&render(ClientDialect::Gemini, &deltas), true);
        let body = ClientDialect::Gemini.write_answer(&answer, &head());
        let whole: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(heard, whole);
    }

    #[test]
    fn a_stream_that_is_fetched_as_one_body_is_the_whole_answer(answer in answer()) {
        let deltas: Vec<Delta<'_>> = answer.deltas().collect();
        let events = render(ClientDialect::Gemini, &deltas);
        let folded = Surface::GenerateContent.fold(&Usage::default(), &data(&events)).unwrap();
        let folded: Value = serde_json::from_slice(&folded).unwrap();
        let body = ClientDialect::Gemini.write_answer(&answer, &head());
        let whole: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(folded, whole);
    }
}

fn data(events: &[SseEvent]) -> Vec<Bytes> {
    events.iter().map(|event| event.data.clone()).collect()
}

#[test]
fn a_golden_stream_folds_to_the_answer_that_it_is() {
    for path in inputs("gemini", ".sse") {
        let bytes = Bytes::from(fs::read(&path).unwrap());
        let Some(answer) = hear(ProviderDialect::Gemini, std::slice::from_ref(&bytes)).answer
        else {
            continue;
        };
        let (mut decoder, mut events) = (SseDecoder::new(1 << 20), Vec::new());
        decoder.push(&bytes, &mut events).unwrap();
        decoder.finish(&mut events).unwrap();
        let body = Surface::GenerateContent.fold(&Usage::default(), &data(&events));
        let whole = ProviderDialect::Gemini.read_answer(&body.unwrap(), &head().id);
        // Folding sorts the members of objects that are not known.
        let written = |answer: &Answer| -> Value {
            let body = ClientDialect::Gemini.write_answer(answer, &head());
            serde_json::from_slice(&body).unwrap()
        };
        assert_eq!(
            written(&whole.unwrap()),
            written(&answer),
            "{}",
            path.display()
        );
    }
}
