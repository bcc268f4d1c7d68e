//! The response object, which events have as it is so far.

use serde::Serialize;

use super::item::{Item, ItemOut};
use super::usage::UsageOut;
use crate::dialect::extension::FieldsOut;
use crate::dialect::translate::ReplyHead;
use crate::event::Usage;
use crate::fault::{Fault, FaultKind};

/// How far a response is.
#[derive(Clone, Copy)]
pub(super) enum State<'a> {
    Running,
    Completed,
    /// And why.
    Incomplete(&'a str),
    Failed(&'a Fault),
}

impl State<'_> {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Running => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }
}

/// A response. What it repeats of a request has the defaults.
#[derive(Serialize)]
pub(super) struct ResponseOut<'a> {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: Option<ErrorOut<'a>>,
    incomplete_details: Option<ReasonOut<'a>>,
    instructions: Option<()>,
    metadata: EmptyOut,
    model: &'a str,
    output: Vec<ItemOut<'a>>,
    parallel_tool_calls: bool,
    temperature: Option<f64>,
    tool_choice: &'static str,
    tools: [(); 0],
    top_p: Option<f64>,
    usage: Option<UsageOut>,
    #[serde(skip_serializing_if = "FieldsOut::is_empty")]
    provider_fields: FieldsOut<'a>,
}

#[derive(Serialize)]
struct EmptyOut {}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ReasonOut<'a> {
    reason: &'a str,
}

impl<'a> ResponseOut<'a> {
    pub(super) fn new(
        head: &'a ReplyHead,
        state: State<'a>,
        items: &'a [(String, Item)],
        usage: Option<&Usage>,
        provider_fields: FieldsOut<'a>,
    ) -> Self {
        let error = match state {
            State::Failed(fault) => Some(ErrorOut {
                code: code_of(fault),
                message: &fault.message,
            }),
            _ => None,
        };
        let incomplete_details = match state {
            State::Incomplete(reason) => Some(ReasonOut { reason }),
            _ => None,
        };
        // Items are whole, but for the last of a response that is not.
        let last = items.len().saturating_sub(1);
        let output = items.iter().enumerate().map(|(index, (id, item))| {
            let cut = index == last && matches!(state, State::Incomplete(_) | State::Failed(_));
            item.out(id, if cut { "incomplete" } else { "completed" })
        });
        Self {
            id: id_of(head),
            object: "response",
            created_at: head.created,
            status: state.status(),
            error,
            incomplete_details,
            instructions: None,
            metadata: EmptyOut {},
            model: &head.model,
            output: output.collect(),
            parallel_tool_calls: true,
            temperature: None,
            tool_choice: "auto",
            tools: [],
            top_p: None,
            usage: usage.map(UsageOut::from),
            provider_fields,
        }
    }
}

/// The id under which the gateway has the response.
fn id_of(head: &ReplyHead) -> String {
    format!("resp_{}", head.id)
}

fn code_of(fault: &Fault) -> &str {
    match (fault.kind, fault.code.as_deref()) {
        (FaultKind::RateLimit, _) => "rate_limit_exceeded",
        (_, Some(code)) => code,
        (FaultKind::Invalid | FaultKind::ContentFilter, None) => "invalid_prompt",
        (_, None) => "server_error",
    }
}
