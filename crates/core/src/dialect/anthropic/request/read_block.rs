use std::borrow::Cow;

use super::super::token::{self, On};
use crate::ask::{Message, Role};
use crate::content::{
    CacheMark, Content, Maker, Part, Seal, SealForm, Source, ToolCall, ToolResult,
};
use crate::dialect::read::{Fields, Node};
use crate::error::Error;

/// Reads one message.
pub(super) fn message<'a>(node: &Node<'a, '_>) -> Result<Message<'a>, Error> {
    let mut fields = node.fields()?;
    let role = fields.need("role")?;
    let role = match &*role.str()? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(role.wrong("user or assistant")),
    };
    let content = fields.need("content")?;
    let parts = if content.is_text() {
        vec![Part::text(content.str()?)]
    } else {
        let mut blocks = Blocks::default();
        content.each(|_, node| blocks.add(&node))?;
        blocks.finish()
    };
    fields.done()?;
    Ok(Message {
        role,
        name: None,
        parts,
    })
}

/// A text, or blocks that are texts.
pub(super) fn texts<'a>(node: &Node<'a, '_>) -> Result<Vec<Part<'a>>, Error> {
    if node.is_text() {
        return Ok(vec![Part::text(node.str()?)]);
    }
    let mut blocks = Blocks::default();
    node.each(|_, node| {
        blocks.add(&node)?;
        match blocks.parts.last().map(|part| &part.content) {
            Some(Content::Text(_)) => Ok(()),
            _ => Err(node.wrong("a block of text")),
        }
    })?;
    Ok(blocks.finish())
}

/// The blocks of a message so far.
#[derive(Default)]
struct Blocks<'a> {
    parts: Vec<Part<'a>>,
    /// What belongs to the part that comes next.
    seal: Option<Seal<'a>>,
}

impl<'a> Blocks<'a> {
    fn add(&mut self, node: &Node<'a, '_>) -> Result<(), Error> {
        let mut fields = node.fields()?;
        let kind = fields.need("type")?;
        let content = match &*kind.str()? {
            "thinking" => {
                let text = fields.need("thinking")?.str()?;
                let signature = fields.read("signature", Node::str)?.unwrap_or_default();
                fields.done()?;
                let seal = seal(signature, SealForm::Signature).map(|(seal, _)| seal);
                self.push(Content::Reasoning(text), seal, None);
                return Ok(());
            }
            "redacted_thinking" => {
                let data = fields.need("data")?.str()?;
                fields.done()?;
                self.hidden(data);
                return Ok(());
            }
            "text" => {
                let text = fields.need("text")?.str()?;
                // What an answer had and nobody wants back.
                fields.skip(&["citations"]);
                Content::Text(text)
            }
            "image" => Content::Image {
                source: source(&fields.need("source")?)?,
                detail: None,
            },
            "document" => document(&mut fields)?,
            "tool_use" => Content::ToolCall(call(&mut fields)?),
            "tool_result" => Content::ToolResult(result(&mut fields)?),
            _ => return Err(kind.refuse("Everstream knows no such block of other APIs")),
        };
        let cache = cache_mark(&mut fields)?;
        fields.done()?;
        let seal = self.seal.take();
        self.push(content, seal, cache);
        Ok(())
    }

    fn push(&mut self, content: Content<'a>, seal: Option<Seal<'a>>, cache: Option<CacheMark<'a>>) {
        self.parts.push(Part {
            content,
            seal,
            cache,
        });
    }

    fn hidden(&mut self, data: Cow<'a, str>) {
        match (seal(data, SealForm::Encrypted), self.parts.last_mut()) {
            (Some((seal, On::Before)), Some(part)) => part.seal = Some(seal),
            (Some((seal, On::Behind)), _) => self.seal = Some(seal),
            (seal, _) => {
                let seal = seal.map(|(seal, _)| seal);
                self.push(Content::Reasoning(Cow::Borrowed("")), seal, None);
            }
        }
    }

    fn finish(mut self) -> Vec<Part<'a>> {
        if let Some(seal) = self.seal.take() {
            self.push(Content::Reasoning(Cow::Borrowed("")), Some(seal), None);
        }
        self.parts
    }
}

/// Anthropic's own seal, or another maker's in a token.
fn seal(data: Cow<'_, str>, form: SealForm) -> Option<(Seal<'_>, On)> {
    if data.is_empty() {
        return None;
    }
    let foreign = match &data {
        Cow::Borrowed(data) => token::read(data),
        Cow::Owned(data) => token::read(data).map(|(seal, on)| (seal.into_owned(), on)),
    };
    let own = Seal {
        maker: Maker::Anthropic,
        form,
        id: None,
        data,
    };
    Some(foreign.unwrap_or((own, On::Reasoning)))
}

fn call<'a>(fields: &mut Fields<'a, '_>) -> Result<ToolCall<'a>, Error> {
    let input = fields.need("input")?;
    let arguments = if input.is_text() {
        // A cut answer's, as this gateway showed it.
        input.str()?
    } else {
        input.object()?.into_text()
    };
    Ok(ToolCall {
        id: fields.need("id")?.str()?,
        name: fields.need("name")?.str()?,
        arguments,
    })
}

fn result<'a>(fields: &mut Fields<'a, '_>) -> Result<ToolResult<'a>, Error> {
    let mut parts = Vec::new();
    if let Some(node) = fields.take("content") {
        if node.is_text() {
            parts.push(Part::text(node.str()?));
        } else {
            let mut blocks = Blocks::default();
            node.each(|_, node| blocks.add(&node))?;
            parts = blocks.finish();
        }
    }
    Ok(ToolResult {
        id: fields.need("tool_use_id")?.str()?,
        parts,
        is_error: fields.read("is_error", Node::bool)?.unwrap_or(false),
    })
}

fn document<'a>(fields: &mut Fields<'a, '_>) -> Result<Content<'a>, Error> {
    if let Some(node) = fields.take("citations") {
        let mut inner = node.fields()?;
        if inner.read("enabled", Node::bool)? == Some(true) {
            return Err(node.refuse("only this API cites documents"));
        }
        inner.done()?;
    }
    Ok(Content::Document {
        source: source(&fields.need("source")?)?,
        title: fields.read("title", Node::str)?,
    })
}

fn source<'a>(node: &Node<'a, '_>) -> Result<Source<'a>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let source = match &*kind.str()? {
        "base64" => Source::Base64 {
            media_type: fields.need("media_type")?.str()?,
            data: fields.need("data")?.str()?,
        },
        "text" => {
            fields.skip(&["media_type"]);
            Source::Text(fields.need("data")?.str()?)
        }
        "url" => Source::Url(fields.need("url")?.str()?),
        "file" => Source::File(fields.need("file_id")?.str()?),
        _ => return Err(kind.refuse("Everstream knows no such source of other APIs")),
    };
    fields.done()?;
    Ok(source)
}

/// `cache_control`.
pub(super) fn cache_mark<'a>(fields: &mut Fields<'a, '_>) -> Result<Option<CacheMark<'a>>, Error> {
    let Some(node) = fields.take("cache_control") else {
        return Ok(None);
    };
    let mut inner = node.fields()?;
    inner.skip(&["type"]);
    let ttl = inner.read("ttl", Node::str)?;
    inner.done()?;
    Ok(Some(CacheMark { ttl }))
}
