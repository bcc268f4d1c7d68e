use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::out::MessageOut;
use super::write_message::{is_prefilled, messages};
use super::write_thinking::ThinkingOut;
use super::write_tools::{ChoiceOut, ToolOut, tools};
use crate::ask::{Ask, Field, Format};
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
    ask.refuse_if(traits.lacks, "the provider")?;
    if !traits.json_schema && matches!(ask.format, Some(Format::JsonSchema { .. })) {
        let why = "the provider knows no schema for its answers, only `json_object`";
        return Err(ask.refuse(Field::Format, why));
    }
    let (long, short) = if traits.max_tokens {
        (None, ask.max_tokens)
    } else {
        (ask.max_tokens, None)
    };
    let hints = Some(&ask.hints).filter(|_| traits.hints);
    let (seed, random_seed) = if traits.random_seed {
        (None, ask.seed)
    } else {
        (ask.seed, None)
    };
    let (tools, tool_choice) = tools(ask, traits)?;
    // OpenAI refuses it beside no tools.
    let parallel = ask.parallel_tool_calls.filter(|_| !tools.is_empty());
    let parallel = parallel.filter(|_| !traits.lacks.contains(&Field::ParallelToolCalls));
    let prefilled = traits.prefill_mark == Some("continue_final_message") && is_prefilled(ask);
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
        seed,
        random_seed,
        stop: &ask.stop,
        n: ask.choices.filter(|&choices| choices != 1),
        logprobs: ask.logprobs.map(|_| true),
        top_logprobs: ask.logprobs.filter(|&alternatives| alternatives > 0),
        logit_bias: ask.logit_bias.as_ref(),
        tools,
        tool_choice,
        parallel_tool_calls: parallel,
        response_format: ask.format.as_ref().map(format_out),
        thinking: ThinkingOut::new(ask.thinking, traits.thinking),
        verbosity: ask.verbosity.as_deref(),
        service_tier: service_tier(ask),
        safety_identifier: hints.and_then(|hints| hints.user.as_deref()),
        metadata: hints.and_then(|hints| hints.metadata.as_ref()),
        prompt_cache_key: hints.and_then(|hints| hints.cache_key.as_deref()),
        // With the first alone the turn is closed, and another answer begins.
        continue_final_message: prefilled.then_some(true),
        add_generation_prompt: prefilled.then_some(false),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<i64>,
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
    #[serde(flatten)]
    thinking: ThinkingOut,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
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

/// Anthropic's word for the default class has another name here.
fn service_tier<'a>(ask: &'a Ask<'_>) -> Option<&'a str> {
    match ask.service_tier.as_deref() {
        Some("standard_only") => Some("default"),
        tier => tier,
    }
}
