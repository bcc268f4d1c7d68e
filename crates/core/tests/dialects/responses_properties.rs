//! What holds for any answer in the dialect of OpenAI's responses.

use everstream_core::answer::{Answer, Choice, Delta, Finish, Reason, Start};
use everstream_core::content::{Content, Part};
use everstream_core::dialect::{ClientDialect, ProviderDialect};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::properties::{
    ALL, WORDS, call, comes_back, next_turn, number, reasoning, render, seal, text, usage,
};
use crate::responses_client::listen;
use crate::transcripts::head;

fn refusal() -> impl Strategy<Value = Part<'static>> {
    WORDS.prop_map(|text| Content::Refusal(text.into()).into())
}

fn parts() -> impl Strategy<Value = Vec<Part<'static>>> {
    let part = prop_oneof![text(), refusal(), reasoning(ALL, true), call()];
    vec(part, 0..6).prop_map(number)
}

fn finish(parts: &[Part<'_>], which: usize) -> Finish<'static> {
    let has = |test: fn(&Content<'_>) -> bool| parts.iter().any(|part| test(&part.content));
    let plain = if has(|content| matches!(content, Content::ToolCall(_))) {
        Reason::ToolCalls
    } else if has(|content| matches!(content, Content::Refusal(_))) {
        Reason::Refusal
    } else {
        Reason::Stop
    };
    match which {
        0 => plain.into(),
        1 => Reason::Length.into(),
        2 => Reason::ContentFilter.into(),
        3 => Reason::PauseTurn.into(),
        _ => Finish {
            reason: Reason::Other,
            detail: Some("some_new_word".into()),
        },
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    (WORDS, parts(), usage(), 0..5_usize).prop_map(|(model, parts, usage, which)| {
        let choice = Choice {
            finish: Some(finish(&parts, which)),
            parts,
            ..Choice::default()
        };
        Answer {
            start: Start {
                id: format!("resp_{}", head().id).into(),
                model: model.into(),
                created: Some(7),
            },
            choices: vec![choice],
            usage: Some(usage),
        }
    })
}

proptest! {
    #[test]
    fn an_answer_in_the_responses_dialect_comes_back(answer in answer()) {
        comes_back(ClientDialect::OpenAiResponses, ProviderDialect::OpenAiResponses, &answer);
    }

    #[test]
    fn a_client_of_the_responses_sends_back_what_it_got(
        mut parts in parts(),
        seals in vec(option::of(seal(ALL, true)), 6),
    ) {
        for (part, seal) in parts.iter_mut().zip(seals) {
            if !matches!(part.content, Content::Reasoning(_)) {
                part.seal = seal;
            }
        }
        let choice = Choice { parts: parts.clone(), ..Choice::default() };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        prop_assert_eq!(next_turn(ClientDialect::OpenAiResponses, &answer), parts);
    }

    #[test]
    fn a_responses_stream_ends_with_its_whole_answer(answer in answer()) {
        let deltas: Vec<Delta<'_>> = answer.deltas().collect();
        let client = ClientDialect::OpenAiResponses;
        let heard = listen(&render(client, &deltas), true);
        let body = client.write_answer(&answer, &head());
        let whole: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(heard, whole);
    }
}
