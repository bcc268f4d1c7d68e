use std::borrow::Cow;

use crate::answer::{Finish, Reason};

/// The reason that `stop_reason` and `stop_sequence` stand for.
pub(super) fn read<'a>(stop_reason: &str, stop_sequence: Option<Cow<'a, str>>) -> Finish<'a> {
    match stop_reason {
        "end_turn" => Reason::Stop.into(),
        "max_tokens" => Reason::Length.into(),
        "tool_use" => Reason::ToolCalls.into(),
        "refusal" => Reason::Refusal.into(),
        "pause_turn" => Reason::PauseTurn.into(),
        "stop_sequence" => Finish {
            reason: Reason::StopSequence,
            detail: stop_sequence,
        },
        "model_context_window_exceeded" => Finish {
            reason: Reason::Length,
            detail: Some(Cow::Borrowed("model_context_window_exceeded")),
        },
        other => Finish {
            reason: Reason::Other,
            detail: Some(Cow::Owned(other.to_owned())),
        },
    }
}

/// `stop_reason` and `stop_sequence`. What a filter stopped is a refusal here.
pub(super) fn write<'f>(finish: &'f Finish<'_>, refused: bool) -> (&'f str, Option<&'f str>) {
    let detail = finish.detail.as_deref();
    match finish.reason {
        Reason::Stop if refused => ("refusal", None),
        Reason::Stop => ("end_turn", None),
        Reason::StopSequence => ("stop_sequence", detail),
        Reason::Length if detail == Some("model_context_window_exceeded") => {
            ("model_context_window_exceeded", None)
        }
        Reason::Length => ("max_tokens", None),
        Reason::ToolCalls => ("tool_use", None),
        Reason::ContentFilter | Reason::Refusal => ("refusal", None),
        Reason::PauseTurn => ("pause_turn", None),
        Reason::Other => (detail.unwrap_or("end_turn"), None),
    }
}
