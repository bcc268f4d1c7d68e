use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::write_message::{BlockOut, CachePointOut, Conversation, MessageOut};
use crate::ask::{Ask, Effort, Field, Format, ThinkingMode, Tool, ToolChoice};
use crate::content::{Content, Json};
use crate::dialect::bedrock::Family;
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
/// Asks for the sequence at which an answer ended.
const STOP_SEQUENCE: &[&str] = &["/stop_sequence"];

/// Writes a request for a provider. The model, and whether the answer is streamed, are in the URL.
pub(in crate::dialect) fn write_request(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    ask.refuse_if(&UNKNOWN, "Bedrock's API")?;
    if ask.temperature.is_some_and(|temperature| temperature > 1.0) {
        return Err(ask.refuse(Field::Temperature, "Bedrock's API takes 0 to 1"));
    }
    let family = target.traits.bedrock_family;
    let Conversation {
        system, messages, ..
    } = Conversation::new(ask, family)?;
    let (more, effort) = additional(ask, target)?;
    let output = OutputOut {
        text_format: format(ask)?,
        effort,
    };
    let inference = InferenceOut {
        max_tokens: ask.max_tokens,
        temperature: ask.temperature,
        top_p: ask.top_p,
        stop_sequences: &ask.stop,
    };
    let tells_sequence = family == Family::Claude && !ask.stop.is_empty();
    Ok(json_line(&Body {
        messages,
        system,
        inference_config: (inference != InferenceOut::default()).then_some(inference),
        tool_config: tools(ask, family)?,
        additional_model_request_fields: more,
        additional_model_response_field_paths: tells_sequence.then_some(STOP_SEQUENCE),
        output_config: (output.effort.is_some() || output.text_format.is_some()).then_some(output),
        service_tier: service_tier(ask)?,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<BlockOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_config: Option<InferenceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolsOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_request_fields: Option<MoreOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_response_field_paths: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<TierOut<'a>>,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct InferenceOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Cow<'a, str>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolsOut<'a> {
    tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ToolOut<'a> {
    ToolSpec {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        input_schema: SchemaOut<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    CachePoint(CachePointOut<'a>),
}

#[derive(Serialize)]
struct SchemaOut<'a> {
    json: Json<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ChoiceOut<'a> {
    Auto {},
    Any {},
    Tool { name: &'a str },
}

/// What single models take beside what all do, under their own names.
#[derive(Default, Serialize)]
struct MoreOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(rename = "inferenceConfig", skip_serializing_if = "Option::is_none")]
    nova: Option<NovaOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NovaOut {
    top_k: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text_format: Option<FormatOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
}

#[derive(Serialize)]
struct FormatOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    structure: StructureOut<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StructureOut<'a> {
    json_schema: JsonSchemaOut<'a>,
}

#[derive(Serialize)]
struct JsonSchemaOut<'a> {
    /// As a text.
    schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

#[derive(Serialize)]
struct TierOut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

fn tools<'a>(ask: &'a Ask<'_>, family: Family) -> Result<Option<ToolsOut<'a>>, Error> {
    if ask.tools.is_empty() {
        return Ok(None);
    }
    if ask.parallel_tool_calls == Some(false) {
        let why = "Bedrock's API cannot keep a model to one call at a time";
        return Err(ask.refuse(Field::ParallelToolCalls, why));
    }
    let tool_choice = match &ask.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(ChoiceOut::Auto {}),
        Some(ToolChoice::Required) => Some(ChoiceOut::Any {}),
        Some(ToolChoice::Tool(name)) => Some(ChoiceOut::Tool { name }),
        Some(ToolChoice::None) if !has_calls(ask) => return Ok(None),
        Some(ToolChoice::None) => {
            let why = "Bedrock's API has to be told of the tools of earlier calls, and cannot \
                       forbid more of them";
            return Err(ask.refuse(Field::ToolChoice, why));
        }
        Some(ToolChoice::Allowed { .. }) => {
            let why = "Bedrock's API has no list of allowed tools";
            return Err(ask.refuse(Field::ToolChoice, why));
        }
    };
    let tools = ask.tools.iter().flat_map(|tool| {
        let point = CachePointOut::of(tool.cache.as_ref(), family);
        [Some(tool_of(tool)), point.map(ToolOut::CachePoint)]
    });
    Ok(Some(ToolsOut {
        tools: tools.flatten().collect(),
        tool_choice,
    }))
}

fn has_calls(ask: &Ask<'_>) -> bool {
    let mut parts = ask.messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part.content, Content::ToolCall(_) | Content::ToolResult(_)))
}

fn tool_of<'a>(tool: &'a Tool<'_>) -> ToolOut<'a> {
    let description = tool.description.as_deref();
    let json = tool.schema.clone();
    ToolOut::ToolSpec {
        name: &tool.name,
        description: description.filter(|text| !text.is_empty()),
        input_schema: SchemaOut {
            json: json.unwrap_or_else(Json::empty_schema),
        },
        // It is the default, and not every model knows the field.
        strict: tool.strict.filter(|&strict| strict),
    }
}

/// What has no place of its own here, under the name that the model has for it; and the effort.
fn additional(
    ask: &Ask<'_>,
    target: &Target<'_>,
) -> Result<(Option<MoreOut>, Option<&'static str>), Error> {
    let mut more = MoreOut::default();
    let mut effort = None;
    match target.traits.bedrock_family {
        Family::Claude => {
            more.top_k = ask.top_k;
            (more.thinking, effort) = thinking(ask, target, ask.max_tokens)?;
        }
        Family::Nova => {
            more.nova = ask.top_k.map(|top_k| NovaOut { top_k });
            ask.refuse_if(&[Field::Thinking], "this model")?;
        }
        Family::GptOss => {
            ask.refuse_if(&[Field::TopK], "this model")?;
            more.reasoning_effort = open_effort(ask)?;
        }
        Family::Other => ask.refuse_if(&[Field::TopK, Field::Thinking], "this model")?,
    }
    let any = more.top_k.is_some()
        || more.thinking.is_some()
        || more.reasoning_effort.is_some()
        || more.nova.is_some();
    Ok((any.then_some(more), effort))
}

/// The effort of OpenAI's open models, which know three and always think.
fn open_effort(ask: &Ask<'_>) -> Result<Option<&'static str>, Error> {
    let effort = match (ask.thinking.mode, ask.thinking.effort) {
        (Some(ThinkingMode::Off), _) => {
            return Err(ask.refuse(Field::Thinking, "this model always thinks"));
        }
        (_, Some(effort)) => effort,
        (Some(ThinkingMode::Budget(tokens)), None) => Effort::of_budget(tokens),
        (Some(ThinkingMode::Adaptive) | None, None) => return Ok(None),
    };
    Ok(Some(effort.clamp(Effort::Low, Effort::High).as_str()))
}

fn format<'a>(ask: &'a Ask<'_>) -> Result<Option<FormatOut<'a>>, Error> {
    match &ask.format {
        None => Ok(None),
        Some(Format::JsonSchema {
            name,
            description,
            schema,
            ..
        }) => Ok(Some(FormatOut {
            kind: "json_schema",
            structure: StructureOut {
                json_schema: JsonSchemaOut {
                    schema: schema.as_str(),
                    name: name.as_deref(),
                    description: description.as_deref(),
                },
            },
        })),
        Some(Format::JsonObject) => {
            let why = "Bedrock's API has JSON only by a schema";
            Err(ask.refuse(Field::Format, why))
        }
    }
}

fn service_tier<'a>(ask: &'a Ask<'_>) -> Result<Option<TierOut<'a>>, Error> {
    match ask.service_tier.as_deref() {
        None => Ok(None),
        Some(kind @ ("default" | "flex" | "priority")) => Ok(Some(TierOut { kind })),
        Some(_) => Err(ask.refuse(Field::ServiceTier, "Bedrock's API has other classes")),
    }
}
