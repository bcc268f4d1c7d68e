use std::borrow::Cow;

use super::super::schema::{Converted, to_json_schema};
use super::read_part::{Calls, message, system};
use crate::ask::{Ask, Effort, Format, Thinking, ThinkingMode, Tool, ToolChoice};
use crate::content::Json;
use crate::dialect::read::{Fields, Node};
use crate::dialect::translate::ClientDialect;
use crate::dialect::wire::Figure;
use crate::error::Error;

/// Reads the body of a client's request.
pub(in crate::dialect) fn read_request(body: &[u8]) -> Result<Ask<'_>, Error> {
    let root = Node::root(body)?;
    let mut fields = root.camel_fields()?;
    let mut ask = Ask::new(ClientDialect::Gemini);
    ask.show_usage = true;
    // It repeats what the path says.
    ask.model = match fields.read("model", Node::str)? {
        Some(Cow::Borrowed(name)) => Cow::Borrowed(name.strip_prefix("models/").unwrap_or(name)),
        Some(name) => name,
        None => Cow::Borrowed(""),
    };
    if let Some(node) = fields.take("systemInstruction") {
        ask.system = system(&node)?;
    }
    let mut calls = Calls::default();
    fields.need("contents")?.each(|_, node| {
        ask.messages.push(message(&node, &mut calls)?);
        Ok(())
    })?;
    tools(&mut ask, &mut fields)?;
    if let Some(node) = fields.take("generationConfig") {
        config(&mut ask, &node)?;
    }
    if let Some(node) = fields.take("safetySettings") {
        node.each(|_, node| safety(&node))?;
    }
    if let Some(node) = fields.take("cachedContent") {
        return Err(node.refuse("only this API has prompts that it keeps under a name"));
    }
    let tier = fields.read("serviceTier", Node::str)?;
    ask.service_tier = tier
        .filter(|tier| !["standard", "unspecified"].contains(&tier.to_ascii_lowercase().as_str()));
    ask.hints.metadata = fields.read("labels", Node::object)?;
    fields.done()?;
    Ok(ask)
}

fn tools<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    if let Some(list) = fields.take("tools") {
        list.each(|_, node| {
            let mut inner = node.camel_fields()?;
            if let Some(list) = inner.take("functionDeclarations") {
                list.each(|_, node| {
                    ask.tools.push(tool(&node)?);
                    Ok(())
                })?;
            }
            inner.done()
        })?;
    }
    let Some(node) = fields.take("toolConfig") else {
        return Ok(());
    };
    let mut inner = node.camel_fields()?;
    if let Some(node) = inner.take("functionCallingConfig") {
        tool_choice(ask, &node)?;
    }
    inner.done()
}

fn tool<'a>(node: &Node<'a, '_>) -> Result<Tool<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let mut schema = fields.read("parametersJsonSchema", Node::object)?;
    if let Some(node) = fields.take("parameters") {
        schema = Some(openapi(&node)?.schema);
    }
    let mut description = fields.read("description", Node::str)?;
    let mut returns = fields.read("responseJsonSchema", Node::object)?;
    if let Some(node) = fields.take("response") {
        returns = Some(openapi(&node)?.schema);
    }
    if let Some(schema) = returns {
        // Other APIs have no member for it, but the model may know.
        let text = description.get_or_insert_default().to_mut();
        let space = if text.is_empty() { "" } else { "\n\n" };
        *text = format!(
            "{text}{space}Returns JSON of this schema: {}",
            schema.as_str()
        );
    }
    let tool = Tool {
        name: fields.need("name")?.str()?,
        description,
        schema,
        strict: None,
        cache: None,
    };
    fields.done()?;
    Ok(tool)
}

fn openapi(node: &Node<'_, '_>) -> Result<Converted, Error> {
    to_json_schema(&node.object()?).map_err(|_| node.wrong("a schema"))
}

fn tool_choice<'a>(ask: &mut Ask<'a>, node: &Node<'a, '_>) -> Result<(), Error> {
    let mut fields = node.camel_fields()?;
    let names = fields.read("allowedFunctionNames", Node::texts)?;
    let mut names = names.unwrap_or_default();
    let mode = fields.take("mode");
    let word = mode.as_ref().map(word).transpose()?;
    ask.tool_choice = match (word.as_deref().unwrap_or("AUTO"), &mode) {
        ("AUTO" | "MODE_UNSPECIFIED", _) => mode.as_ref().map(|_| ToolChoice::Auto),
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", _) => Some(match names.len() {
            0 => ToolChoice::Required,
            1 => ToolChoice::Tool(names.pop().unwrap_or_default()),
            _ => ToolChoice::Allowed {
                names,
                required: true,
            },
        }),
        ("VALIDATED", _) => {
            for tool in &mut ask.tools {
                tool.strict = Some(true);
            }
            Some(if names.is_empty() {
                ToolChoice::Auto
            } else {
                ToolChoice::Allowed {
                    names,
                    required: false,
                }
            })
        }
        (_, mode) => {
            let node = mode.as_ref().unwrap_or(node);
            return Err(node.wrong("AUTO, ANY, NONE or VALIDATED"));
        }
    };
    fields.done()
}

/// A name of an enumeration, in capitals.
fn word(node: &Node<'_, '_>) -> Result<String, Error> {
    Ok(node.str()?.to_ascii_uppercase())
}

fn count(node: &Node<'_, '_>) -> Result<u64, Error> {
    let figure: Figure = node.typed("a whole number")?;
    figure.0.ok_or_else(|| node.wrong("a whole number"))
}

fn config<'a>(ask: &mut Ask<'a>, node: &Node<'a, '_>) -> Result<(), Error> {
    let mut fields = node.camel_fields()?;
    ask.max_tokens = fields.read("maxOutputTokens", Node::u64)?;
    ask.temperature = fields.read("temperature", Node::f64)?;
    ask.top_p = fields.read("topP", Node::f64)?;
    ask.top_k = fields.read("topK", count)?;
    ask.frequency_penalty = fields.read("frequencyPenalty", Node::f64)?;
    ask.presence_penalty = fields.read("presencePenalty", Node::f64)?;
    ask.seed = fields.read("seed", Node::i64)?;
    if let Some(node) = fields.take("stopSequences") {
        ask.stop = node.texts()?;
    }
    ask.choices = fields.read("candidateCount", Node::u32)?;
    let wanted = fields
        .read("responseLogprobs", Node::bool)?
        .unwrap_or(false);
    let alternatives = fields.read("logprobs", Node::u32)?.unwrap_or(0);
    ask.logprobs = wanted.then_some(alternatives);
    if let Some(node) = fields.take("thinkingConfig") {
        ask.thinking = thinking(&node)?;
    }
    format(ask, &mut fields)?;
    if let Some(node) = fields.take("responseModalities") {
        let modalities = node.texts()?;
        if modalities
            .iter()
            .any(|word| !word.eq_ignore_ascii_case("text"))
        {
            return Err(node.refuse("only text answers are the same everywhere"));
        }
        // Only then does it say anything.
        fields.skip(&["speechConfig"]);
    }
    if let Some(node) = fields.take("mediaResolution")
        && word(&node)? != "MEDIA_RESOLUTION_UNSPECIFIED"
    {
        return Err(node.refuse("other APIs say it of each image"));
    }
    fields.done()
}

fn thinking(node: &Node<'_, '_>) -> Result<Thinking, Error> {
    let mut fields = node.camel_fields()?;
    let mode = match fields.take("thinkingBudget") {
        None => None,
        Some(node) => Some(match node.i64()? {
            0 => ThinkingMode::Off,
            -1 => ThinkingMode::Adaptive,
            tokens => ThinkingMode::Budget(
                u64::try_from(tokens).map_err(|_| node.wrong("-1, 0 or a number of tokens"))?,
            ),
        }),
    };
    let effort = match fields.take("thinkingLevel") {
        None => None,
        Some(node) => match word(&node)?.as_str() {
            "THINKING_LEVEL_UNSPECIFIED" => None,
            "MINIMAL" => Some(Effort::Minimal),
            "LOW" => Some(Effort::Low),
            "MEDIUM" => Some(Effort::Medium),
            "HIGH" => Some(Effort::High),
            _ => return Err(node.wrong("MINIMAL, LOW, MEDIUM or HIGH")),
        },
    };
    let shown = fields.read("includeThoughts", Node::bool)?;
    fields.done()?;
    Ok(Thinking {
        mode,
        effort,
        shown,
    })
}

/// `responseMimeType` with a schema of either kind, or without.
fn format<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    let openapi = fields.read("responseSchema", openapi)?;
    let openapi = openapi.map(|found| (found.schema, Some(found.strict)));
    let mut schema: Option<(Json<'a>, Option<bool>)> = openapi;
    for name in ["responseJsonSchema", "_responseJsonSchema"] {
        if let Some(json) = fields.read(name, Node::object)? {
            schema = Some((json, None));
        }
    }
    if schema.is_none() {
        ask.format = match fields.take("responseMimeType") {
            None => None,
            Some(kind) => match &*kind.str()? {
                "application/json" => Some(Format::JsonObject),
                "text/plain" => None,
                _ => return Err(kind.refuse("it is text or JSON elsewhere")),
            },
        };
        return Ok(());
    }
    let kind = fields.need("responseMimeType")?;
    if kind.str()? != "application/json" {
        return Err(kind.refuse("only JSON has a schema elsewhere"));
    }
    ask.format = schema.map(|(schema, strict)| Format::JsonSchema {
        name: None,
        description: None,
        schema,
        strict,
    });
    Ok(())
}

/// Other APIs have no such filters: a request can do without only if it asks for none.
fn safety(node: &Node<'_, '_>) -> Result<(), Error> {
    let mut fields = node.camel_fields()?;
    fields.skip(&["category", "method"]);
    if let Some(node) = fields.take("threshold") {
        match word(&node)?.as_str() {
            "BLOCK_NONE" | "OFF" | "HARM_BLOCK_THRESHOLD_UNSPECIFIED" => {}
            _ => return Err(node.refuse("only this API has filters that a request sets")),
        }
    }
    fields.done()
}
