use std::borrow::Cow;

use serde::Serialize;

use crate::ask::{Ask, Field, Message, Role};
use crate::content::{Content, Maker, Part, Seal, Source, ToolResult, short_hash};
use crate::error::Error;

/// Longest id of a call that OpenAI takes.
const CALL_ID_BYTES: usize = 64;

/// An item of a request.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum InputOut<'a> {
    Message {
        role: &'static str,
        content: Vec<PartOut<'a>>,
    },
    Reasoning {
        id: Cow<'a, str>,
        summary: Vec<SummaryOut<'a>>,
        encrypted_content: &'a str,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: OutputOut<'a>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SummaryOut<'a> {
    SummaryText { text: &'a str },
}

/// What a tool gave: a text, or parts.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutputOut<'a> {
    Text(&'a str),
    Parts(Vec<PartOut<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartOut<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
    },
    Refusal {
        refusal: &'a str,
    },
    InputImage {
        image_url: Cow<'a, str>,
        detail: &'a str,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
    },
}

/// Writes the conversation.
pub(super) fn input<'a>(ask: &'a Ask<'_>) -> Result<Vec<InputOut<'a>>, Error> {
    let mut writer = Writer {
        ask,
        out: Vec::new(),
    };
    for part in &ask.system {
        writer.part("developer", part, Field::Part(0, 0))?;
    }
    for (index, message) in ask.messages.iter().enumerate() {
        writer.message(index, message)?;
    }
    Ok(writer.out)
}

struct Writer<'a> {
    ask: &'a Ask<'a>,
    out: Vec<InputOut<'a>>,
}

impl<'a> Writer<'a> {
    fn message(&mut self, index: usize, message: &'a Message<'_>) -> Result<(), Error> {
        if message.name.is_some() {
            let why = "the Responses API has no names of speakers";
            return Err(self.ask.refuse(Field::Message(index), why));
        }
        let role = match message.role {
            Role::System => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        // The parts of one message are one, those of the next another.
        let before = self.out.len();
        for (at, part) in message.parts.iter().enumerate() {
            let first = self.out.len() == before;
            self.part_of(role, part, Field::Part(index, at), first)?;
        }
        Ok(())
    }

    fn part(&mut self, role: &'static str, part: &'a Part<'_>, field: Field) -> Result<(), Error> {
        let first = self.out.is_empty();
        self.part_of(role, part, field, first)
    }

    fn part_of(
        &mut self,
        role: &'static str,
        part: &'a Part<'_>,
        field: Field,
        first: bool,
    ) -> Result<(), Error> {
        let item = match &part.content {
            Content::Reasoning(text) => match part.seal.as_ref().and_then(|seal| own(text, seal)) {
                Some(item) => item,
                // OpenAI's models cannot read it.
                None => return Ok(()),
            },
            Content::ToolCall(call) => InputOut::FunctionCall {
                call_id: call_id(&call.id),
                name: &call.name,
                arguments: if call.arguments.is_empty() {
                    "{}"
                } else {
                    &call.arguments
                },
            },
            Content::ToolResult(result) => InputOut::FunctionCallOutput {
                call_id: call_id(&result.id),
                output: self.output(result, field)?,
            },
            _ => {
                let said = self.said(role == "assistant", part, field)?;
                if let Some(InputOut::Message {
                    role: last,
                    content,
                }) = self.out.last_mut()
                    && !first
                    && *last == role
                {
                    content.push(said);
                    return Ok(());
                }
                InputOut::Message {
                    role,
                    content: vec![said],
                }
            }
        };
        self.out.push(item);
        Ok(())
    }

    fn said(&self, model: bool, part: &'a Part<'_>, field: Field) -> Result<PartOut<'a>, Error> {
        Ok(match &part.content {
            Content::Text(text) if model => PartOut::OutputText { text },
            Content::Refusal(refusal) if model => PartOut::Refusal { refusal },
            _ if model => {
                let why = "the provider's models say only text";
                return Err(self.ask.refuse(field, why));
            }
            Content::Text(text)
            | Content::Refusal(text)
            | Content::Document {
                source: Source::Text(text),
                ..
            } => PartOut::InputText { text },
            Content::Image { source, detail } => PartOut::InputImage {
                image_url: source
                    .to_url()
                    .ok_or_else(|| self.ask.refuse(field, "it is a file of another provider's"))?,
                detail: detail.as_deref().unwrap_or("auto"),
            },
            Content::Document { source, title } => {
                let title = title.as_deref();
                match source {
                    Source::Url(url) => PartOut::InputFile {
                        filename: None,
                        file_data: None,
                        file_url: Some(url),
                    },
                    source => PartOut::InputFile {
                        filename: Some(title.unwrap_or("document.pdf")),
                        file_data: Some(source.to_url().ok_or_else(|| {
                            self.ask.refuse(field, "it is a file of another provider's")
                        })?),
                        file_url: None,
                    },
                }
            }
            Content::Audio(_) => {
                return Err(self.ask.refuse(field, "the Responses API takes no sound"));
            }
            Content::Reasoning(_) | Content::ToolCall(_) | Content::ToolResult(_) => {
                return Err(self.ask.refuse(field, "only the model says such a thing"));
            }
        })
    }

    fn output(&self, result: &'a ToolResult<'_>, field: Field) -> Result<OutputOut<'a>, Error> {
        match result.parts.as_slice() {
            [] => Ok(OutputOut::Text("")),
            [
                Part {
                    content: Content::Text(text),
                    ..
                },
            ] => Ok(OutputOut::Text(text)),
            parts => {
                let parts = parts.iter().map(|part| self.said(false, part, field));
                Ok(OutputOut::Parts(parts.collect::<Result<_, _>>()?))
            }
        }
    }
}

/// Reasoning as OpenAI sealed it.
fn own<'a>(text: &'a str, seal: &'a Seal<'_>) -> Option<InputOut<'a>> {
    if seal.maker != Maker::OpenAi {
        return None;
    }
    let shown = (!text.is_empty()).then_some(SummaryOut::SummaryText { text });
    let id = seal.id.as_deref().map(Cow::Borrowed);
    Some(InputOut::Reasoning {
        id: id.unwrap_or_else(|| format!("rs_{}", short_hash(&seal.data)).into()),
        summary: shown.into_iter().collect(),
        encrypted_content: &seal.data,
    })
}

/// An id that is short enough, and the same for the call and its result.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= CALL_ID_BYTES {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{}", short_hash(id)))
    }
}
