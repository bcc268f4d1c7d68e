use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::write_message::{CacheOut, MessageOut, messages};
use crate::ask::{Ask, Effort, Field, Format, Thinking, ThinkingMode, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::json_line;
use crate::dialect::translate::Target;
use crate::error::Error;

/// Writes a request for a provider.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    let traits = target.traits;
    if !traits.top_k {
        ask.refuse_if(&[Field::TopK], "the provider")?;
    }
    let (long, short) = if traits.max_tokens {
        (None, ask.max_tokens)
    } else {
        (ask.max_tokens, None)
    };
    let hints = Some(&ask.hints).filter(|_| traits.hints);
    let has_tools = !ask.tools.is_empty();
    let tools = ask.tools.iter().map(|tool| tool_out(tool, target));
    Ok(json_line(&Body {
        model: target.model,
        messages: messages(ask, target)?,
        stream: target.stream.then_some(true),
        stream_options: (target.stream && traits.usage_in_streams).then_some(StreamOptions {
            include_usage: true,
        }),
        max_completion_tokens: long,
        max_tokens: short,
        temperature: ask.temperature,
        top_p: ask.top_p,
        top_k: ask.top_k,
        frequency_penalty: ask.frequency_penalty,
        presence_penalty: ask.presence_penalty,
        seed: ask.seed,
        stop: &ask.stop,
        n: ask.choices.filter(|&choices| choices != 1),
        logprobs: ask.logprobs.map(|_| true),
        top_logprobs: ask.logprobs.filter(|&alternatives| alternatives > 0),
        logit_bias: ask.logit_bias.as_ref(),
        tools: tools.collect(),
        tool_choice: ask.tool_choice.as_ref().map(choice_out),
        // OpenAI refuses it beside no tools.
        parallel_tool_calls: ask.parallel_tool_calls.filter(|_| has_tools),
        response_format: ask.format.as_ref().map(format_out),
        reasoning_effort: effort(ask.thinking),
        verbosity: ask.verbosity.as_deref(),
        service_tier: service_tier(ask),
        safety_identifier: hints.and_then(|hints| hints.user.as_deref()),
        metadata: hints.and_then(|hints| hints.metadata.as_ref()),
        prompt_cache_key: hints.and_then(|hints| hints.cache_key.as_deref()),
    }))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
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
    stop: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit_bias: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<FormatOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
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
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ToolOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheOut<'a>>,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ChoiceOut<'a> {
    Mode(&'static str),
    Tool(NamedOut<'a>),
    Allowed {
        #[serde(rename = "type")]
        kind: &'static str,
        allowed_tools: AllowedOut<'a>,
    },
}

#[derive(Serialize)]
struct NamedOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: NameOut<'a>,
}

#[derive(Serialize)]
struct NameOut<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct AllowedOut<'a> {
    mode: &'static str,
    tools: Vec<NamedOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FormatOut<'a> {
    JsonObject,
    JsonSchema { json_schema: SchemaOut<'a> },
}

#[derive(Serialize)]
struct SchemaOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

fn tool_out<'a>(tool: &'a Tool<'_>, target: &Target<'_>) -> ToolOut<'a> {
    let cache = tool.cache.as_ref();
    ToolOut {
        kind: "function",
        function: FunctionOut {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.schema.as_ref(),
            strict: tool.strict,
        },
        cache_control: cache
            .filter(|_| target.traits.cache_control)
            .map(CacheOut::from),
    }
}

fn choice_out<'a>(choice: &'a ToolChoice<'_>) -> ChoiceOut<'a> {
    let named = |name| NamedOut {
        kind: "function",
        function: NameOut { name },
    };
    match choice {
        ToolChoice::Auto => ChoiceOut::Mode("auto"),
        ToolChoice::None => ChoiceOut::Mode("none"),
        ToolChoice::Required => ChoiceOut::Mode("required"),
        ToolChoice::Tool(name) => ChoiceOut::Tool(named(name)),
        ToolChoice::Allowed { names, required } => ChoiceOut::Allowed {
            kind: "allowed_tools",
            allowed_tools: AllowedOut {
                mode: if *required { "required" } else { "auto" },
                tools: names.iter().map(|name| named(name)).collect(),
            },
        },
    }
}

fn format_out<'a>(format: &'a Format<'_>) -> FormatOut<'a> {
    match format {
        Format::JsonObject => FormatOut::JsonObject,
        Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => FormatOut::JsonSchema {
            json_schema: SchemaOut {
                // The API has to have one, others have none.
                name: name.as_deref().unwrap_or("answer"),
                description: description.as_deref(),
                schema,
                strict: *strict,
            },
        },
    }
}

/// The model decides for itself unless it is told an effort.
fn effort(thinking: Thinking) -> Option<&'static str> {
    match (thinking.mode, thinking.effort) {
        (Some(ThinkingMode::Off), _) => Some("none"),
        (_, Some(effort)) => Some(effort.as_str()),
        (Some(ThinkingMode::Budget(tokens)), None) => Some(Effort::of_budget(tokens).as_str()),
        (Some(ThinkingMode::Adaptive) | None, None) => None,
    }
}

/// Anthropic's word for the default class has another name here.
fn service_tier<'a>(ask: &'a Ask<'_>) -> Option<&'a str> {
    match ask.service_tier.as_deref() {
        Some("standard_only") => Some("default"),
        tier => tier,
    }
}
