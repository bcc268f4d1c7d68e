use serde::Serialize;

use crate::ask::{Effort, Thinking, ThinkingMode};
use crate::dialect::traits::ThinkingWords;

/// Whether and how much to think, in the words of the provider. The model decides for itself unless
/// it is told.
#[derive(Default, Serialize)]
pub(super) struct ThinkingOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<SwitchOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_thinking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

#[derive(Serialize)]
struct SwitchOut {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl ThinkingOut {
    pub(super) fn new(thinking: Thinking, words: ThinkingWords) -> Self {
        let switch = |on: Option<bool>| {
            on.map(|on| SwitchOut {
                kind: if on { "enabled" } else { "disabled" },
            })
        };
        let on = is_on(thinking);
        match words {
            ThinkingWords::Effort => Self {
                reasoning_effort: match on {
                    Some(false) => Some("none"),
                    _ => effort(thinking).map(Effort::as_str),
                },
                ..Self::default()
            },
            ThinkingWords::SwitchAndEffort => Self {
                thinking: switch(on),
                reasoning_effort: effort(thinking).map(Effort::as_str),
                ..Self::default()
            },
            ThinkingWords::Switch => Self {
                thinking: switch(on),
                ..Self::default()
            },
            ThinkingWords::Budget => Self {
                enable_thinking: on,
                thinking_budget: match (thinking.mode, thinking.effort) {
                    (Some(ThinkingMode::Off), _) => None,
                    (Some(ThinkingMode::Budget(tokens)), _) => Some(tokens),
                    (_, effort) => effort.map(Effort::budget),
                },
                ..Self::default()
            },
        }
    }
}

/// Whether it is told to think; `None` where nothing says so.
fn is_on(thinking: Thinking) -> Option<bool> {
    match (thinking.mode, thinking.effort) {
        (Some(ThinkingMode::Off), _) => Some(false),
        (None, None) => None,
        _ => Some(true),
    }
}

fn effort(thinking: Thinking) -> Option<Effort> {
    match (thinking.mode, thinking.effort) {
        (Some(ThinkingMode::Off), _) | (Some(ThinkingMode::Adaptive) | None, None) => None,
        (_, Some(effort)) => Some(effort),
        (Some(ThinkingMode::Budget(tokens)), None) => Some(Effort::of_budget(tokens)),
    }
}
