use std::borrow::Cow;

use crate::answer::{Finish, Reason};

/// The reason that a response's end stands for: of an incomplete one the word for why, given what a
/// complete one said.
pub(super) fn read(incomplete: Option<&str>, called: bool, refused: bool) -> Finish<'static> {
    match incomplete {
        None if called => Reason::ToolCalls.into(),
        None if refused => Reason::Refusal.into(),
        None => Reason::Stop.into(),
        Some("max_output_tokens") => Reason::Length.into(),
        Some("content_filter") => Reason::ContentFilter.into(),
        Some("pause_turn") => Reason::PauseTurn.into(),
        Some(other) => Finish {
            reason: Reason::Other,
            detail: Some(Cow::Owned(other.to_owned())),
        },
    }
}

/// Why a response is incomplete; `None` for a complete one.
pub(super) fn write<'f>(finish: &'f Finish<'_>, refused: bool) -> Option<&'f str> {
    match finish.reason {
        Reason::Stop | Reason::StopSequence | Reason::ToolCalls => None,
        Reason::Refusal if refused => None,
        Reason::Refusal | Reason::ContentFilter => Some("content_filter"),
        Reason::Length => Some("max_output_tokens"),
        Reason::PauseTurn => Some("pause_turn"),
        Reason::Other => Some(finish.detail.as_deref().unwrap_or("other")),
    }
}
