//! The response object, which events have as it is so far.

use serde::Serialize;
use serde_json::value::RawValue;

use super::echo::Echo;
use super::item::{Item, ItemOut};
use super::usage::UsageOut;
use crate::content::Json;
use crate::dialect::extension::FieldsOut;
use crate::dialect::translate::ReplyHead;
use crate::event::Usage;
use crate::fault::{Fault, FaultKind};

/// How far a response is.
#[derive(Clone, Copy)]
pub(super) enum State<'a> {
    Queued,
    Running,
    Completed,
    /// And why.
    Incomplete(&'a str),
    Failed(&'a Fault),
}

impl State<'_> {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(Fault {
                kind: FaultKind::Cancelled,
                ..
            }) => "cancelled",
            Self::Failed(_) => "failed",
        }
    }
}

/// A response. What it repeats of a request that said nothing of it has the default.
#[derive(Serialize)]
pub(super) struct ResponseOut<'a> {
    id: String,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<&'a RawValue>,
    error: Option<ErrorOut<'a>>,
    incomplete_details: Option<ReasonOut<'a>>,
    instructions: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tool_calls: Option<&'a RawValue>,
    metadata: Repeated<'a, EmptyOut>,
    model: &'a str,
    output: OutputOut<'a>,
    parallel_tool_calls: Repeated<'a, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_response_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_retention: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_identifier: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a RawValue>,
    temperature: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a RawValue>,
    tool_choice: Repeated<'a, &'static str>,
    tools: Repeated<'a, [(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<&'a RawValue>,
    top_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncation: Option<&'a RawValue>,
    usage: Option<UsageOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "FieldsOut::is_empty")]
    provider_fields: FieldsOut<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Repeated<'a, T> {
    Said(&'a RawValue),
    Default(T),
}

impl<'a, T> Repeated<'a, T> {
    fn or(said: Option<&'a RawValue>, default: T) -> Self {
        said.map_or(Self::Default(default), Self::Said)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutputOut<'a> {
    Items(Vec<ItemOut<'a>>),
    Written(&'a Json<'static>),
}

#[derive(Serialize)]
struct EmptyOut {}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
}

#[derive(Serialize)]
struct ReasonOut<'a> {
    reason: &'a str,
}

impl<'a> ResponseOut<'a> {
    pub(super) fn new(
        head: &'a ReplyHead,
        state: State<'a>,
        output: OutputOut<'a>,
        usage: Option<&Usage>,
        provider_fields: FieldsOut<'a>,
    ) -> Self {
        let error = match state {
            State::Failed(fault) => Some(ErrorOut {
                code: code_of(fault),
                message: &fault.message,
                param: fault.param.as_deref(),
            }),
            _ => None,
        };
        let incomplete_details = match state {
            State::Incomplete(reason) => Some(ReasonOut { reason }),
            _ => None,
        };
        let echo = Echo::read(&head.echo);
        Self {
            id: id_of(&head.id),
            object: "response",
            created_at: head.created,
            status: state.status(),
            background: echo.background,
            error,
            incomplete_details,
            instructions: echo.instructions,
            max_output_tokens: echo.max_output_tokens,
            max_tool_calls: echo.max_tool_calls,
            metadata: Repeated::or(echo.metadata, EmptyOut {}),
            model: &head.model,
            output,
            parallel_tool_calls: Repeated::or(echo.parallel_tool_calls, true),
            previous_response_id: echo.previous_response_id,
            prompt_cache_key: echo.prompt_cache_key,
            prompt_cache_retention: echo.prompt_cache_retention,
            reasoning: echo.reasoning,
            safety_identifier: echo.safety_identifier,
            service_tier: echo.service_tier,
            store: echo.store,
            temperature: echo.temperature,
            text: echo.text,
            tool_choice: Repeated::or(echo.tool_choice, "auto"),
            tools: Repeated::or(echo.tools, []),
            top_logprobs: echo.top_logprobs,
            top_p: echo.top_p,
            truncation: echo.truncation,
            usage: usage.map(UsageOut::from),
            user: echo.user,
            provider_fields,
        }
    }
}

/// The items of a response that is in this state.
pub(super) fn output<'a>(items: &'a [(String, Item)], state: State<'_>) -> OutputOut<'a> {
    // Items are whole, but for the last of a response that is not.
    let last = items.len().saturating_sub(1);
    let items = items.iter().enumerate().map(|(index, (id, item))| {
        let cut = index == last && matches!(state, State::Incomplete(_) | State::Failed(_));
        item.out(id, if cut { "incomplete" } else { "completed" })
    });
    OutputOut::Items(items.collect())
}

/// The id under which the gateway has the response of a stream.
pub(super) fn id_of(stream: &str) -> String {
    format!("resp_{stream}")
}

fn code_of(fault: &Fault) -> &str {
    match (fault.kind, fault.code.as_deref()) {
        (FaultKind::RateLimit, _) => "rate_limit_exceeded",
        (_, Some(code)) => code,
        (FaultKind::Invalid | FaultKind::ContentFilter, None) => "invalid_prompt",
        (_, None) => "server_error",
    }
}
