use std::borrow::Cow;
use std::collections::HashMap;

use super::super::out::{ContentOut, PartOut, ResponseOut, ResultOut, args};
use crate::ask::{Ask, Field, Message, Role};
use crate::content::{Content, Json, Maker, Part, Seal, Source, ToolCall, ToolResult};
use crate::dialect::json::for_each_member;
use crate::dialect::translate::Target;
use crate::error::Error;

/// Google's word for a call that another model made: from Gemini 3 on, the first call of each turn
/// has to have a signature.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>
pub(in crate::dialect::gemini) const UNSIGNED: &str = "skip_thought_signature_validator";

/// What the system says, wherever it said it, and what the two sides say in turns.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<PartOut<'a>>,
    pub(super) contents: Vec<ContentOut<'a>>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(ask: &'a Ask<'_>, target: &Target<'_>) -> Result<Self, Error> {
        let mut all = Self {
            system: Vec::new(),
            contents: Vec::new(),
        };
        let writer = Writer {
            ask,
            tools: tools(ask),
            call_ids: target.traits.call_ids,
        };
        for part in &ask.system {
            all.system.extend(writer.system(part, Field::Part(0, 0))?);
        }
        for (index, message) in ask.messages.iter().enumerate() {
            all.message(&writer, index, message)?;
        }
        if target.traits.gemini_3 {
            all.contents.iter_mut().for_each(sign);
        }
        Ok(all)
    }

    fn message(
        &mut self,
        writer: &Writer<'a>,
        index: usize,
        message: &'a Message<'_>,
    ) -> Result<(), Error> {
        if message.name.is_some() {
            let why = "Gemini's API has no names of speakers";
            return Err(writer.ask.refuse(Field::Message(index), why));
        }
        let alone = message.parts.len() == 1;
        let mut parts = Vec::with_capacity(message.parts.len());
        for (at, part) in message.parts.iter().enumerate() {
            let field = Field::Part(index, at);
            if message.role == Role::System {
                self.system.extend(writer.system(part, field)?);
            } else if alone || !matches!(&part.content, Content::Text(text) if text.is_empty()) {
                // An empty text says nothing beside others.
                parts.extend(writer.part(part, field)?);
            }
        }
        let role = match message.role {
            Role::System => return Ok(()),
            Role::User => "user",
            Role::Assistant => "model",
        };
        match self.contents.last_mut() {
            Some(last) if last.role == role => last.parts.extend(parts),
            _ if parts.is_empty() => {}
            _ => self.contents.push(ContentOut { parts, role }),
        }
        Ok(())
    }
}

/// Marks the first call of a turn, if it has no signature.
fn sign(content: &mut ContentOut<'_>) {
    let mut parts = content.parts.iter_mut();
    if let Some(call) = parts.find(|part| part.function_call.is_some()) {
        let signature = &mut call.thought_signature;
        signature.get_or_insert(Cow::Borrowed(UNSIGNED));
    }
}

/// The tools that calls are of, by the calls' ids: results do not have them.
fn tools<'a>(ask: &'a Ask<'_>) -> HashMap<&'a str, &'a str> {
    let parts = ask.messages.iter().flat_map(|message| &message.parts);
    let calls = parts.filter_map(|part| match &part.content {
        Content::ToolCall(call) => Some((&*call.id, &*call.name)),
        _ => None,
    });
    calls.collect()
}

struct Writer<'a> {
    ask: &'a Ask<'a>,
    tools: HashMap<&'a str, &'a str>,
    call_ids: bool,
}

impl<'a> Writer<'a> {
    fn system(&self, part: &'a Part<'_>, field: Field) -> Result<Option<PartOut<'a>>, Error> {
        match &part.content {
            Content::Text(text) if text.is_empty() => Ok(None),
            Content::Text(text) => Ok(Some(PartOut::text(text))),
            _ => Err(self
                .ask
                .refuse(field, "Gemini's API takes only texts of the system's")),
        }
    }

    /// A part; none for reasoning that Google's models cannot read.
    fn part(&self, part: &'a Part<'_>, field: Field) -> Result<Option<PartOut<'a>>, Error> {
        let seal = part.seal.as_ref().and_then(own);
        let out = match &part.content {
            Content::Text(text) | Content::Refusal(text) => PartOut::text(text),
            Content::Reasoning(_) if seal.is_none() => return Ok(None),
            // It was on an empty text.
            Content::Reasoning(text) if text.is_empty() => PartOut::text(text),
            Content::Reasoning(text) => PartOut::thought(text),
            Content::ToolCall(call) => self.call(call, field)?,
            Content::ToolResult(result) => PartOut {
                function_response: Some(self.result(result, field)?),
                ..PartOut::default()
            },
            Content::Image { source, .. }
            | Content::Audio(source)
            | Content::Document { source, .. } => self.media(source, field)?,
        };
        Ok(Some(PartOut {
            thought_signature: seal,
            ..out
        }))
    }

    fn media(&self, source: &'a Source<'_>, field: Field) -> Result<PartOut<'a>, Error> {
        match source {
            Source::File(_) => Err(self.ask.refuse(field, "it is a file of another provider's")),
            source => Ok(PartOut::media(source)),
        }
    }

    fn call(&self, call: &'a ToolCall<'_>, field: Field) -> Result<PartOut<'a>, Error> {
        let args = args(&call.arguments).ok_or_else(|| {
            let why = "the arguments of its tool call are not a JSON object";
            self.ask.refuse(field, why)
        })?;
        Ok(PartOut::call(self.id(&call.id), &call.name, args))
    }

    /// Without ids results belong to calls by their names and their order.
    fn id(&self, id: &'a str) -> &'a str {
        if self.call_ids { id } else { "" }
    }

    fn result(&self, result: &'a ToolResult<'_>, field: Field) -> Result<ResponseOut<'a>, Error> {
        let name = self.tools.get(&*result.id).copied().ok_or_else(|| {
            let why = "Gemini's API wants the tool's name, and its call is not in the request";
            self.ask.refuse(field, why)
        })?;
        let mut text = Cow::Borrowed("");
        let mut parts = Vec::new();
        for part in &result.parts {
            match &part.content {
                Content::Text(more)
                | Content::Document {
                    source: Source::Text(more),
                    ..
                } => text += &**more,
                Content::Image { source, .. }
                | Content::Audio(source)
                | Content::Document { source, .. } => parts.push(self.media(source, field)?),
                _ => {
                    return Err(self.ask.refuse(field, "a tool's result is texts and files"));
                }
            }
        }
        Ok(ResponseOut {
            id: self.id(&result.id),
            name,
            response: response(text, result.is_error),
            parts,
        })
    }
}

/// Google's own seal.
fn own<'a>(seal: &'a Seal<'_>) -> Option<Cow<'a, str>> {
    (seal.maker == Maker::Google).then_some(Cow::Borrowed(&*seal.data))
}

/// An object is the response itself, unless the API would take it for something else.
fn response(text: Cow<'_, str>, is_error: bool) -> ResultOut<'_> {
    if is_error {
        return ResultOut::Error { error: text };
    }
    let mut plain = true;
    let walked = for_each_member(text.as_bytes(), |member| {
        plain &= !matches!(&*member.key, "output" | "error");
        Ok::<_, serde_json::Error>(())
    });
    match Json::parse(&text) {
        Ok(object) if walked.is_ok() && plain => ResultOut::Object(object.into_owned()),
        _ => ResultOut::Output { output: text },
    }
}
