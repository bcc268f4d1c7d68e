use std::borrow::Cow;

use serde::Serialize;

use super::media::{DocumentOut, ImageOut, document, image};
use crate::ask::{Ask, Field, Message, Role};
use crate::content::{
    CacheMark, Content, Json, Maker, Part, Seal, SealForm, ToolCall, ToolResult, short_hash,
};
use crate::dialect::bedrock::Family;
use crate::error::Error;

/// Longest id of a call.
const CALL_ID_BYTES: usize = 64;

/// A message, of all that one side says in a row.
#[derive(Serialize)]
pub(super) struct MessageOut<'a> {
    role: &'static str,
    content: Vec<BlockOut<'a>>,
}

/// A block of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum BlockOut<'a> {
    Text(&'a str),
    Image(ImageOut<'a>),
    Document(DocumentOut<'a>),
    ToolUse(ToolUseOut<'a>),
    ToolResult(ToolResultOut<'a>),
    ReasoningContent(ReasoningOut<'a>),
    CachePoint(CachePointOut<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUseOut<'a> {
    tool_use_id: Cow<'a, str>,
    name: &'a str,
    input: Json<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResultOut<'a> {
    tool_use_id: Cow<'a, str>,
    content: Vec<BlockOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ReasoningOut<'a> {
    ReasoningText { text: &'a str, signature: &'a str },
    RedactedContent(&'a str),
}

/// A mark behind what is worth caching.
#[derive(Serialize)]
pub(super) struct CachePointOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
}

impl<'a> CachePointOut<'a> {
    /// Models that cache nothing refuse marks.
    pub(super) fn of(mark: Option<&'a CacheMark<'_>>, family: Family) -> Option<Self> {
        let mark = mark.filter(|_| matches!(family, Family::Claude | Family::Nova))?;
        let ttl = mark.ttl.as_deref();
        Some(Self {
            kind: "default",
            ttl: ttl.filter(|ttl| matches!(*ttl, "5m" | "1h")),
        })
    }
}

/// What the system says, wherever it said it, and what the two sides say in turns.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<BlockOut<'a>>,
    pub(super) messages: Vec<MessageOut<'a>>,
    family: Family,
    /// Of the documents so far.
    names: Vec<String>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(ask: &'a Ask<'_>, family: Family) -> Result<Self, Error> {
        let mut all = Self {
            system: Vec::new(),
            messages: Vec::new(),
            family,
            names: Vec::new(),
        };
        for (at, part) in ask.system.iter().enumerate() {
            let blocks = all.system_blocks(ask, part, Field::Part(0, at))?;
            all.system.extend(blocks);
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
            let why = "Bedrock's API has no names of speakers";
            return Err(ask.refuse(Field::Message(index), why));
        }
        let alone = message.parts.len() == 1;
        let mut blocks = Vec::with_capacity(message.parts.len());
        for (at, part) in message.parts.iter().enumerate() {
            let field = Field::Part(index, at);
            if message.role == Role::System {
                blocks.extend(self.system_blocks(ask, part, field)?);
            } else if alone || !is_blank(part) {
                blocks.extend(self.blocks(ask, part, field)?.into_iter().flatten());
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

    /// The system says only texts.
    fn system_blocks(
        &mut self,
        ask: &'a Ask<'_>,
        part: &'a Part<'_>,
        field: Field,
    ) -> Result<impl Iterator<Item = BlockOut<'a>> + use<'a>, Error> {
        let blocks = match &part.content {
            Content::Text(_) if is_blank(part) => [None, None],
            Content::Text(_) => self.blocks(ask, part, field)?,
            _ => {
                let why = "Bedrock's API takes only text from the system";
                return Err(ask.refuse(field, why));
            }
        };
        Ok(blocks.into_iter().flatten())
    }

    /// The blocks of a part: itself, unless it is reasoning that the model cannot read, and the mark
    /// behind it.
    fn blocks(
        &mut self,
        ask: &'a Ask<'_>,
        part: &'a Part<'_>,
        field: Field,
    ) -> Result<[Option<BlockOut<'a>>; 2], Error> {
        let block = match &part.content {
            Content::Text(text) | Content::Refusal(text) => BlockOut::Text(text),
            Content::Reasoning(text) => match part.seal.as_ref().and_then(|seal| own(text, seal)) {
                Some(reasoning) => BlockOut::ReasoningContent(reasoning),
                None => return Ok([None, None]),
            },
            Content::ToolCall(call) => BlockOut::ToolUse(tool_use(ask, call, field)?),
            Content::ToolResult(result) => {
                BlockOut::ToolResult(self.tool_result(ask, result, field)?)
            }
            Content::Image { source, .. } => BlockOut::Image(image(ask, source, field)?),
            Content::Document { source, title } => {
                let document = document(ask, (source, title.as_deref()), field, &mut self.names)?;
                BlockOut::Document(document)
            }
            Content::Audio(_) => {
                return Err(ask.refuse(field, "sound is not passed on to Bedrock"));
            }
        };
        let point = CachePointOut::of(part.cache.as_ref(), self.family);
        Ok([Some(block), point.map(BlockOut::CachePoint)])
    }

    fn tool_result(
        &mut self,
        ask: &'a Ask<'_>,
        result: &'a ToolResult<'_>,
        field: Field,
    ) -> Result<ToolResultOut<'a>, Error> {
        let mut content = Vec::with_capacity(result.parts.len());
        for part in &result.parts {
            if !is_blank(part) {
                // A mark has its place behind the result, not within it.
                let [block, _] = self.blocks(ask, part, field)?;
                content.extend(block);
            }
        }
        Ok(ToolResultOut {
            tool_use_id: call_id(&result.id),
            content,
            status: result.is_error.then_some("error"),
        })
    }
}

/// A text that the API refuses. Beside others it says nothing.
fn is_blank(part: &Part<'_>) -> bool {
    matches!(&part.content, Content::Text(text) if text.trim().is_empty())
}

/// Reasoning as Claude sealed it.
fn own<'a>(text: &'a str, seal: &'a Seal<'_>) -> Option<ReasoningOut<'a>> {
    if seal.maker != Maker::Anthropic {
        return None;
    }
    Some(match seal.form {
        SealForm::Signature => ReasoningOut::ReasoningText {
            text,
            signature: &seal.data,
        },
        SealForm::Encrypted => ReasoningOut::RedactedContent(&seal.data),
    })
}

fn tool_use<'a>(
    ask: &Ask<'_>,
    call: &'a ToolCall<'_>,
    field: Field,
) -> Result<ToolUseOut<'a>, Error> {
    let input = match &*call.arguments {
        "" => Json::parse("{}"),
        arguments => Json::parse(arguments),
    };
    let input = input.ok().filter(Json::is_object).ok_or_else(|| {
        let why = "the arguments of its tool call are not a JSON object";
        ask.refuse(field, why)
    })?;
    Ok(ToolUseOut {
        tool_use_id: call_id(&call.id),
        name: &call.name,
        input,
    })
}

/// An id of the characters that all models here take, the same for the call and its result.
fn call_id(id: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.len() <= CALL_ID_BYTES && id.bytes().all(fits) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{}", short_hash(id)))
    }
}
