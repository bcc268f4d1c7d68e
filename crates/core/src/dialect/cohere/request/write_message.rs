use std::borrow::Cow;

use serde::Serialize;

use crate::ask::{Ask, Field, Message, Role};
use crate::content::{Content, Part, Source, ToolCall, ToolResult};
use crate::error::Error;

#[derive(Default, Serialize)]
pub(super) struct MessageOut<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<ContentOut<'a>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    tool_plan: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentOut<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str },
    ImageUrl { image_url: ImageOut<'a> },
}

#[derive(Serialize)]
struct ImageOut<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct CallOut<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionOut<'a>,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// Writes the conversation. The results of tools are messages of their own here.
pub(super) fn messages<'a>(ask: &'a Ask<'_>) -> Result<Vec<MessageOut<'a>>, Error> {
    let mut out = Vec::with_capacity(1 + ask.messages.len());
    if !ask.system.is_empty() {
        let parts = ask.system.iter();
        out.push(MessageOut {
            role: "system",
            content: parts
                .map(|part| system(ask, part, Field::Part(0, 0)))
                .collect::<Result<_, _>>()?,
            ..MessageOut::default()
        });
    }
    for (index, message) in ask.messages.iter().enumerate() {
        if message.name.is_some() {
            let why = "Cohere's API has no names of speakers";
            return Err(ask.refuse(Field::Message(index), why));
        }
        match message.role {
            Role::Assistant => assistant(ask, index, message, &mut out)?,
            Role::System | Role::User => other(ask, index, message, &mut out)?,
        }
    }
    if out.last().is_some_and(|last| last.role == "assistant") {
        let last = Field::Message(ask.messages.len() - 1);
        let why = "Cohere's models cannot go on from the beginning of an answer";
        return Err(ask.refuse(last, why));
    }
    // Known only now that messages in a row are one.
    out.iter_mut().for_each(plan);
    Ok(out)
}

/// What was thought before tools were called is their plan.
fn plan(message: &mut MessageOut<'_>) {
    if message.tool_calls.is_empty() {
        return;
    }
    message.content.retain(|content| match content {
        ContentOut::Thinking { thinking } => {
            message.tool_plan.push_str(thinking);
            false
        }
        _ => true,
    });
}

fn other<'a>(
    ask: &'a Ask<'_>,
    index: usize,
    message: &'a Message<'_>,
    out: &mut Vec<MessageOut<'a>>,
) -> Result<(), Error> {
    let mut content = Vec::with_capacity(message.parts.len());
    for (at, part) in message.parts.iter().enumerate() {
        let field = Field::Part(index, at);
        match &part.content {
            Content::ToolResult(result) => out.push(tool(ask, result, field)?),
            _ if message.role == Role::System => content.push(system(ask, part, field)?),
            _ => content.push(user(ask, part, field)?),
        }
    }
    if !content.is_empty() {
        let role = if message.role == Role::System {
            "system"
        } else {
            "user"
        };
        out.push(MessageOut {
            role,
            content,
            ..MessageOut::default()
        });
    }
    Ok(())
}

fn tool<'a>(
    ask: &'a Ask<'_>,
    result: &'a ToolResult<'_>,
    field: Field,
) -> Result<MessageOut<'a>, Error> {
    let mut content = Vec::with_capacity(result.parts.len());
    for part in &result.parts {
        let text = text(part).ok_or_else(|| {
            let why = "Cohere's API takes only text from tools";
            ask.refuse(field, why)
        })?;
        content.push(text);
    }
    if content.is_empty() {
        content.push(ContentOut::Text { text: "" });
    }
    Ok(MessageOut {
        role: "tool",
        tool_call_id: Some(&result.id),
        content,
        ..MessageOut::default()
    })
}

fn system<'a>(ask: &'a Ask<'_>, part: &'a Part<'_>, field: Field) -> Result<ContentOut<'a>, Error> {
    let why = "Cohere's API takes only text from the system";
    text(part).ok_or_else(|| ask.refuse(field, why))
}

fn user<'a>(ask: &'a Ask<'_>, part: &'a Part<'_>, field: Field) -> Result<ContentOut<'a>, Error> {
    match &part.content {
        Content::Image { source, detail } => Ok(ContentOut::ImageUrl {
            image_url: ImageOut {
                url: source.to_url().ok_or_else(|| {
                    let why = "it is a file of another provider's";
                    ask.refuse(field, why)
                })?,
                detail: detail.as_deref(),
            },
        }),
        _ => text(part).ok_or_else(|| {
            let why = "Cohere's API takes only text and images";
            ask.refuse(field, why)
        }),
    }
}

fn text<'a>(part: &'a Part<'_>) -> Option<ContentOut<'a>> {
    match &part.content {
        Content::Text(text)
        | Content::Refusal(text)
        | Content::Document {
            source: Source::Text(text),
            ..
        } => Some(ContentOut::Text { text }),
        _ => None,
    }
}

/// What the model said, with what it said in the message before, if that was its own.
fn assistant<'a>(
    ask: &'a Ask<'_>,
    index: usize,
    message: &'a Message<'_>,
    out: &mut Vec<MessageOut<'a>>,
) -> Result<(), Error> {
    let mut said = match out.pop_if(|last| last.role == "assistant") {
        Some(before) => before,
        None => MessageOut {
            role: "assistant",
            ..MessageOut::default()
        },
    };
    for (at, part) in message.parts.iter().enumerate() {
        match &part.content {
            // What another maker sealed is not this model's own.
            Content::Reasoning(text) if text.is_empty() || part.seal.is_some() => {}
            Content::Reasoning(text) => {
                said.content.push(ContentOut::Thinking { thinking: text });
            }
            Content::ToolCall(call) => said.tool_calls.push(call_of(call)),
            Content::Text(text) if text.is_empty() => {}
            _ => {
                let field = Field::Part(index, at);
                let why = "Cohere's models say only text";
                let text = text(part).ok_or_else(|| ask.refuse(field, why))?;
                said.content.push(text);
            }
        }
    }
    if !said.content.is_empty() || !said.tool_calls.is_empty() {
        out.push(said);
    }
    Ok(())
}

fn call_of<'a>(call: &'a ToolCall<'_>) -> CallOut<'a> {
    CallOut {
        id: &call.id,
        kind: "function",
        function: FunctionOut {
            name: &call.name,
            arguments: match &*call.arguments {
                "" => "{}",
                arguments => arguments,
            },
        },
    }
}
