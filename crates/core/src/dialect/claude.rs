//! How Claude is asked to think, on every platform that serves it.

use serde::Serialize;

use super::translate::Target;
use crate::ask::{Ask, Effort, Field, ThinkingMode};
use crate::error::Error;

/// The smallest budget for thinking.
const LEAST_BUDGET: u64 = 1_024;

#[derive(Serialize)]
pub(super) struct ThinkingOut {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'static str>,
}

/// `thinking` and the effort. An effort alone lets the model decide when to think; models that know
/// no effort get a budget, below the limit of tokens as it has to be, if there is one.
pub(super) fn thinking(
    ask: &Ask<'_>,
    target: &Target<'_>,
    max_tokens: Option<u64>,
) -> Result<(Option<ThinkingOut>, Option<&'static str>), Error> {
    let adaptive = target.traits.adaptive_thinking;
    let wanted = ask.thinking;
    let mode = match (wanted.mode, wanted.effort) {
        (None, None) if wanted.shown.is_none() => return Ok((None, None)),
        (Some(ThinkingMode::Off), _) => ThinkingMode::Off,
        (Some(ThinkingMode::Budget(tokens)), _) => ThinkingMode::Budget(tokens),
        (Some(ThinkingMode::Adaptive) | None, _) if adaptive => ThinkingMode::Adaptive,
        (Some(ThinkingMode::Adaptive) | None, effort) => {
            if max_tokens.is_some_and(|limit| limit <= LEAST_BUDGET) {
                let why = "the limit of tokens leaves no room to think";
                return Err(ask.refuse(Field::Thinking, why));
            }
            let budget = effort.unwrap_or(Effort::Medium).budget();
            let half = max_tokens.map_or(budget, |limit| limit / 2);
            ThinkingMode::Budget(budget.min(half).max(LEAST_BUDGET))
        }
    };
    let (kind, budget_tokens) = match mode {
        ThinkingMode::Off => ("disabled", None),
        ThinkingMode::Adaptive => ("adaptive", None),
        ThinkingMode::Budget(tokens) => ("enabled", Some(tokens)),
    };
    let display = match wanted.shown {
        _ if mode == ThinkingMode::Off => None,
        Some(true) => Some("summarized"),
        Some(false) => Some("omitted"),
        None => None,
    };
    let effort = wanted
        .effort
        .filter(|_| adaptive)
        .map(|effort| match effort {
            // The least that the API has.
            Effort::Minimal => Effort::Low.as_str(),
            effort => effort.as_str(),
        });
    let thinking = ThinkingOut {
        kind,
        budget_tokens,
        display,
    };
    Ok((Some(thinking), effort))
}
