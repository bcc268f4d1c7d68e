use std::borrow::Cow;

use crate::answer::{Finish, Reason};
use crate::dialect::openai::fault_from_event;
use crate::fault::{Fault, FaultKind};

/// What `finish_reason` stands for: an end, or a failure with the words that come with it.
pub(super) fn read(word: &str, error: Option<&str>) -> Result<Finish<'static>, Fault> {
    let reason = match word {
        "COMPLETE" => Reason::Stop,
        "STOP_SEQUENCE" => Reason::StopSequence,
        "MAX_TOKENS" => Reason::Length,
        "TOOL_CALL" => Reason::ToolCalls,
        "TIMEOUT" => return Err(failed(FaultKind::Timeout, word, error)),
        "ERROR" => return Err(failed(FaultKind::Server, word, error)),
        _ => {
            let detail = Some(Cow::Owned(word.to_owned()));
            let reason = match word {
                "ERROR_TOXIC" => Reason::ContentFilter,
                "ERROR_LIMIT" => Reason::Length,
                _ => Reason::Other,
            };
            return Ok(Finish { reason, detail });
        }
    };
    Ok(reason.into())
}

fn failed(kind: FaultKind, word: &str, error: Option<&str>) -> Fault {
    let words = fault_from_event(error.unwrap_or_default().as_bytes());
    Fault {
        kind,
        code: Some(word.to_owned()),
        ..Fault::from(words)
    }
}
