use std::borrow::Cow;

use crate::ask::{Message, Role};
use crate::content::{
    CacheMark, Content, Maker, Part, Seal, SealForm, Source, ToolCall, ToolResult,
};
use crate::dialect::read::{Fields, Node};
use crate::dialect::token::{self, On};
use crate::error::Error;

/// The items so far, each a message.
#[derive(Default)]
pub(super) struct Items<'a> {
    messages: Vec<Message<'a>>,
    /// What belongs to the part that comes next.
    seal: Option<Seal<'a>>,
}

impl<'a> Items<'a> {
    pub(super) fn add(&mut self, node: &Node<'a, '_>) -> Result<(), Error> {
        let mut fields = node.fields()?;
        let kind = fields.take("type");
        let name = kind.as_ref().map(Node::str).transpose()?;
        match (name.as_deref().unwrap_or("message"), &kind) {
            ("message", _) => self.message(&mut fields)?,
            ("function_call", _) => {
                let call = ToolCall {
                    id: fields.need("call_id")?.str()?,
                    name: fields.need("name")?.str()?,
                    arguments: fields.need("arguments")?.str()?,
                };
                let part = Part {
                    seal: self.seal.take(),
                    ..Content::ToolCall(call).into()
                };
                self.push(Role::Assistant, vec![part]);
            }
            ("function_call_output", _) => {
                let result = ToolResult {
                    id: fields.need("call_id")?.str()?,
                    parts: content(&fields.need("output")?)?,
                    is_error: false,
                };
                // The call has it too.
                fields.skip(&["name"]);
                self.push(Role::User, vec![Content::ToolResult(result).into()]);
            }
            ("reasoning", _) => self.reasoning(&mut fields)?,
            (_, Some(kind)) => {
                return Err(kind.refuse("Everstream knows no such item of other APIs"));
            }
            (_, None) => {}
        }
        fields.skip(&["id", "status"]);
        fields.done()
    }

    pub(super) fn finish(mut self) -> Vec<Message<'a>> {
        if let Some(seal) = self.seal.take() {
            self.push(Role::Assistant, vec![hidden(seal)]);
        }
        self.messages
    }

    fn push(&mut self, role: Role, parts: Vec<Part<'a>>) {
        self.messages.push(Message {
            role,
            name: None,
            parts,
        });
    }

    fn message(&mut self, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
        let role = fields.need("role")?;
        let role = match &*role.str()? {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return Err(role.wrong("system, developer, user or assistant")),
        };
        let parts = content(&fields.need("content")?)?;
        // Only OpenAI's models tell the two apart.
        fields.skip(&["phase"]);
        self.push(role, parts);
        Ok(())
    }

    fn reasoning(&mut self, fields: &mut Fields<'a, '_>) -> Result<(), Error> {
        let mut text: Option<Cow<'a, str>> = None;
        for name in ["summary", "content"] {
            let Some(list) = fields.take(name) else {
                continue;
            };
            list.each(|_, node| {
                let mut part = node.fields()?;
                part.skip(&["type"]);
                let more = part.need("text")?.str()?;
                part.done()?;
                text = Some(match text.take() {
                    None => more,
                    Some(before) => Cow::Owned(format!("{before}\n\n{more}")),
                });
                Ok(())
            })?;
        }
        let id = fields.read("id", Node::str)?;
        let data = fields.read("encrypted_content", Node::str)?;
        let seal = data
            .filter(|data| !data.is_empty())
            .map(|data| seal(data, id));
        match (seal, self.messages.last_mut()) {
            (Some((seal, On::Before)), Some(last)) if !last.parts.is_empty() => {
                if let Some(part) = last.parts.last_mut() {
                    part.seal = Some(seal);
                }
            }
            (Some((seal, On::Behind)), _) => self.seal = Some(seal),
            (seal, _) => {
                let part = Part {
                    seal: seal.map(|(seal, _)| seal),
                    ..Content::Reasoning(text.unwrap_or_default()).into()
                };
                self.push(Role::Assistant, vec![part]);
            }
        }
        Ok(())
    }
}

fn hidden(seal: Seal<'_>) -> Part<'_> {
    Part {
        seal: Some(seal),
        ..Content::Reasoning(Cow::Borrowed("")).into()
    }
}

/// OpenAI's own seal, or another maker's in a token.
fn seal<'a>(data: Cow<'a, str>, id: Option<Cow<'a, str>>) -> (Seal<'a>, On) {
    let foreign = token::read(&data).map(|(seal, on)| (seal.into_owned(), on));
    foreign.unwrap_or((
        Seal {
            maker: Maker::OpenAi,
            form: SealForm::Encrypted,
            id,
            data,
        },
        On::Reasoning,
    ))
}

/// A text, or parts.
fn content<'a>(node: &Node<'a, '_>) -> Result<Vec<Part<'a>>, Error> {
    if node.is_text() {
        return Ok(vec![Part::text(node.str()?)]);
    }
    let mut parts = Vec::new();
    node.each(|_, node| {
        parts.push(part(&node)?);
        Ok(())
    })?;
    Ok(parts)
}

fn part<'a>(node: &Node<'a, '_>) -> Result<Part<'a>, Error> {
    let mut fields = node.fields()?;
    let kind = fields.need("type")?;
    let content = match &*kind.str()? {
        "input_text" | "output_text" | "text" => {
            // What an answer had and nobody wants back.
            fields.skip(&["annotations", "logprobs"]);
            Content::Text(fields.need("text")?.str()?)
        }
        "refusal" => Content::Refusal(fields.need("refusal")?.str()?),
        "input_image" => Content::Image {
            source: match fields.read("file_id", Node::str)? {
                Some(id) => Source::File(id),
                None => Source::from_url(fields.need("image_url")?.str()?),
            },
            detail: fields.read("detail", Node::str)?,
        },
        "input_file" => file(&mut fields)?,
        _ => return Err(kind.refuse("Everstream knows no such part of other APIs")),
    };
    let mark = fields.take("prompt_cache_breakpoint");
    let cache = mark.map(|_| CacheMark { ttl: None });
    fields.done()?;
    Ok(Part {
        cache,
        ..content.into()
    })
}

fn file<'a>(fields: &mut Fields<'a, '_>) -> Result<Content<'a>, Error> {
    // How closely to look, at the pages of a document.
    fields.skip(&["detail"]);
    let title = fields.read("filename", Node::str)?;
    let source = if let Some(id) = fields.read("file_id", Node::str)? {
        Source::File(id)
    } else if let Some(url) = fields.read("file_url", Node::str)? {
        Source::from_url(url)
    } else {
        match Source::from_url(fields.need("file_data")?.str()?) {
            // Bare base64, of the one kind of file that the API takes.
            Source::Url(data) if !data.contains("://") => Source::Base64 {
                media_type: Cow::Borrowed("application/pdf"),
                data,
            },
            source => source,
        }
    };
    Ok(Content::Document { source, title })
}
