use std::borrow::Cow;

use crate::answer::{Finish, Reason};

/// The reason that `stopReason` stands for. The sequence is only told where it was asked for.
pub(super) fn read<'a>(stop_reason: &str, stop_sequence: Option<Cow<'a, str>>) -> Finish<'a> {
    let detail = || Some(Cow::Owned(stop_reason.to_owned()));
    match stop_reason {
        "end_turn" => Reason::Stop.into(),
        "max_tokens" => Reason::Length.into(),
        "tool_use" => Reason::ToolCalls.into(),
        "refusal" => Reason::Refusal.into(),
        "content_filtered" => Reason::ContentFilter.into(),
        "stop_sequence" => Finish {
            reason: Reason::StopSequence,
            detail: stop_sequence,
        },
        "guardrail_intervened" => Finish {
            reason: Reason::ContentFilter,
            detail: detail(),
        },
        "model_context_window_exceeded" => Finish {
            reason: Reason::Length,
            detail: detail(),
        },
        _ => Finish {
            reason: Reason::Other,
            detail: detail(),
        },
    }
}
