use std::borrow::Cow;

use super::read_message::{cache_mark, message};
use crate::ask::{Ask, Effort, Format, Hints, Thinking, ThinkingMode, Tool, ToolChoice};
use crate::dialect::read::{Fields, Node};
use crate::dialect::translate::ClientDialect;
use crate::error::Error;

/// Reads a client's request.
pub(in crate::dialect) fn read_request(body: &[u8]) -> Result<Ask<'_>, Error> {
    let root = Node::root(body)?;
    let mut fields = root.fields()?;
    let mut ask = Ask::new(ClientDialect::OpenAiChat);
    ask.model = fields.need("model")?.str()?;
    delivery(&mut ask, &mut fields)?;
    let messages = fields.need("messages")?;
    messages.each(|_, node| {
        ask.messages.push(message(&node)?);
        Ok(())
    })?;
    sampling(&mut ask, &mut fields)?;
    tools(&mut ask, &mut fields)?;
    ask.format = match fields.take("response_format") {
        Some(node) => format(&node)?,
        None => None,
    };
    ask.thinking = thinking(&mut fields)?;
    ask.verbosity = fields.read("verbosity", Node::str)?;
    let tier = fields.read("service_tier", Node::str)?;
    ask.service_tier = tier.filter(|tier| !matches!(&**tier, "auto" | "default"));
    let user = fields.read("safety_identifier", Node::str)?;
    ask.hints = Hints {
        user: user.or(fields.read("user", Node::str)?),
        metadata: fields.read("metadata", Node::object)?,
        cache_key: fields.read("prompt_cache_key", Node::str)?,
    };
    only_default(&mut fields)?;
    fields.done()?;
    Ok(ask)
}

/// What says how the answer comes, which is the gateway's own affair.
fn delivery<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    ask.stream = fields.read("stream", Node::bool)?.unwrap_or(false);
    if let Some(node) = fields.take("stream_options") {
        let mut options = node.fields()?;
        ask.show_usage = options.read("include_usage", Node::bool)?.unwrap_or(false);
        options.skip(&["include_obfuscation"]);
        options.done()?;
    }
    // Every answer is kept for a while, and a prompt's cache is each provider's own.
    fields.skip(&["background", "store"]);
    fields.skip(&["prompt_cache_retention", "prompt_cache_options"]);
    Ok(())
}

fn sampling<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    let limit = fields.read("max_tokens", Node::u64)?;
    ask.max_tokens = fields.read("max_completion_tokens", Node::u64)?.or(limit);
    ask.temperature = fields.read("temperature", Node::f64)?;
    ask.top_p = fields.read("top_p", Node::f64)?;
    ask.top_k = fields.read("top_k", Node::u64)?;
    ask.frequency_penalty = fields.read("frequency_penalty", Node::f64)?;
    ask.presence_penalty = fields.read("presence_penalty", Node::f64)?;
    ask.seed = fields.read("seed", Node::i64)?;
    if let Some(node) = fields.take("stop") {
        ask.stop = node.texts()?;
    }
    ask.choices = fields.read("n", Node::u32)?;
    let wanted = fields.read("logprobs", Node::bool)?.unwrap_or(false);
    let alternatives = fields.read("top_logprobs", Node::u32)?.unwrap_or(0);
    ask.logprobs = wanted.then_some(alternatives);
    ask.logit_bias = fields.read("logit_bias", Node::object)?;
    Ok(())
}

fn tools<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    if let Some(list) = fields.take("tools") {
        list.each(|_, node| {
            ask.tools.push(tool(&node)?);
            Ok(())
        })?;
    }
    ask.tool_choice = fields.read("tool_choice", tool_choice)?;
    ask.parallel_tool_calls = fields.read("parallel_tool_calls", Node::bool)?;
    for name in ["functions", "function_call"] {
        if let Some(node) = fields.take(name) {
            return Err(node.refuse("it is deprecated: use tools and tool_choice"));
        }
    }
    Ok(())
}

fn tool<'a>(node: &Node<'a, '_>) -> Result<Tool<'a>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    if kind.str()? != "function" {
        return Err(kind.refuse("only functions are tools everywhere"));
    }
    let function = fields.need("function")?;
    let mut inner = function.fields()?;
    let tool = Tool {
        name: inner.need("name")?.str()?,
        description: inner.read("description", Node::str)?,
        schema: inner.read("parameters", Node::object)?,
        strict: inner.read("strict", Node::bool)?,
        cache: cache_mark(&mut fields)?,
    };
    inner.done()?;
    fields.done()?;
    Ok(tool)
}

fn tool_choice<'a>(node: &Node<'a, '_>) -> Result<ToolChoice<'a>, Error> {
    if node.is_text() {
        return match &*node.str()? {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(node.wrong("auto, none, required or an object")),
        };
    }
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let choice = match &*kind.str()? {
        "function" => ToolChoice::Tool(name_of(&fields.need("function")?)?),
        "allowed_tools" => allowed(&fields.need("allowed_tools")?)?,
        _ => return Err(kind.refuse("only functions are tools everywhere")),
    };
    fields.done()?;
    Ok(choice)
}

fn allowed<'a>(node: &Node<'a, '_>) -> Result<ToolChoice<'a>, Error> {
    let mut fields = node.fields()?;
    let mode = fields.need("mode")?;
    let required = match &*mode.str()? {
        "auto" => false,
        "required" => true,
        _ => return Err(mode.wrong("auto or required")),
    };
    let mut names = Vec::new();
    fields.need("tools")?.each(|_, node| {
        let mut tool = node.fields()?;
        tool.skip(&["type"]);
        names.push(name_of(&tool.need("function")?)?);
        tool.done()
    })?;
    fields.done()?;
    Ok(ToolChoice::Allowed { names, required })
}

fn name_of<'a>(node: &Node<'a, '_>) -> Result<Cow<'a, str>, Error> {
    let mut fields = node.fields()?;
    let name = fields.need("name")?.str()?;
    fields.done()?;
    Ok(name)
}

fn format<'a>(node: &Node<'a, '_>) -> Result<Option<Format<'a>>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let format = match &*kind.str()? {
        "text" => None,
        "json_object" => Some(Format::JsonObject),
        "json_schema" => {
            let schema = fields.need("json_schema")?;
            let mut inner = schema.fields()?;
            let format = Format::JsonSchema {
                name: inner.read("name", Node::str)?,
                description: inner.read("description", Node::str)?,
                schema: inner.need("schema")?.object()?,
                strict: inner.read("strict", Node::bool)?,
            };
            inner.done()?;
            Some(format)
        }
        _ => return Err(kind.refuse("it is text, json_object or json_schema elsewhere")),
    };
    fields.done()?;
    Ok(format)
}

/// `reasoning_effort`, or OpenRouter's `reasoning`.
fn thinking(fields: &mut Fields<'_, '_>) -> Result<Thinking, Error> {
    let mut thinking = Thinking::default();
    if let Some(node) = fields.take("reasoning") {
        let mut inner = node.fields()?;
        if let Some(effort) = inner.take("effort") {
            set_effort(&mut thinking, &effort)?;
        }
        if let Some(budget) = inner.read("max_tokens", Node::u64)? {
            thinking.mode = Some(ThinkingMode::Budget(budget));
        }
        match inner.read("enabled", Node::bool)? {
            Some(false) => thinking.mode = Some(ThinkingMode::Off),
            Some(true) if thinking == Thinking::default() => {
                thinking.mode = Some(ThinkingMode::Adaptive);
            }
            _ => {}
        }
        thinking.shown = inner.read("exclude", Node::bool)?.map(|hidden| !hidden);
        inner.done()?;
    }
    if let Some(effort) = fields.take("reasoning_effort") {
        set_effort(&mut thinking, &effort)?;
    }
    Ok(thinking)
}

fn set_effort(thinking: &mut Thinking, node: &Node<'_, '_>) -> Result<(), Error> {
    let name = node.str()?;
    if name == "none" {
        thinking.mode = Some(ThinkingMode::Off);
        return Ok(());
    }
    let effort = Effort::from_name(&name);
    let effort =
        effort.ok_or_else(|| node.wrong("none, minimal, low, medium, high, xhigh or max"))?;
    thinking.effort = Some(effort);
    Ok(())
}

/// Members that others can do without only at their default.
fn only_default(fields: &mut Fields<'_, '_>) -> Result<(), Error> {
    if let Some(node) = fields.take("modalities") {
        let wanted = node.texts()?;
        if wanted.iter().any(|modality| modality != "text") {
            return Err(node.refuse("only text answers are the same everywhere"));
        }
        // Only then does it say anything.
        fields.skip(&["audio"]);
    }
    Ok(())
}
