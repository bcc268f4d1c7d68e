use bytes::Bytes;
use serde::Serialize;

use super::write_item::{InputOut, input};
use crate::ask::{Ask, Effort, Field, Format, Thinking, ThinkingMode, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::json_line;
use crate::dialect::translate::Target;
use crate::error::Error;

/// What requests of other APIs may have and this one has not.
const UNKNOWN: [Field; 7] = [
    Field::TopK,
    Field::FrequencyPenalty,
    Field::PresencePenalty,
    Field::Seed,
    Field::Stop,
    Field::Choices,
    Field::LogitBias,
];
/// Without it the API keeps the seals of reasoning to itself.
const SEALS: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// Writes a request for a provider.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    ask.refuse_if(&UNKNOWN, "the Responses API")?;
    let hints = Some(&ask.hints).filter(|_| target.traits.hints);
    let seals = target.traits.sealed_reasoning.then_some(SEALS);
    let logprobs = ask.logprobs.map(|_| LOGPROBS);
    let text = TextOut {
        format: ask.format.as_ref().map(FormatOut::from),
        verbosity: ask.verbosity.as_deref(),
    };
    let has_tools = !ask.tools.is_empty();
    Ok(json_line(&Body {
        model: target.model,
        input: input(ask)?,
        stream: target.stream.then_some(true),
        // The gateway keeps every answer itself.
        store: false,
        include: seals.into_iter().chain(logprobs).collect(),
        max_output_tokens: ask.max_tokens,
        temperature: ask.temperature,
        top_p: ask.top_p,
        top_logprobs: ask.logprobs.filter(|&alternatives| alternatives > 0),
        tools: ask.tools.iter().map(ToolOut::from).collect(),
        tool_choice: ask.tool_choice.as_ref().map(ChoiceOut::from),
        parallel_tool_calls: ask.parallel_tool_calls.filter(|_| has_tools),
        text: (text.format.is_some() || text.verbosity.is_some()).then_some(text),
        reasoning: reasoning(ask.thinking),
        service_tier: match ask.service_tier.as_deref() {
            Some("standard_only") => Some("default"),
            tier => tier,
        },
        safety_identifier: hints.and_then(|hints| hints.user.as_deref()),
        metadata: hints.and_then(|hints| hints.metadata.as_ref()),
        prompt_cache_key: hints.and_then(|hints| hints.cache_key.as_deref()),
    }))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Vec<InputOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    store: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
}

#[derive(Serialize)]
struct ToolOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Json<'a>,
    /// The API's default is true, everybody else's is false.
    strict: bool,
}

impl<'a> From<&'a Tool<'_>> for ToolOut<'a> {
    fn from(tool: &'a Tool<'_>) -> Self {
        Self {
            kind: "function",
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.schema.clone().unwrap_or_else(Json::empty_schema),
            strict: tool.strict.unwrap_or(false),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum ChoiceOut<'a> {
    Mode(&'static str),
    Tool(NamedOut<'a>),
    Allowed {
        #[serde(rename = "type")]
        kind: &'static str,
        mode: &'static str,
        tools: Vec<NamedOut<'a>>,
    },
}

#[derive(Serialize)]
struct NamedOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
}

impl<'a> From<&'a ToolChoice<'_>> for ChoiceOut<'a> {
    fn from(choice: &'a ToolChoice<'_>) -> Self {
        let named = |name| NamedOut {
            kind: "function",
            name,
        };
        match choice {
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Tool(name) => Self::Tool(named(name)),
            ToolChoice::Allowed { names, required } => Self::Allowed {
                kind: "allowed_tools",
                mode: if *required { "required" } else { "auto" },
                tools: names.iter().map(|name| named(name)).collect(),
            },
        }
    }
}

#[derive(Serialize)]
struct TextOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FormatOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FormatOut<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a Json<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

impl<'a> From<&'a Format<'_>> for FormatOut<'a> {
    fn from(format: &'a Format<'_>) -> Self {
        match format {
            Format::JsonObject => Self::JsonObject,
            Format::JsonSchema {
                name,
                description,
                schema,
                strict,
            } => Self::JsonSchema {
                // The API has to have one, others have none.
                name: name.as_deref().unwrap_or("answer"),
                description: description.as_deref(),
                schema,
                strict: *strict,
            },
        }
    }
}

#[derive(Serialize)]
struct ReasoningOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

/// The model decides for itself unless it is told an effort.
fn reasoning(thinking: Thinking) -> Option<ReasoningOut> {
    let effort = match (thinking.mode, thinking.effort) {
        (Some(ThinkingMode::Off), _) => Some("none"),
        (_, Some(effort)) => Some(effort.as_str()),
        (Some(ThinkingMode::Budget(tokens)), None) => Some(Effort::of_budget(tokens).as_str()),
        (Some(ThinkingMode::Adaptive) | None, None) => None,
    };
    let summary = (thinking.shown == Some(true)).then_some("auto");
    (effort.is_some() || summary.is_some()).then_some(ReasoningOut { effort, summary })
}
