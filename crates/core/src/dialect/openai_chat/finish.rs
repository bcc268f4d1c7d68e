use std::borrow::Cow;

use crate::answer::{Finish, Reason};

/// What a choice's end says of the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'w> {
    pub(super) finish_reason: &'w str,
    pub(super) native: Option<&'w str>,
    pub(super) stop_sequence: Option<&'w str>,
}

/// The reason that the words of a choice stand for, given what it said.
pub(super) fn read<'a>(words: Words<'_>, called: bool, refused: bool) -> Finish<'a> {
    let native = words.native;
    let detail = |word: Option<&str>| word.map(|word| Cow::Owned(word.to_owned()));
    let plain = |reason| Finish {
        reason,
        // A provider that repeats the API's word says no more than that.
        detail: detail(native.filter(|&native| native != words.finish_reason)),
    };
    match (words.finish_reason, native) {
        (_, Some("refusal")) => Reason::Refusal.into(),
        (_, Some("pause_turn")) => Reason::PauseTurn.into(),
        ("stop", Some("stop_sequence")) => Reason::StopSequence.into(),
        ("stop" | "eos" | "end_turn", _) if words.stop_sequence.is_some() => Finish {
            reason: Reason::StopSequence,
            detail: detail(words.stop_sequence),
        },
        // So do OpenAI when the request demanded the call, and several servers always.
        ("stop" | "eos", _) if called => Reason::ToolCalls.into(),
        ("stop", _) if refused => Reason::Refusal.into(),
        ("stop" | "eos", _) => plain(Reason::Stop),
        ("length" | "model_length", _) => plain(Reason::Length),
        ("tool_calls" | "function_call", _) => Reason::ToolCalls.into(),
        ("content_filter", _) => plain(Reason::ContentFilter),
        (other, _) => Finish {
            reason: Reason::Other,
            detail: detail(Some(other)),
        },
    }
}

/// The words for a reason.
pub(super) fn write<'f>(finish: &'f Finish<'_>, refused: bool) -> Words<'f> {
    let detail = finish.detail.as_deref();
    let words = |finish_reason, native| Words {
        finish_reason,
        native,
        stop_sequence: None,
    };
    match finish.reason {
        Reason::Stop => words("stop", detail),
        Reason::StopSequence => Words {
            finish_reason: "stop",
            native: detail.is_none().then_some("stop_sequence"),
            stop_sequence: detail,
        },
        Reason::Length => words("length", detail),
        Reason::ToolCalls => words("tool_calls", None),
        Reason::ContentFilter => words("content_filter", detail),
        Reason::Refusal if refused => words("stop", None),
        Reason::Refusal => words("content_filter", Some("refusal")),
        Reason::PauseTurn => words("stop", Some("pause_turn")),
        Reason::Other => words(detail.unwrap_or("stop"), None),
    }
}
