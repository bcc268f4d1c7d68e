use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::super::out::{ContentOut, PartOut};
use super::write_part::Conversation;
use crate::ask::{Ask, Effort, Field, Format, ThinkingMode, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::json_line;
use crate::dialect::translate::Target;
use crate::error::Error;

/// What requests of other APIs may have and this one has not.
const UNKNOWN: [Field; 2] = [Field::LogitBias, Field::Verbosity];
/// The largest budget that every model takes.
const MOST_BUDGET: u64 = 24_576;

/// Writes the body of a request for a provider. Its path says the rest.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    ask.refuse_if(&UNKNOWN, "Gemini's API")?;
    if ask.parallel_tool_calls == Some(false) && !ask.tools.is_empty() {
        let why = "Gemini's models may always call several tools at a time";
        return Err(ask.refuse(Field::ParallelToolCalls, why));
    }
    if ask.seed.is_some_and(|seed| i32::try_from(seed).is_err()) {
        return Err(ask.refuse(Field::Seed, "Gemini's API takes 32 bits"));
    }
    let Conversation { system, contents } = Conversation::new(ask, target)?;
    let declarations: Vec<_> = ask.tools.iter().map(DeclarationOut::from).collect();
    let config = ConfigOut::new(ask, target);
    Ok(json_line(&Body {
        system_instruction: (!system.is_empty()).then_some(SystemOut { parts: system }),
        contents,
        tools: (!declarations.is_empty()).then_some([ToolOut {
            function_declarations: declarations,
        }]),
        tool_config: tool_choice(ask).map(|config| ToolConfigOut {
            function_calling_config: config,
        }),
        generation_config: (config != ConfigOut::default()).then_some(config),
        service_tier: service_tier(ask)?,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<SystemOut<'a>>,
    contents: Vec<ContentOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[ToolOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfigOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<ConfigOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Serialize)]
struct SystemOut<'a> {
    parts: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolOut<'a> {
    function_declarations: Vec<DeclarationOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeclarationOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Json<'a>>,
}

impl<'a> From<&'a Tool<'_>> for DeclarationOut<'a> {
    fn from(tool: &'a Tool<'_>) -> Self {
        Self {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters_json_schema: tool.schema.as_ref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfigOut<'a> {
    function_calling_config: CallingOut<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallingOut<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'a str>,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingOut>,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_thoughts: Option<bool>,
}

impl<'a> ConfigOut<'a> {
    fn new(ask: &'a Ask<'_>, target: &Target<'_>) -> Self {
        let thinking = thinking(ask, target);
        Self {
            max_output_tokens: ask.max_tokens,
            temperature: ask.temperature,
            top_p: ask.top_p,
            top_k: ask.top_k,
            frequency_penalty: ask.frequency_penalty,
            presence_penalty: ask.presence_penalty,
            seed: ask.seed,
            stop_sequences: &ask.stop,
            candidate_count: ask.choices.filter(|&choices| choices != 1),
            response_logprobs: ask.logprobs.map(|_| true),
            logprobs: ask.logprobs.filter(|&alternatives| alternatives > 0),
            response_mime_type: ask.format.as_ref().map(|_| "application/json"),
            response_json_schema: match &ask.format {
                Some(Format::JsonSchema { schema, .. }) => Some(schema),
                _ => None,
            },
            thinking_config: (thinking != ThinkingOut::default()).then_some(thinking),
        }
    }
}

/// Models from Gemini 3 on take an effort, those before a budget; a budget works with both, and not
/// beside an effort.
fn thinking(ask: &Ask<'_>, target: &Target<'_>) -> ThinkingOut {
    let wanted = ask.thinking;
    let (budget, level) = match (wanted.mode, wanted.effort) {
        (Some(ThinkingMode::Off), _) => (Some(0), None),
        (Some(ThinkingMode::Budget(tokens)), _) => (i64::try_from(tokens).ok(), None),
        (_, Some(effort)) if target.traits.gemini_3 => (None, Some(level_of(effort))),
        (_, Some(effort)) => {
            let budget = effort.budget().min(MOST_BUDGET);
            (i64::try_from(budget).ok(), None)
        }
        (Some(ThinkingMode::Adaptive), None) => (Some(-1), None),
        (None, None) => (None, None),
    };
    ThinkingOut {
        thinking_budget: budget,
        thinking_level: level,
        include_thoughts: wanted.shown,
    }
}

const fn level_of(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        // The most that the API has.
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    }
}

fn tool_choice<'a>(ask: &'a Ask<'_>) -> Option<CallingOut<'a>> {
    if ask.tools.is_empty() {
        return None;
    }
    let strict = ask.tools.iter().any(|tool| tool.strict == Some(true));
    let (mode, names) = match &ask.tool_choice {
        None if !strict => return None,
        None | Some(ToolChoice::Auto) if strict => ("VALIDATED", Vec::new()),
        None | Some(ToolChoice::Auto) => ("AUTO", Vec::new()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Required) => ("ANY", Vec::new()),
        Some(ToolChoice::Tool(name)) => ("ANY", vec![&**name]),
        Some(ToolChoice::Allowed { names, required }) => {
            let mode = if *required { "ANY" } else { "VALIDATED" };
            (mode, names.iter().map(|name| &**name).collect())
        }
    };
    Some(CallingOut {
        mode,
        allowed_function_names: names,
    })
}

fn service_tier<'a>(ask: &'a Ask<'_>) -> Result<Option<&'a str>, Error> {
    match ask.service_tier.as_deref() {
        None => Ok(None),
        Some("standard_only") => Ok(Some("standard")),
        Some(tier @ ("flex" | "priority")) => Ok(Some(tier)),
        Some(_) => Err(ask.refuse(Field::ServiceTier, "Gemini's API has other classes")),
    }
}
