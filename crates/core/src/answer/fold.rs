use std::borrow::Cow;

use super::{Answer, Choice, Delta, Piece, Start};
use crate::content::{Content, Seal, Source, ToolCall};
use crate::fault::Fault;
use crate::limits::ANSWER_CHOICES;

/// Puts the deltas of an answer together.
#[derive(Debug, Default)]
pub struct Fold {
    answer: Answer,
    open: Vec<Open>,
    fault: Option<Fault>,
    ended: bool,
}

/// What of a choice is still being built.
#[derive(Debug, Default)]
struct Open {
    /// The part opened last may go on.
    part: bool,
    /// Where the calls are among the parts.
    calls: Vec<usize>,
}

/// Why deltas are no whole answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// The provider gave up.
    Fault(Fault),
    /// There was no end.
    Cut,
}

impl Fold {
    /// Takes the next delta. Choices beyond [`ANSWER_CHOICES`] and arguments of calls that never
    /// began are nothing that a decoder says, and are left out.
    pub fn push(&mut self, delta: &Delta<'_>) {
        match delta {
            Delta::Start(start) => {
                self.answer.start = Start {
                    id: owned(&start.id),
                    model: owned(&start.model),
                    created: start.created,
                }
            }
            Delta::Piece { choice, piece } => {
                if let Some((choice, open)) = self.choice(*choice) {
                    open.add(choice, piece);
                }
            }
            Delta::Finish { choice, finish } => {
                if let Some((choice, open)) = self.choice(*choice) {
                    open.part = false;
                    choice.finish = Some(finish.clone().into_owned());
                }
            }
            Delta::Usage(usage) => self.answer.usage = Some(usage.clone()),
            Delta::Error(fault) => self.fault = Some(fault.clone()),
            Delta::End => self.ended = true,
        }
    }

    /// The answer, if it is whole.
    pub fn finish(self) -> Result<Answer, Broken> {
        match self.fault {
            Some(fault) => Err(Broken::Fault(fault)),
            None if self.ended => Ok(self.answer),
            None => Err(Broken::Cut),
        }
    }

    fn choice(&mut self, index: u32) -> Option<(&mut Choice, &mut Open)> {
        if index >= ANSWER_CHOICES {
            return None;
        }
        let index = index as usize;
        if self.answer.choices.len() <= index {
            self.answer.choices.resize_with(index + 1, Choice::default);
            self.open.resize_with(index + 1, Open::default);
        }
        Some((
            self.answer.choices.get_mut(index)?,
            self.open.get_mut(index)?,
        ))
    }
}

impl Open {
    fn add(&mut self, choice: &mut Choice, piece: &Piece<'_>) {
        match piece {
            Piece::Text(text) => match self.last(choice) {
                Some(Content::Text(before)) => before.to_mut().push_str(text),
                _ => self.start(choice, Content::Text(owned(text))),
            },
            Piece::Reasoning(text) => match self.last(choice) {
                Some(Content::Reasoning(before)) => before.to_mut().push_str(text),
                _ => self.start(choice, Content::Reasoning(owned(text))),
            },
            Piece::Refusal(text) => match self.last(choice) {
                Some(Content::Refusal(before)) => before.to_mut().push_str(text),
                _ => self.start(choice, Content::Refusal(owned(text))),
            },
            Piece::ToolCall { id, name, seal, .. } => {
                self.calls.push(choice.parts.len());
                let call = ToolCall {
                    id: owned(id),
                    name: owned(name),
                    arguments: Cow::Borrowed(""),
                };
                self.start(choice, Content::ToolCall(call));
                put(seal.as_ref(), choice);
            }
            Piece::Arguments { call, json } => {
                let at = self.calls.get(*call as usize);
                let part = at.and_then(|&at| choice.parts.get_mut(at));
                if let Some(Content::ToolCall(call)) = part.map(|part| &mut part.content) {
                    call.arguments.to_mut().push_str(json);
                }
            }
            Piece::Media(source) => self.start(choice, media(source.clone().into_owned())),
            Piece::Seal(seal) => {
                if !self.part {
                    self.start(choice, Content::Reasoning(Cow::Borrowed("")));
                }
                put(Some(seal), choice);
            }
            Piece::Close => self.part = false,
            Piece::Logprobs(list) => choice.logprobs.push(list.clone().into_owned()),
            Piece::Extra(extra) => choice.extras.push(extra.clone().into_owned()),
        }
    }

    fn last<'c>(&self, choice: &'c mut Choice) -> Option<&'c mut Content<'static>> {
        let last = choice.parts.last_mut().filter(|_| self.part)?;
        Some(&mut last.content)
    }

    fn start(&mut self, choice: &mut Choice, content: Content<'static>) {
        choice.parts.push(content.into());
        self.part = true;
    }
}

fn put(seal: Option<&Seal<'_>>, choice: &mut Choice) {
    if let (Some(part), Some(seal)) = (choice.parts.last_mut(), seal) {
        part.seal = Some(seal.clone().into_owned());
    }
}

/// What a model made, by its media type.
fn media(source: Source<'static>) -> Content<'static> {
    let kind = match &source {
        Source::Base64 { media_type, .. } => media_type.split('/').next().unwrap_or_default(),
        Source::Text(_) => "text",
        Source::Url(_) | Source::File(_) => "image",
    };
    match kind {
        "image" => Content::Image {
            source,
            detail: None,
        },
        "audio" => Content::Audio(source),
        _ => Content::Document {
            source,
            title: None,
        },
    }
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
