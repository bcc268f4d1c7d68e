use std::borrow::Cow;

use super::super::out::{compact, media_type_of};
use super::super::seal;
use crate::ask::{Message, Role};
use crate::content::{Content, Json, Part, Seal, Source, ToolCall, ToolResult, stable_call_id};
use crate::dialect::json::{for_each_member, text_of};
use crate::dialect::read::{Fields, Node};
use crate::error::Error;

/// The calls of the conversation that have no result yet, by name. Not every client names them by
/// their ids, which are then made up.
#[derive(Default)]
pub(super) struct Calls<'a> {
    open: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    made: u32,
}

impl<'a> Calls<'a> {
    fn call(&mut self, name: &Cow<'a, str>, id: Option<Cow<'a, str>>) -> Cow<'a, str> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            self.made += 1;
            stable_call_id("request", 0, self.made).into()
        });
        self.open.push((name.clone(), id.clone()));
        id
    }

    /// The id of the call that a result is of.
    fn result(&mut self, name: &str, id: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        let id = id.filter(|id| !id.is_empty());
        let at = self.open.iter().position(|(tool, open)| match &id {
            Some(id) => id == open,
            None => tool == name,
        });
        let open = at.map(|at| self.open.remove(at).1);
        id.or(open)
    }
}

/// Reads one of the `contents`.
pub(super) fn message<'a>(
    node: &Node<'a, '_>,
    calls: &mut Calls<'a>,
) -> Result<Message<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let role = match fields.take("role") {
        None => Role::User,
        Some(role) => match &*role.str()? {
            "user" | "function" | "tool" => Role::User,
            "model" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(role.wrong("user or model")),
        },
    };
    let mut parts = Parts {
        said: role == Role::Assistant,
        list: Vec::new(),
        open: false,
    };
    fields
        .need("parts")?
        .each(|_, node| parts.add(&node, calls))?;
    fields.done()?;
    Ok(Message {
        role,
        name: None,
        parts: parts.list,
    })
}

/// Reads `systemInstruction`, which is texts. SDKs may write it as one.
pub(super) fn system<'a>(node: &Node<'a, '_>) -> Result<Vec<Part<'a>>, Error> {
    if node.is_text() {
        return Ok(vec![Part::text(node.str()?)]);
    }
    let mut fields = node.camel_fields()?;
    fields.skip(&["role"]);
    let mut texts = Vec::new();
    fields.need("parts")?.each(|_, node| {
        let mut part = node.camel_fields()?;
        texts.push(Part::text(part.need("text")?.str()?));
        part.done()
    })?;
    fields.done()?;
    Ok(texts)
}

/// The parts of a message so far.
struct Parts<'a> {
    /// By the model: clients that put a stream together leave a thought in the pieces that it came
    /// in, and its signature on an empty one.
    said: bool,
    list: Vec<Part<'a>>,
    /// The last part is an unsealed thought or text of such a stream.
    open: bool,
}

impl<'a> Parts<'a> {
    fn add(&mut self, node: &Node<'a, '_>, calls: &mut Calls<'a>) -> Result<(), Error> {
        let mut fields = node.camel_fields()?;
        let thought = fields.read("thought", Node::bool)?.unwrap_or(false);
        let signature = fields.read("thoughtSignature", Node::str)?;
        let seal = signature.filter(|data| !data.is_empty()).map(seal::read);
        fields.skip(&["partMetadata"]);
        let detail = detail(&mut fields)?;
        let content = if let Some(node) = fields.take("functionCall") {
            Some(call(&node, calls)?)
        } else if let Some(node) = fields.take("functionResponse") {
            Some(result(&node, calls)?)
        } else if let Some(node) = fields.take("inlineData") {
            Some(inline(&node, detail)?)
        } else if let Some(node) = fields.take("fileData") {
            Some(file(&node, detail)?)
        } else {
            None
        };
        let text = fields.read("text", Node::str)?;
        fields.done()?;
        match content {
            Some(content) => {
                self.list.push(Part {
                    seal,
                    ..content.into()
                });
                self.open = false;
            }
            None => self.text(text.unwrap_or_default(), thought, seal),
        }
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>, thought: bool, seal: Option<Seal<'a>>) {
        let last = self.list.last_mut().filter(|_| self.said && self.open);
        self.open = seal.is_none();
        match last.map(|part| (&mut part.content, &mut part.seal)) {
            Some((Content::Reasoning(before), sealed)) if thought => {
                before.to_mut().push_str(&text);
                *sealed = seal;
            }
            Some((Content::Text(_), sealed)) if !thought && text.is_empty() => *sealed = seal,
            _ if thought || (self.said && text.is_empty() && seal.is_some()) => {
                self.list.push(Part {
                    seal,
                    ..Content::Reasoning(text).into()
                });
            }
            _ => self.list.push(Part {
                seal,
                ..Part::text(text)
            }),
        }
    }
}

fn call<'a>(node: &Node<'a, '_>, calls: &mut Calls<'a>) -> Result<Content<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let name = fields.need("name")?.str()?;
    let id = fields.read("id", Node::str)?;
    let args = fields.read("args", Node::object)?;
    fields.done()?;
    Ok(Content::ToolCall(ToolCall {
        id: calls.call(&name, id),
        name,
        arguments: args.map_or(Cow::Borrowed("{}"), |args| line(args.into_text())),
    }))
}

fn line(json: Cow<'_, str>) -> Cow<'_, str> {
    match json {
        Cow::Borrowed(json) => compact(json),
        Cow::Owned(json) => Cow::Owned(compact(&json).into_owned()),
    }
}

fn result<'a>(node: &Node<'a, '_>, calls: &mut Calls<'a>) -> Result<Content<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let name = fields.need("name")?.str()?;
    let id = fields.read("id", Node::str)?;
    let id = calls
        .result(&name, id)
        .ok_or_else(|| node.wrong("the response to a functionCall before it"))?;
    let response = fields.need("response")?.object()?;
    let (text, is_error) = response_text(response).map_err(|_| node.wrong("a response"))?;
    let mut parts = vec![Part::text(text)];
    if let Some(list) = fields.take("parts") {
        list.each(|_, node| {
            let mut part = node.camel_fields()?;
            let content = match part.take("fileData") {
                Some(node) => file(&node, None)?,
                None => inline(&part.need("inlineData")?, None)?,
            };
            parts.push(content.into());
            part.done()
        })?;
    }
    fields.done()?;
    Ok(Content::ToolResult(ToolResult {
        id,
        parts,
        is_error,
    }))
}

/// What a response says, and whether it is an error: its `output` or `error` where it has nothing
/// else, or all of it.
fn response_text(response: Json<'_>) -> Result<(Cow<'_, str>, bool), serde_json::Error> {
    let text = response.into_text();
    let mut only = None;
    let mut count = 0;
    for_each_member(text.as_bytes(), |member| {
        count += 1;
        let is_error = match &*member.key {
            "output" => false,
            "error" => true,
            _ => return Ok::<_, serde_json::Error>(()),
        };
        only = Some((is_error, member.span));
        Ok(())
    })?;
    let Some((is_error, span)) = only.filter(|_| count == 1) else {
        return Ok((line(text), false));
    };
    let value = match &text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[span]),
        Cow::Owned(text) => Cow::Owned(text[span].to_owned()),
    };
    let said = match value {
        Cow::Borrowed(value) if value.starts_with('"') => text_of(value)?,
        Cow::Owned(value) if value.starts_with('"') => Cow::Owned(text_of(&value)?.into_owned()),
        value => line(value),
    };
    Ok((said, is_error))
}

fn detail<'a>(fields: &mut Fields<'a, '_>) -> Result<Option<Cow<'a, str>>, Error> {
    let Some(node) = fields.take("mediaResolution") else {
        return Ok(None);
    };
    let mut inner = node.camel_fields()?;
    let level = inner.read("level", Node::str)?.unwrap_or_default();
    inner.done()?;
    Ok(match &*level {
        "MEDIA_RESOLUTION_LOW" => Some(Cow::Borrowed("low")),
        "MEDIA_RESOLUTION_HIGH" | "MEDIA_RESOLUTION_ULTRA_HIGH" => Some(Cow::Borrowed("high")),
        _ => None,
    })
}

fn inline<'a>(node: &Node<'a, '_>, detail: Option<Cow<'a, str>>) -> Result<Content<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let kind = fields.need("mimeType")?;
    let media_type = kind.str()?;
    let title = fields.read("displayName", Node::str)?;
    let data = seal::standard(fields.need("data")?.str()?);
    fields.done()?;
    let of = media_type.clone();
    media(
        &kind,
        &of,
        Source::Base64 { media_type, data },
        title,
        detail,
    )
}

fn file<'a>(node: &Node<'a, '_>, detail: Option<Cow<'a, str>>) -> Result<Content<'a>, Error> {
    let mut fields = node.camel_fields()?;
    let place = fields.need("fileUri")?;
    let uri = place.str()?;
    let title = fields.read("displayName", Node::str)?;
    let known = fields.read("mimeType", Node::str)?;
    fields.done()?;
    if !uri.starts_with("http") || uri.contains("googleapis.com/") || uri.contains("youtube.com/") {
        return Err(place.refuse("only Google has this file: give its bytes, or a public URL"));
    }
    let media_type = known.or_else(|| media_type_of(&uri).map(Cow::Borrowed));
    let media_type = media_type.unwrap_or(Cow::Borrowed("application/pdf"));
    media(&place, &media_type, Source::Url(uri), title, detail)
}

fn media<'a>(
    place: &Node<'a, '_>,
    media_type: &str,
    source: Source<'a>,
    title: Option<Cow<'a, str>>,
    detail: Option<Cow<'a, str>>,
) -> Result<Content<'a>, Error> {
    match media_type.split('/').next().unwrap_or_default() {
        "image" => Ok(Content::Image { source, detail }),
        "audio" => Ok(Content::Audio(source)),
        "video" => Err(place.refuse("only this API takes videos")),
        _ => Ok(Content::Document { source, title }),
    }
}
