use std::borrow::Cow;

use serde::Serialize;

use super::super::block;
use crate::ask::{Ask, Field, Message, Role};
use crate::content::{
    CacheMark, Content, Json, Maker, Part, Seal, SealForm, Source, ToolCall, ToolResult, short_hash,
};
use crate::error::Error;

/// A message, of all that one side says in a row.
#[derive(Serialize)]
pub(super) struct MessageOut<'a> {
    role: &'static str,
    content: Vec<BlockOut<'a>>,
}

/// A block of a request.
#[derive(Serialize)]
pub(super) struct BlockOut<'a> {
    #[serde(flatten)]
    kind: KindOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheOut<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KindOut<'a> {
    Any(block::BlockOut<'a>),
    Result(ResultOut<'a>),
}

#[derive(Serialize)]
struct ResultOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tool_use_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<BlockOut<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

#[derive(Serialize)]
pub(super) struct CacheOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
}

impl<'a> From<&'a CacheMark<'_>> for CacheOut<'a> {
    fn from(mark: &'a CacheMark<'_>) -> Self {
        // Others have other times, and the mark matters more than its time.
        let ttl = mark.ttl.as_deref();
        Self {
            kind: "ephemeral",
            ttl: ttl.filter(|ttl| matches!(*ttl, "5m" | "1h")),
        }
    }
}

/// What the system says, wherever it said it, and what the two sides say in turns.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<BlockOut<'a>>,
    pub(super) messages: Vec<MessageOut<'a>>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(ask: &'a Ask<'_>) -> Result<Self, Error> {
        let mut all = Self {
            system: Vec::new(),
            messages: Vec::new(),
        };
        for part in &ask.system {
            all.system.extend(block_of(ask, part, Field::Part(0, 0))?);
        }
        for (index, message) in ask.messages.iter().enumerate() {
            all.message(ask, index, message)?;
        }
        Ok(all)
    }

    fn message(
        &mut self,
        ask: &'a Ask<'_>,
        index: usize,
        message: &'a Message<'_>,
    ) -> Result<(), Error> {
        if message.name.is_some() {
            let why = "Anthropic's API has no names of speakers";
            return Err(ask.refuse(Field::Message(index), why));
        }
        let alone = message.parts.len() == 1;
        let mut blocks = Vec::with_capacity(message.parts.len());
        for (at, part) in message.parts.iter().enumerate() {
            // The API refuses a text that is empty. Beside others it says nothing.
            if alone || !matches!(&part.content, Content::Text(text) if text.is_empty()) {
                blocks.extend(block_of(ask, part, Field::Part(index, at))?);
            }
        }
        let role = match message.role {
            Role::System => {
                self.system.extend(blocks);
                return Ok(());
            }
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => self.messages.push(MessageOut {
                role,
                content: blocks,
            }),
        }
        Ok(())
    }
}

/// The block of a part; none for reasoning that Anthropic's models cannot read.
fn block_of<'a>(
    ask: &'a Ask<'_>,
    part: &'a Part<'_>,
    field: Field,
) -> Result<Option<BlockOut<'a>>, Error> {
    let kind = match &part.content {
        Content::Text(text) | Content::Refusal(text) => block::BlockOut::Text { text },
        Content::Reasoning(text) => match part.seal.as_ref().and_then(|seal| own(text, seal)) {
            Some(block) => block,
            None => return Ok(None),
        },
        Content::ToolCall(call) => tool_use(ask, call, field)?,
        Content::ToolResult(result) => {
            let result = tool_result(ask, result, field)?;
            return Ok(Some(block(KindOut::Result(result), part)));
        }
        Content::Image { source, .. } => {
            refuse_file(ask, source, field)?;
            block::BlockOut::Image {
                source: source.into(),
            }
        }
        Content::Document { source, title } => {
            refuse_file(ask, source, field)?;
            block::BlockOut::Document {
                source: source.into(),
                title: title.as_deref(),
            }
        }
        Content::Audio(_) => return Err(ask.refuse(field, "Anthropic's API takes no sound")),
    };
    Ok(Some(block(KindOut::Any(kind), part)))
}

fn block<'a>(kind: KindOut<'a>, part: &'a Part<'_>) -> BlockOut<'a> {
    BlockOut {
        kind,
        cache_control: part.cache.as_ref().map(CacheOut::from),
    }
}

/// Reasoning as Anthropic sealed it.
fn own<'a>(text: &'a str, seal: &'a Seal<'_>) -> Option<block::BlockOut<'a>> {
    if seal.maker != Maker::Anthropic {
        return None;
    }
    Some(match seal.form {
        SealForm::Signature => block::BlockOut::Thinking {
            thinking: text,
            signature: Cow::Borrowed(&seal.data),
        },
        SealForm::Encrypted => block::BlockOut::RedactedThinking {
            data: Cow::Borrowed(&seal.data),
        },
    })
}

fn tool_use<'a>(
    ask: &Ask<'_>,
    call: &'a ToolCall<'_>,
    field: Field,
) -> Result<block::BlockOut<'a>, Error> {
    let input = match &*call.arguments {
        "" => Json::parse("{}"),
        arguments => Json::parse(arguments),
    };
    let input = input.ok().filter(Json::is_object).ok_or_else(|| {
        ask.refuse(
            field,
            "the arguments of its tool call are not a JSON object",
        )
    })?;
    Ok(block::BlockOut::ToolUse {
        id: call_id(&call.id),
        name: &call.name,
        input: block::InputOut::Json(input),
    })
}

fn tool_result<'a>(
    ask: &'a Ask<'_>,
    result: &'a ToolResult<'_>,
    field: Field,
) -> Result<ResultOut<'a>, Error> {
    let mut content = Vec::with_capacity(result.parts.len());
    for part in &result.parts {
        if !matches!(&part.content, Content::Text(text) if text.is_empty()) {
            content.extend(block_of(ask, part, field)?);
        }
    }
    Ok(ResultOut {
        kind: "tool_result",
        tool_use_id: call_id(&result.id),
        content,
        is_error: result.is_error,
    })
}

fn refuse_file(ask: &Ask<'_>, source: &Source<'_>, field: Field) -> Result<(), Error> {
    match source {
        Source::File(_) => Err(ask.refuse(field, "it is a file of another provider's")),
        _ => Ok(()),
    }
}

/// An id of the characters that the API takes, the same for the call and its result.
fn call_id(id: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.bytes().all(fits) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{}", short_hash(id)))
    }
}
