use std::borrow::Cow;

use super::super::out::{CallOut, ExtraOut, FunctionOut};
use super::super::reasoning::DetailOut;
use super::call_id::call_id;
use super::out::{
    AssistantCall, AudioOut, CacheOut, ContentOut, FileOut, ImageOut, KindOut, MessageOut, PartOut,
    from_parts,
};
use crate::ask::{Ask, Field, Message, Role};
use crate::content::{Content, Maker, Part, Seal, Source, ToolCall, ToolResult};
use crate::dialect::traits::Traits;
use crate::dialect::translate::Target;
use crate::error::Error;

/// Writes the conversation.
///
/// The results of tools are messages of their own here, and hold only text. So what else a result
/// has follows, with whatever the person says beside the results, in a message of the person's.
pub(super) fn messages<'a>(
    ask: &'a Ask<'_>,
    target: &Target<'_>,
) -> Result<Vec<MessageOut<'a>>, Error> {
    let mut writer = Writer {
        ask,
        traits: target.traits,
        out: Vec::new(),
        after_results: Vec::new(),
    };
    if !ask.system.is_empty() {
        let content = from_parts(writer.content(0, &ask.system)?);
        writer.out.push(MessageOut {
            role: "system",
            content: Some(content),
            ..MessageOut::default()
        });
    }
    for (index, message) in ask.messages.iter().enumerate() {
        writer.message(index, message)?;
    }
    writer.flush();
    let prefilled = is_prefilled(ask);
    if prefilled && !target.traits.prefill {
        let last = Field::Message(ask.messages.len() - 1);
        return Err(ask.refuse(
            last,
            "the provider cannot go on from the beginning of an answer",
        ));
    }
    if prefilled && let Some(last) = writer.out.last_mut() {
        last.prefix = target.traits.prefill_mark == Some("prefix");
        last.partial = target.traits.prefill_mark == Some("partial");
    }
    Ok(writer.out)
}

/// Whether a request has the beginning of its answer.
pub(super) fn is_prefilled(ask: &Ask<'_>) -> bool {
    let last = ask.messages.last();
    last.is_some_and(|last| last.role == Role::Assistant)
}

struct Writer<'a, 't> {
    ask: &'a Ask<'a>,
    traits: &'t Traits,
    out: Vec<MessageOut<'a>>,
    /// What of results is no text, until the last of them is written.
    after_results: Vec<PartOut<'a>>,
}

impl<'a> Writer<'a, '_> {
    fn message(&mut self, index: usize, message: &'a Message<'_>) -> Result<(), Error> {
        let name = message.name.as_deref();
        if name.is_some() && !self.traits.speakers {
            let why = "the provider knows no names of speakers";
            return Err(self.ask.refuse(Field::Message(index), why));
        }
        let role = match message.role {
            Role::Assistant => {
                self.flush();
                let mut said = self.assistant(index, message)?;
                said.name = name;
                match self.out.last_mut() {
                    Some(last) if last.role == "assistant" && last.name == name => last.add(said),
                    _ => self.out.push(said),
                }
                return Ok(());
            }
            Role::System => {
                self.flush();
                "system"
            }
            Role::User => "user",
        };
        let is_result = |part: &Part<'_>| matches!(part.content, Content::ToolResult(_));
        for (at, part) in message.parts.iter().enumerate() {
            if let Content::ToolResult(result) = &part.content {
                self.result(index, at, result)?;
            }
        }
        if message.parts.iter().all(is_result) && !message.parts.is_empty() {
            return Ok(());
        }
        let mut parts = std::mem::take(&mut self.after_results);
        parts.extend(self.content(index, &message.parts)?);
        self.out.push(MessageOut {
            role,
            name,
            content: Some(from_parts(parts)),
            ..MessageOut::default()
        });
        Ok(())
    }

    fn flush(&mut self) {
        if !self.after_results.is_empty() {
            let parts = std::mem::take(&mut self.after_results);
            self.out.push(MessageOut {
                role: "user",
                content: Some(ContentOut::Parts(parts)),
                ..MessageOut::default()
            });
        }
    }

    fn result(&mut self, index: usize, at: usize, result: &'a ToolResult<'_>) -> Result<(), Error> {
        let mut texts = Vec::new();
        for part in &result.parts {
            let out = self.part(part, Field::Part(index, at))?;
            if matches!(out.kind, KindOut::Text { .. }) {
                texts.push(out);
            } else {
                self.after_results.push(out);
            }
        }
        self.out.push(MessageOut {
            role: "tool",
            tool_call_id: Some(call_id(&result.id, self.traits)),
            content: Some(from_parts(texts)),
            ..MessageOut::default()
        });
        Ok(())
    }

    /// The parts but for results.
    fn content(&self, index: usize, parts: &'a [Part<'_>]) -> Result<Vec<PartOut<'a>>, Error> {
        let said = parts.iter().enumerate();
        said.filter(|(_, part)| !matches!(part.content, Content::ToolResult(_)))
            .map(|(at, part)| self.part(part, Field::Part(index, at)))
            .collect()
    }

    fn part(&self, part: &'a Part<'_>, field: Field) -> Result<PartOut<'a>, Error> {
        let kind = match &part.content {
            Content::Text(text)
            | Content::Refusal(text)
            | Content::Document {
                source: Source::Text(text),
                ..
            } => KindOut::Text { text },
            Content::Image { source, detail } => KindOut::ImageUrl {
                image_url: ImageOut {
                    url: source.to_url().ok_or_else(|| {
                        self.ask.refuse(field, "it is a file of another provider's")
                    })?,
                    detail: detail.as_deref(),
                },
            },
            Content::Audio(source) => KindOut::InputAudio {
                input_audio: self.audio(source, field)?,
            },
            Content::Document { source, title } => KindOut::File {
                file: self.file(source, title.as_deref(), field)?,
            },
            Content::Reasoning(_) | Content::ToolCall(_) | Content::ToolResult(_) => {
                return Err(self.ask.refuse(field, "only the model says such a thing"));
            }
        };
        let cache = part.cache.as_ref();
        Ok(PartOut {
            kind,
            cache_control: cache
                .filter(|_| self.traits.cache_control)
                .map(CacheOut::from),
        })
    }

    fn audio(&self, source: &'a Source<'_>, field: Field) -> Result<AudioOut<'a>, Error> {
        let Source::Base64 { media_type, data } = source else {
            return Err(self
                .ask
                .refuse(field, "the provider takes sound only as base64"));
        };
        let format = match &**media_type {
            "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
            "audio/mpeg" | "audio/mp3" => "mp3",
            _ => {
                return Err(self
                    .ask
                    .refuse(field, "the provider takes sound as wav or mp3"));
            }
        };
        Ok(AudioOut { data, format })
    }

    fn file(
        &self,
        source: &'a Source<'_>,
        title: Option<&'a str>,
        field: Field,
    ) -> Result<FileOut<'a>, Error> {
        if !matches!(source, Source::Base64 { .. }) {
            return Err(self
                .ask
                .refuse(field, "the provider takes documents only as base64"));
        }
        Ok(FileOut {
            filename: title.unwrap_or("document.pdf"),
            file_data: source.to_url().unwrap_or_default(),
        })
    }

    fn assistant(&self, index: usize, message: &'a Message<'_>) -> Result<MessageOut<'a>, Error> {
        let mut out = MessageOut {
            role: "assistant",
            ..MessageOut::default()
        };
        let mut text: Option<Cow<'a, str>> = None;
        let mut reasoning = None;
        for (at, part) in message.parts.iter().enumerate() {
            let seal = part.seal.as_ref();
            match &part.content {
                Content::Text(more) => {
                    text = Some(match text {
                        None => Cow::Borrowed(&**more),
                        Some(before) => before + &**more,
                    });
                    out.extra_content = self.google(seal).or(out.extra_content);
                }
                Content::Refusal(more) => out.refusal.get_or_insert_default().push_str(more),
                Content::Reasoning(more) => {
                    reasoning.get_or_insert_with(String::new).push_str(more);
                    if self.traits.reasoning_details {
                        let number = u32::try_from(out.reasoning_details.len());
                        let shown = Some(&**more).filter(|text| !text.is_empty());
                        let number = number.unwrap_or(u32::MAX);
                        out.reasoning_details
                            .push(DetailOut::new(number, shown, seal));
                    }
                }
                Content::ToolCall(call) => out.tool_calls.push(self.call(call, seal)),
                _ => {
                    let field = Field::Part(index, at);
                    return Err(self
                        .ask
                        .refuse(field, "the provider's models say only text"));
                }
            }
        }
        let reasoning = reasoning.filter(|text| !text.is_empty());
        match self.traits.reasoning_member {
            Some("reasoning") => out.reasoning = reasoning,
            Some(_) => out.reasoning_content = reasoning,
            None => {}
        }
        if out.tool_calls.is_empty() && out.refusal.is_none() {
            text = text.or(Some(Cow::Borrowed("")));
        }
        out.content = text.map(ContentOut::Text);
        Ok(out)
    }

    fn call(&self, call: &'a ToolCall<'_>, seal: Option<&'a Seal<'_>>) -> AssistantCall<'a> {
        let arguments = if call.arguments.is_empty() {
            "{}"
        } else {
            &*call.arguments
        };
        AssistantCall {
            id: call_id(&call.id, self.traits),
            call: CallOut {
                kind: Some("function"),
                function: Some(FunctionOut {
                    name: Some(&call.name),
                    arguments,
                }),
                extra_content: self.google(seal),
                ..CallOut::default()
            },
        }
    }

    /// Google's seals, for Google's own version of the API and those who pass them on.
    fn google(&self, seal: Option<&'a Seal<'_>>) -> Option<ExtraOut<'a>> {
        let seal = seal.filter(|seal| seal.maker == Maker::Google);
        ExtraOut::of(seal.filter(|_| self.traits.reasoning_details))
    }
}
