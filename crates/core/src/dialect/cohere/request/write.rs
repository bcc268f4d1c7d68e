use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::write_message::{MessageOut, messages};
use crate::ask::{Ask, Effort, Field, Format, ThinkingMode, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::json_line;
use crate::dialect::translate::Target;
use crate::error::Error;

/// What requests of other APIs may have and this one has not, or gives answers to that no other has.
const UNKNOWN: [Field; 5] = [
    Field::Choices,
    Field::Logprobs,
    Field::LogitBias,
    Field::Verbosity,
    Field::ServiceTier,
];

/// Writes a request for a provider.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    ask.refuse_if(&UNKNOWN, "Cohere's API")?;
    for (field, penalty) in [
        (Field::FrequencyPenalty, ask.frequency_penalty),
        (Field::PresencePenalty, ask.presence_penalty),
    ] {
        if penalty.is_some_and(|penalty| !(0.0..=1.0).contains(&penalty)) {
            return Err(ask.refuse(field, "Cohere's API takes 0 to 1"));
        }
    }
    let (tools, tool_choice) = tools(ask)?;
    Ok(json_line(&Body {
        model: target.model,
        stream: target.stream.then_some(true),
        messages: messages(ask)?,
        strict_tools: tools.iter().any(|tool| tool.strict).then_some(true),
        tools,
        tool_choice,
        max_tokens: ask.max_tokens,
        temperature: ask.temperature,
        p: ask.top_p.map(|p| p.clamp(0.01, 0.99)),
        k: ask.top_k,
        frequency_penalty: ask.frequency_penalty,
        presence_penalty: ask.presence_penalty,
        seed: ask.seed,
        stop_sequences: &ask.stop,
        response_format: ask.format.as_ref().map(FormatOut::from),
        thinking: thinking(ask),
    }))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<FormatOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingOut>,
}

#[derive(Serialize)]
struct ToolOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionOut<'a>,
    #[serde(skip)]
    strict: bool,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Json<'a>,
}

#[derive(Serialize)]
struct FormatOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a Json<'a>>,
}

#[derive(Serialize)]
struct ThinkingOut {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_budget: Option<u64>,
}

impl<'a> From<&'a Format<'_>> for FormatOut<'a> {
    fn from(format: &'a Format<'_>) -> Self {
        Self {
            kind: "json_object",
            json_schema: match format {
                Format::JsonObject => None,
                Format::JsonSchema { schema, .. } => Some(schema),
            },
        }
    }
}

impl<'a> From<&'a Tool<'_>> for ToolOut<'a> {
    fn from(tool: &'a Tool<'_>) -> Self {
        Self {
            kind: "function",
            function: FunctionOut {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: match &tool.schema {
                    Some(schema) => schema.clone(),
                    None => Json::empty_schema(),
                },
            },
            strict: tool.strict == Some(true),
        }
    }
}

/// The tools that the model is told of, and whether it has to call any. It cannot be told which.
fn tools<'a>(ask: &'a Ask<'_>) -> Result<(Vec<ToolOut<'a>>, Option<&'static str>), Error> {
    if ask.tools.is_empty() {
        return Ok((Vec::new(), None));
    }
    if ask.parallel_tool_calls == Some(false) {
        let why = "Cohere's API cannot keep a model to one call at a time";
        return Err(ask.refuse(Field::ParallelToolCalls, why));
    }
    let all = || ask.tools.iter().map(ToolOut::from).collect();
    let only = |names: &[Cow<'_, str>]| {
        let tools = ask.tools.iter().filter(|tool| names.contains(&tool.name));
        tools.map(ToolOut::from).collect::<Vec<_>>()
    };
    let (tools, choice) = match &ask.tool_choice {
        None | Some(ToolChoice::Auto) => return Ok((all(), None)),
        Some(ToolChoice::None) => return Ok((all(), Some("NONE"))),
        Some(ToolChoice::Required) => return Ok((all(), Some("REQUIRED"))),
        Some(ToolChoice::Tool(name)) => (only(std::slice::from_ref(name)), Some("REQUIRED")),
        Some(ToolChoice::Allowed { names, required }) => {
            (only(names), required.then_some("REQUIRED"))
        }
    };
    if tools.is_empty() {
        return Err(ask.refuse(Field::ToolChoice, "it names none of the tools"));
    }
    Ok((tools, choice))
}

fn thinking(ask: &Ask<'_>) -> Option<ThinkingOut> {
    let (kind, token_budget) = match (ask.thinking.mode, ask.thinking.effort) {
        (Some(ThinkingMode::Off), _) => ("disabled", None),
        (Some(ThinkingMode::Budget(tokens)), _) => ("enabled", Some(tokens)),
        (_, Some(effort)) => ("enabled", Some(Effort::budget(effort))),
        (Some(ThinkingMode::Adaptive), None) => ("enabled", None),
        (None, None) => return None,
    };
    Some(ThinkingOut { kind, token_budget })
}
