use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::write_message::{BlockOut, CacheOut, Conversation, MessageOut};
use crate::ask::{Ask, Field, Format, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::claude::{ThinkingOut, thinking};
use crate::dialect::json_line;
use crate::dialect::translate::Target;
use crate::error::Error;

/// What requests of other APIs may have and this one has not.
const UNKNOWN: [Field; 7] = [
    Field::FrequencyPenalty,
    Field::PresencePenalty,
    Field::Seed,
    Field::Choices,
    Field::Logprobs,
    Field::LogitBias,
    Field::Verbosity,
];

/// Writes a request for a provider.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    ask.refuse_if(&UNKNOWN, "Anthropic's API")?;
    if ask.temperature.is_some_and(|temperature| temperature > 1.0) {
        return Err(ask.refuse(Field::Temperature, "Anthropic's API takes 0 to 1"));
    }
    let Conversation { system, messages } = Conversation::new(ask)?;
    let max_tokens = ask.max_tokens.unwrap_or(target.traits.default_max_tokens);
    let (thinking, effort) = thinking(ask, target, Some(max_tokens))?;
    let format = format(ask)?;
    let output = OutputOut { effort, format };
    Ok(json_line(&Body {
        model: target.model,
        max_tokens,
        stream: target.stream.then_some(true),
        system,
        messages,
        temperature: ask.temperature,
        top_p: ask.top_p,
        top_k: ask.top_k,
        stop_sequences: &ask.stop,
        tools: ask.tools.iter().map(ToolOut::from).collect(),
        tool_choice: tool_choice(ask)?,
        thinking,
        output_config: (output.effort.is_some() || output.format.is_some()).then_some(output),
        metadata: ask
            .hints
            .user
            .as_deref()
            .map(|user_id| Metadata { user_id }),
        service_tier: service_tier(ask)?,
    }))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<BlockOut<'a>>,
    messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Serialize)]
struct ToolOut<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheOut<'a>>,
}

impl<'a> From<&'a Tool<'_>> for ToolOut<'a> {
    fn from(tool: &'a Tool<'_>) -> Self {
        Self {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema: match &tool.schema {
                Some(schema) => schema.clone(),
                None => Json::empty_schema(),
            },
            // It is the default, and not every model knows the field.
            strict: tool.strict.filter(|&strict| strict),
            cache_control: tool.cache.as_ref().map(CacheOut::from),
        }
    }
}

#[derive(Serialize)]
struct ChoiceOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct OutputOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FormatOut<'a>>,
}

#[derive(Serialize)]
struct FormatOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a Json<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

fn tool_choice<'a>(ask: &'a Ask<'_>) -> Result<Option<ChoiceOut<'a>>, Error> {
    if ask.tools.is_empty() {
        return Ok(None);
    }
    let single = (ask.parallel_tool_calls == Some(false)).then_some(true);
    let (kind, name) = match &ask.tool_choice {
        None if single.is_none() => return Ok(None),
        None | Some(ToolChoice::Auto) => ("auto", None),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Required) => ("any", None),
        Some(ToolChoice::Tool(name)) => ("tool", Some(&**name)),
        Some(ToolChoice::Allowed { .. }) => {
            let why = "Anthropic's API has no list of allowed tools";
            return Err(ask.refuse(Field::ToolChoice, why));
        }
    };
    Ok(Some(ChoiceOut {
        kind,
        name,
        disable_parallel_tool_use: single.filter(|_| kind != "none"),
    }))
}

fn format<'a>(ask: &'a Ask<'_>) -> Result<Option<FormatOut<'a>>, Error> {
    match &ask.format {
        None => Ok(None),
        Some(Format::JsonSchema { schema, .. }) => Ok(Some(FormatOut {
            kind: "json_schema",
            schema,
        })),
        Some(Format::JsonObject) => {
            let why = "Anthropic's API has JSON only by a schema";
            Err(ask.refuse(Field::Format, why))
        }
    }
}

fn service_tier<'a>(ask: &'a Ask<'_>) -> Result<Option<&'a str>, Error> {
    match ask.service_tier.as_deref() {
        None => Ok(None),
        Some(_) => Err(ask.refuse(Field::ServiceTier, "Anthropic's API has other classes")),
    }
}
