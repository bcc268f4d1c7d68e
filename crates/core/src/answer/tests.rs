use std::borrow::Cow;

use super::*;
use crate::content::{Maker, SealForm};
use crate::fault::FaultKind;

fn seal(data: &'static str) -> Seal<'static> {
    Seal {
        maker: Maker::Anthropic,
        form: SealForm::Signature,
        id: None,
        data: Cow::Borrowed(data),
    }
}

fn sealed(content: Content<'static>, data: &'static str) -> Part<'static> {
    Part {
        seal: Some(seal(data)),
        ..content.into()
    }
}

fn call(id: &'static str, arguments: &'static str) -> Content<'static> {
    Content::ToolCall(ToolCall {
        id: Cow::Borrowed(id),
        name: Cow::Borrowed("f"),
        arguments: Cow::Borrowed(arguments),
    })
}

fn fold<'a>(deltas: impl IntoIterator<Item = Delta<'a>>) -> Result<Answer, Broken> {
    let mut fold = Fold::default();
    for delta in deltas {
        fold.push(&delta);
    }
    fold.finish()
}

#[test]
fn an_answer_taken_apart_and_put_together_is_the_same() {
    let parts = vec![
        sealed(Content::Reasoning("hm".into()), "a"),
        sealed(Content::Reasoning("".into()), "hidden"),
        Part::text("one"),
        Part::text("two"),
        sealed(call("x", "{}"), "on a call"),
        sealed(Content::Reasoning("".into()), "hidden behind a call"),
        call("y", "").into(),
        Content::Refusal("no".into()).into(),
        Content::Audio(Source::Base64 {
            media_type: "audio/wav".into(),
            data: "AA==".into(),
        })
        .into(),
    ];
    let choice = Choice {
        parts,
        finish: Some(Reason::Stop.into()),
        logprobs: vec![Json::parse("[1]").unwrap()],
        extras: vec![Extra {
            dialect: "anthropic",
            name: "citation".into(),
            value: Json::parse("{}").unwrap(),
        }],
    };
    let answer = Answer {
        start: Start {
            id: "i".into(),
            model: "m".into(),
            created: Some(1),
        },
        choices: vec![choice.clone(), Choice::default(), choice],
        usage: Some(Usage::default()),
    };
    assert_eq!(fold(answer.deltas()), Ok(answer.clone()));
}

#[test]
fn pieces_go_on_until_their_part_is_over() {
    let text = |text| Piece::Text(Cow::Borrowed(text));
    let begin = |call| Piece::ToolCall {
        call,
        id: "i".into(),
        name: "f".into(),
        seal: None,
    };
    let more = |call, json| Piece::Arguments {
        call,
        json: Cow::Borrowed(json),
    };
    let pieces = [
        text("a"),
        text("b"),
        Piece::Close,
        text("c"),
        Piece::Seal(seal("s")),
        begin(0),
        more(0, "{\"x\""),
        begin(1),
        more(1, "{"),
        more(0, ":1}"),
        more(7, "lost"),
        more(1, "}"),
    ];
    let deltas = pieces.map(|piece| Delta::Piece { choice: 0, piece });
    let answer = fold(deltas.into_iter().chain([Delta::End])).unwrap();
    let expected = [
        Part::text("ab"),
        sealed(Content::Text("c".into()), "s"),
        call("i", "{\"x\":1}").into(),
        call("i", "{}").into(),
    ];
    assert_eq!(answer.choices[0].parts, expected);
}

#[test]
fn only_an_ended_answer_is_whole() {
    let fault = Fault::new(FaultKind::Overloaded, "busy");
    assert_eq!(fold([Delta::Start(Start::default())]), Err(Broken::Cut));
    let failed = fold([Delta::Error(fault.clone())]);
    assert_eq!(failed, Err(Broken::Fault(fault)));
}

#[test]
fn choices_beyond_the_bound_cost_no_memory() {
    let finish = Reason::Stop.into();
    let answer = fold([
        Delta::Finish {
            choice: u32::MAX,
            finish,
        },
        Delta::End,
    ]);
    assert_eq!(answer, Ok(Answer::default()));
}
