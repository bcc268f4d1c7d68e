use std::borrow::Cow;

use super::read_item::Items;
use crate::ask::{
    Ask, Effort, Format, Hints, Message, Role, Thinking, ThinkingMode, Tool, ToolChoice,
};
use crate::content::Part;
use crate::dialect::read::{Fields, Node};
use crate::dialect::translate::ClientDialect;
use crate::error::Error;

/// Reads a client's request. What `previous_response_id` stands for has to be in its `input` already.
pub(in crate::dialect) fn read_request(body: &[u8]) -> Result<Ask<'_>, Error> {
    let root = Node::root(body)?;
    let mut fields = root.fields()?;
    let mut ask = Ask::new(ClientDialect::OpenAiResponses);
    ask.model = fields.need("model")?.str()?;
    ask.stream = fields.read("stream", Node::bool)?.unwrap_or(false);
    ask.show_usage = true;
    if let Some(text) = fields.read("instructions", Node::str)? {
        ask.system.push(Part::text(text));
    }
    input(&mut ask, &fields.need("input")?)?;
    ask.max_tokens = fields.read("max_output_tokens", Node::u64)?;
    ask.temperature = fields.read("temperature", Node::f64)?;
    ask.top_p = fields.read("top_p", Node::f64)?;
    logprobs(&mut ask, &mut fields)?;
    tools(&mut ask, &mut fields)?;
    if let Some(node) = fields.take("text") {
        let mut inner = node.fields()?;
        ask.verbosity = inner.read("verbosity", Node::str)?;
        ask.format = inner.read("format", format)?.flatten();
        inner.done()?;
    }
    if let Some(node) = fields.take("reasoning") {
        ask.thinking = thinking(&node)?;
    }
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

fn input<'a>(ask: &mut Ask<'a>, node: &Node<'a, '_>) -> Result<(), Error> {
    if node.is_text() {
        ask.messages.push(Message {
            role: Role::User,
            name: None,
            parts: vec![Part::text(node.str()?)],
        });
        return Ok(());
    }
    let mut items = Items::default();
    node.each(|_, node| items.add(&node))?;
    ask.messages = items.finish();
    Ok(())
}

fn logprobs<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    let alternatives = fields.read("top_logprobs", Node::u32)?;
    let mut wanted = alternatives.is_some_and(|alternatives| alternatives > 0);
    if let Some(node) = fields.take("include") {
        // The others are about items that no other API has, or are always there.
        let names = node.texts()?;
        wanted |= names
            .iter()
            .any(|name| name == "message.output_text.logprobs");
    }
    ask.logprobs = wanted.then_some(alternatives.unwrap_or(0));
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
    // It counts only those that the provider runs.
    fields.skip(&["max_tool_calls"]);
    Ok(())
}

fn tool<'a>(node: &Node<'a, '_>) -> Result<Tool<'a>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    if kind.str()? != "function" {
        return Err(kind.refuse("only functions are tools everywhere"));
    }
    let tool = Tool {
        name: fields.need("name")?.str()?,
        description: fields.read("description", Node::str)?,
        schema: fields.read("parameters", Node::object)?,
        strict: fields.read("strict", Node::bool)?,
        cache: None,
    };
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
        "function" => ToolChoice::Tool(fields.need("name")?.str()?),
        "allowed_tools" => {
            let mode = fields.need("mode")?;
            let required = match &*mode.str()? {
                "auto" => false,
                "required" => true,
                _ => return Err(mode.wrong("auto or required")),
            };
            let mut names: Vec<Cow<'a, str>> = Vec::new();
            fields.need("tools")?.each(|_, node| {
                let mut tool = node.fields()?;
                tool.skip(&["type"]);
                names.push(tool.need("name")?.str()?);
                tool.done()
            })?;
            ToolChoice::Allowed { names, required }
        }
        _ => return Err(kind.refuse("only functions are tools everywhere")),
    };
    fields.done()?;
    Ok(choice)
}

fn format<'a>(node: &Node<'a, '_>) -> Result<Option<Format<'a>>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let format = match &*kind.str()? {
        "text" => None,
        "json_object" => Some(Format::JsonObject),
        "json_schema" => Some(Format::JsonSchema {
            name: fields.read("name", Node::str)?,
            description: fields.read("description", Node::str)?,
            schema: fields.need("schema")?.object()?,
            strict: fields.read("strict", Node::bool)?,
        }),
        _ => return Err(kind.refuse("it is text, json_object or json_schema elsewhere")),
    };
    fields.done()?;
    Ok(format)
}

fn thinking(node: &Node<'_, '_>) -> Result<Thinking, Error> {
    let mut fields = node.fields()?;
    let mut thinking = Thinking::default();
    if let Some(node) = fields.take("effort") {
        let name = node.str()?;
        if name == "none" {
            thinking.mode = Some(ThinkingMode::Off);
        } else {
            let effort = Effort::from_name(&name);
            let effort = effort
                .ok_or_else(|| node.wrong("none, minimal, low, medium, high, xhigh or max"))?;
            thinking.effort = Some(effort);
        }
    }
    for name in ["summary", "generate_summary"] {
        if fields.read(name, Node::str)?.is_some() {
            thinking.shown = Some(true);
        }
    }
    fields.done()?;
    Ok(thinking)
}

/// Members that others can do without only at their default, and what is the gateway's own affair.
fn only_default(fields: &mut Fields<'_, '_>) -> Result<(), Error> {
    if let Some(node) = fields.take("truncation")
        && node.str()? != "disabled"
    {
        return Err(node.refuse("only this API leaves out the middle of a conversation"));
    }
    // Its conversation is in the input.
    fields.skip(&["previous_response_id"]);
    fields.skip(&["background", "store", "stream_options"]);
    fields.skip(&["prompt_cache_retention", "prompt_cache_options"]);
    Ok(())
}
