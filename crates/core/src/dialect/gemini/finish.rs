use std::borrow::Cow;

use crate::answer::{Finish, Reason};

/// Words for what a filter stopped, but for the plain `SAFETY`.
const FILTERS: [&str; 7] = [
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
];
/// Words that say more than any reason does.
const OTHERS: [&str; 9] = [
    "LANGUAGE",
    "OTHER",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "NO_IMAGE",
    "IMAGE_OTHER",
];

/// The reason that `finishReason` stands for, given whether the candidate called tools. `None` if it
/// stands for none.
pub(super) fn read(word: &str, called: bool) -> Option<Finish<'static>> {
    let detail = || Some(Cow::Owned(word.to_owned()));
    Some(match word {
        "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" if called => Reason::ToolCalls.into(),
        "STOP" => Reason::Stop.into(),
        "MAX_TOKENS" => Reason::Length.into(),
        "SAFETY" => Reason::ContentFilter.into(),
        filter if FILTERS.contains(&filter) => Finish {
            reason: Reason::ContentFilter,
            detail: detail(),
        },
        _ => Finish {
            reason: Reason::Other,
            detail: detail(),
        },
    })
}

/// The reason that a prompt's `blockReason` stands for. `None` if it stands for none.
pub(super) fn blocked(word: &str) -> Option<Finish<'static>> {
    let detail = match word {
        "BLOCK_REASON_UNSPECIFIED" | "BLOCKED_REASON_UNSPECIFIED" => return None,
        "SAFETY" => None,
        word => Some(Cow::Owned(word.to_owned())),
    };
    Some(Finish {
        reason: Reason::ContentFilter,
        detail,
    })
}

/// `finishReason`, and for other APIs' words the `finishMessage` that tells them.
pub(super) fn write<'f>(finish: &'f Finish<'_>, refused: bool) -> (&'static str, Option<&'f str>) {
    let detail = finish.detail.as_deref();
    let known = |words: &[&'static str]| {
        let word = words.iter().find(|word| Some(**word) == detail);
        word.copied()
    };
    match finish.reason {
        Reason::Stop | Reason::StopSequence | Reason::ToolCalls => ("STOP", None),
        Reason::Refusal if refused => ("STOP", None),
        Reason::Length => ("MAX_TOKENS", None),
        Reason::ContentFilter => (known(&FILTERS).unwrap_or("SAFETY"), None),
        Reason::Refusal => ("SAFETY", None),
        Reason::PauseTurn => ("OTHER", Some("pause_turn")),
        Reason::Other => match known(&OTHERS) {
            Some(word) => (word, None),
            None => ("OTHER", detail),
        },
    }
}
