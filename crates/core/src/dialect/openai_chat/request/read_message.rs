use std::borrow::Cow;

use super::super::reasoning::Detail;
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
    let message = match &*role.str()? {
        "system" | "developer" => plain(Role::System, &mut fields)?,
        "user" => plain(Role::User, &mut fields)?,
        "assistant" => assistant(&mut fields)?,
        "tool" => tool(&mut fields)?,
        "function" => return Err(role.refuse("it is deprecated: use the role tool")),
        _ => return Err(role.wrong("system, developer, user, assistant or tool")),
    };
    fields.done()?;
    Ok(message)
}

fn plain<'a>(role: Role, fields: &mut Fields<'a, '_>) -> Result<Message<'a>, Error> {
    Ok(Message {
        role,
        name: fields.read("name", Node::str)?,
        parts: content(&fields.need("content")?)?,
    })
}

fn tool<'a>(fields: &mut Fields<'a, '_>) -> Result<Message<'a>, Error> {
    let result = ToolResult {
        id: fields.need("tool_call_id")?.str()?,
        parts: content(&fields.need("content")?)?,
        is_error: false,
    };
    // The call has it too.
    fields.skip(&["name"]);
    Ok(Message {
        role: Role::User,
        name: None,
        parts: vec![Content::ToolResult(result).into()],
    })
}

fn assistant<'a>(fields: &mut Fields<'a, '_>) -> Result<Message<'a>, Error> {
    let mut parts = reasoning(fields)?;
    let before = parts.len();
    if let Some(node) = fields.take("content") {
        parts.extend(content(&node)?);
    }
    if let Some(seal) = google_seal(fields)? {
        match parts[before..].last_mut() {
            Some(part) => part.seal = Some(seal),
            None => parts.push(Part {
                seal: Some(seal),
                ..Content::Reasoning(Cow::Borrowed("")).into()
            }),
        }
    }
    if let Some(text) = fields.read("refusal", Node::str)? {
        parts.push(Content::Refusal(text).into());
    }
    if let Some(list) = fields.take("tool_calls") {
        list.each(|_, node| {
            parts.push(call(&node)?);
            Ok(())
        })?;
    }
    // SDKs write an empty text beside calls.
    if parts.len() > 1 {
        parts.retain(|part| !matches!(&part.content, Content::Text(text) if text.is_empty()));
    }
    // What an answer had and nobody wants back.
    fields.skip(&["annotations", "images", "provider_fields"]);
    Ok(Message {
        role: Role::Assistant,
        name: fields.read("name", Node::str)?,
        parts,
    })
}

/// The details say all that the plain texts do.
fn reasoning<'a>(fields: &mut Fields<'a, '_>) -> Result<Vec<Part<'a>>, Error> {
    let mut parts = Vec::new();
    if let Some(list) = fields.take("reasoning_details") {
        list.each(|_, node| {
            let detail: Detail<'a> = node.typed("a reasoning detail")?;
            let (text, seal) = detail.read();
            parts.push(Part {
                seal,
                ..Content::Reasoning(text.unwrap_or_default()).into()
            });
            Ok(())
        })?;
    }
    for name in ["reasoning_content", "reasoning"] {
        let text = fields.read(name, Node::str)?;
        if let Some(text) = text.filter(|text| !text.is_empty() && parts.is_empty()) {
            parts.push(Content::Reasoning(text).into());
        }
    }
    Ok(parts)
}

fn call<'a>(node: &Node<'a, '_>) -> Result<Part<'a>, Error> {
    let mut fields = node.fields()?;
    if let Some(kind) = fields.take("type")
        && kind.str()? != "function"
    {
        return Err(kind.refuse("only functions are tools everywhere"));
    }
    let function = fields.need("function")?;
    let mut inner = function.fields()?;
    let call = ToolCall {
        id: fields.need("id")?.str()?,
        name: inner.need("name")?.str()?,
        arguments: inner.read("arguments", Node::str)?.unwrap_or_default(),
    };
    inner.done()?;
    let seal = google_seal(&mut fields)?;
    // Left by clients that put their message together from a stream.
    fields.skip(&["index"]);
    fields.done()?;
    Ok(Part {
        seal,
        ..Content::ToolCall(call).into()
    })
}

fn google_seal<'a>(fields: &mut Fields<'a, '_>) -> Result<Option<Seal<'a>>, Error> {
    let Some(extra) = fields.take("extra_content") else {
        return Ok(None);
    };
    let mut extra = extra.fields()?;
    let google = extra.need("google")?;
    let mut inner = google.fields()?;
    let seal = Seal {
        maker: Maker::Google,
        form: SealForm::Signature,
        id: None,
        data: inner.need("thought_signature")?.str()?,
    };
    inner.done()?;
    extra.done()?;
    Ok(Some(seal))
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
        "text" => Content::Text(fields.need("text")?.str()?),
        "refusal" => Content::Refusal(fields.need("refusal")?.str()?),
        "image_url" => image(&fields.need("image_url")?)?,
        "input_audio" => audio(&fields.need("input_audio")?)?,
        "file" => file(&fields.need("file")?)?,
        _ => return Err(kind.refuse("Everstream knows no such part of other APIs")),
    };
    let cache = cache_mark(&mut fields)?;
    fields.done()?;
    Ok(Part {
        cache,
        ..content.into()
    })
}

fn image<'a>(node: &Node<'a, '_>) -> Result<Content<'a>, Error> {
    let mut fields = node.fields()?;
    let image = Content::Image {
        source: Source::from_url(fields.need("url")?.str()?),
        detail: fields.read("detail", Node::str)?,
    };
    fields.done()?;
    Ok(image)
}

fn audio<'a>(node: &Node<'a, '_>) -> Result<Content<'a>, Error> {
    let mut fields = node.fields()?;
    let format = fields.need("format")?;
    let media_type = match &*format.str()? {
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        _ => return Err(format.wrong("wav or mp3")),
    };
    let source = Source::Base64 {
        media_type: Cow::Borrowed(media_type),
        data: fields.need("data")?.str()?,
    };
    fields.done()?;
    Ok(Content::Audio(source))
}

fn file<'a>(node: &Node<'a, '_>) -> Result<Content<'a>, Error> {
    let mut fields = node.fields()?;
    let title = fields.read("filename", Node::str)?;
    let source = match fields.take("file_id") {
        Some(id) => Source::File(id.str()?),
        None => match Source::from_url(fields.need("file_data")?.str()?) {
            // Bare base64, of the one kind of file that the API takes.
            Source::Url(data) if !data.contains("://") => Source::Base64 {
                media_type: Cow::Borrowed("application/pdf"),
                data,
            },
            source => source,
        },
    };
    fields.done()?;
    Ok(Content::Document { source, title })
}

/// OpenAI's own mark, or Anthropic's, which OpenRouter and others take.
pub(super) fn cache_mark<'a>(fields: &mut Fields<'a, '_>) -> Result<Option<CacheMark<'a>>, Error> {
    for (name, kind) in [
        ("cache_control", "type"),
        ("prompt_cache_breakpoint", "mode"),
    ] {
        let Some(node) = fields.take(name) else {
            continue;
        };
        let mut inner = node.fields()?;
        inner.skip(&[kind]);
        let ttl = inner.read("ttl", Node::str)?;
        inner.done()?;
        return Ok(Some(CacheMark { ttl }));
    }
    Ok(None)
}
