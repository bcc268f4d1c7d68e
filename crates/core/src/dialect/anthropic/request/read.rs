use super::read_block::{cache_mark, message, texts};
use crate::ask::{Ask, Effort, Format, Thinking, ThinkingMode, Tool, ToolChoice};
use crate::content::CacheMark;
use crate::dialect::anthropic::error::THREAD;
use crate::dialect::read::{Fields, Node};
use crate::dialect::translate::ClientDialect;
use crate::error::Error;

/// Reads a client's request.
pub(in crate::dialect) fn read_request(body: &[u8]) -> Result<Ask<'_>, Error> {
    let root = Node::root(body)?;
    let mut fields = root.fields()?;
    let mut ask = Ask::new(ClientDialect::Anthropic);
    // Before all else: clients that are told so at once ask again without, by themselves.
    if let Some(node) = fields.take(THREAD) {
        return Err(node.refuse("threads are kept by Anthropic's own servers; leave it out"));
    }
    ask.model = fields.need("model")?.str()?;
    ask.max_tokens = Some(fields.need("max_tokens")?.u64()?);
    ask.stream = fields.read("stream", Node::bool)?.unwrap_or(false);
    ask.show_usage = true;
    if let Some(node) = fields.take("system") {
        ask.system = texts(&node)?;
    }
    fields.need("messages")?.each(|_, node| {
        ask.messages.push(message(&node)?);
        Ok(())
    })?;
    ask.temperature = fields.read("temperature", Node::f64)?;
    ask.top_p = fields.read("top_p", Node::f64)?;
    ask.top_k = fields.read("top_k", Node::u64)?;
    if let Some(node) = fields.take("stop_sequences") {
        node.each(|_, node| {
            ask.stop.push(node.str()?);
            Ok(())
        })?;
    }
    tools(&mut ask, &mut fields)?;
    ask.thinking = match fields.take("thinking") {
        Some(node) => thinking(&node)?,
        None => Thinking::default(),
    };
    output(&mut ask, &mut fields)?;
    let tier = fields.read("service_tier", Node::str)?;
    ask.service_tier = tier.filter(|tier| tier != "auto");
    if let Some(node) = fields.take("metadata") {
        let mut metadata = node.fields()?;
        ask.hints.user = metadata.read("user_id", Node::str)?;
        metadata.done()?;
    }
    // For the whole request it is a mark on what comes last.
    if let Some(mark) = cache_mark(&mut fields)? {
        mark_last(&mut ask, mark);
    }
    fields.done()?;
    Ok(ask)
}

fn tools<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    if let Some(list) = fields.take("tools") {
        list.each(|_, node| {
            ask.tools.push(tool(&node)?);
            Ok(())
        })?;
    }
    let Some(node) = fields.take("tool_choice") else {
        return Ok(());
    };
    let mut inner = node.fields()?;
    let kind = inner.need("type")?;
    ask.tool_choice = Some(match &*kind.str()? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Tool(inner.need("name")?.str()?),
        _ => return Err(kind.wrong("auto, any, none or tool")),
    });
    let single = inner.read("disable_parallel_tool_use", Node::bool)?;
    ask.parallel_tool_calls = single.map(|single| !single);
    inner.done()
}

fn tool<'a>(node: &Node<'a, '_>) -> Result<Tool<'a>, Error> {
    let mut fields = node.fields()?;
    if let Some(kind) = fields.take("type")
        && kind.str()? != "custom"
    {
        return Err(kind.refuse("only this API has the tools that Anthropic runs or defines"));
    }
    let tool = Tool {
        name: fields.need("name")?.str()?,
        description: fields.read("description", Node::str)?,
        schema: Some(fields.need("input_schema")?.object()?),
        strict: fields.read("strict", Node::bool)?,
        cache: cache_mark(&mut fields)?,
    };
    // Asks for arguments in pieces as they are made: other APIs send them so anyway.
    fields.read("eager_input_streaming", Node::bool)?;
    fields.done()?;
    Ok(tool)
}

fn thinking(node: &Node<'_, '_>) -> Result<Thinking, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let mode = match &*kind.str()? {
        "enabled" => ThinkingMode::Budget(fields.need("budget_tokens")?.u64()?),
        "adaptive" => ThinkingMode::Adaptive,
        "disabled" => ThinkingMode::Off,
        _ => return Err(kind.wrong("enabled, adaptive or disabled")),
    };
    let shown = match fields.take("display") {
        None => None,
        Some(node) => match &*node.str()? {
            "summarized" => Some(true),
            "omitted" => Some(false),
            _ => return Err(node.wrong("summarized or omitted")),
        },
    };
    fields.done()?;
    Ok(Thinking {
        mode: Some(mode),
        effort: None,
        shown,
    })
}

/// `output_config`, and its older half `output_format`.
fn output<'a>(ask: &mut Ask<'a>, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
    ask.format = fields.read("output_format", format)?;
    let Some(node) = fields.take("output_config") else {
        return Ok(());
    };
    let mut inner = node.fields()?;
    if let Some(node) = inner.take("effort") {
        let effort = Effort::from_name(&node.str()?);
        let effort = effort.ok_or_else(|| node.wrong("low, medium, high, xhigh or max"))?;
        ask.thinking.effort = Some(effort);
    }
    ask.format = inner.read("format", format)?.or(ask.format.take());
    inner.done()
}

fn format<'a>(node: &Node<'a, '_>) -> Result<Format<'a>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    if kind.str()? != "json_schema" {
        return Err(kind.wrong("json_schema"));
    }
    let format = Format::JsonSchema {
        name: None,
        description: None,
        schema: fields.need("schema")?.object()?,
        // The API keeps to it in any case.
        strict: Some(true),
    };
    fields.done()?;
    Ok(format)
}

fn mark_last<'a>(ask: &mut Ask<'a>, mark: CacheMark<'a>) {
    let message = ask.messages.last_mut();
    if let Some(part) = message.and_then(|message| message.parts.last_mut()) {
        part.cache = Some(mark);
    }
}
