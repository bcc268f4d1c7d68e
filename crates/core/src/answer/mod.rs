//! The canonical model of an answer: what any provider says, for any client to hear.
//!
//! A provider's decoder turns its events into [`Delta`]s, a client's renderer turns deltas into its
//! events, and neither knows the other: N decoders and M renderers, never pairs of them. The same
//! answer as one value is an [`Answer`]: [`Fold`] puts deltas together, [`Answer::deltas`] takes
//! one apart. Where client and provider speak the same dialect nothing of this is used: their bytes
//! go through untouched.
//!
//! # The order of deltas
//! - [`Delta::Start`] comes once and first, [`Delta::End`] or [`Delta::Error`] once and last.
//! - [`Delta::Piece`]s of one choice build its parts in order. Text, reasoning and refusals go on
//!   with the part that was opened last if it is of their kind and not closed, else they open the
//!   next one. [`Piece::ToolCall`] and [`Piece::Media`] always open a part. [`Piece::Arguments`]
//!   name their call, since providers may write several calls at a time.
//! - [`Delta::Finish`] comes once for each choice, after its pieces.
//! - [`Delta::Usage`] may come anywhere and often: each replaces the one before, and decoders add
//!   up what their provider spreads over several events.
//! - No delta is empty: a decoder says nothing about an event that says nothing.

mod fold;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::content::{Content, Json, Part, Seal, Source, ToolCall};
use crate::event::Usage;
use crate::fault::Fault;

pub use fold::{Broken, Fold};

/// One step of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta<'a> {
    /// The answer begins.
    Start(Start<'a>),
    /// More of a choice.
    Piece {
        /// Which choice, from 0.
        choice: u32,
        /// What more.
        piece: Piece<'a>,
    },
    /// A choice is over.
    Finish {
        /// Which choice, from 0.
        choice: u32,
        /// Why.
        finish: Finish<'a>,
    },
    /// The tokens used so far, or in total.
    Usage(Usage),
    /// The provider gave up in the middle. What came before is not the whole answer.
    Error(Fault),
    /// The provider's own end of the answer: it is whole.
    End,
}

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start<'a> {
    /// The provider's id for the answer. Empty if it gave none.
    pub id: Cow<'a, str>,
    /// The model that answers, in the provider's words. Empty if it did not say.
    pub model: Cow<'a, str>,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
}

/// More of a choice.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'a> {
    /// More text.
    Text(Cow<'a, str>),
    /// More of what the model thinks.
    Reasoning(Cow<'a, str>),
    /// More of why the model does not answer.
    Refusal(Cow<'a, str>),
    /// A call of a tool begins.
    ToolCall {
        /// Which call of the choice, from 0 without holes.
        call: u32,
        /// Its id. Not empty: see [`stable_call_id`](crate::content::stable_call_id).
        id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// What has to come back with it.
        seal: Option<Seal<'a>>,
    },
    /// More of a call's arguments. A call without any has `{}` in one of these.
    Arguments {
        /// Which call of the choice.
        call: u32,
        /// The next piece of the JSON text, cut anywhere.
        json: Cow<'a, str>,
    },
    /// An image, sound or file that the model made, whole.
    Media(Source<'a>),
    /// What has to come back with the part that was opened last. Opens an empty [`Piece::Reasoning`]
    /// when no part is open: hidden reasoning.
    Seal(Seal<'a>),
    /// The part that was opened last is over; what comes opens another. Only where the border
    /// could not be seen otherwise, such as between two texts.
    Close,
    /// The log probabilities of the text before: a JSON array of OpenAI's token objects.
    Logprobs(Json<'a>),
    /// Something that only its own API knows.
    Extra(Extra<'a>),
}

/// A field of a provider's answer that has no place in the canonical model, such as citations. It
/// is shown to clients of other dialects in the extension member [`EXTENSION`].
#[derive(Clone, Debug, PartialEq)]
pub struct Extra<'a> {
    /// The API that it is from: `openai_chat`, `openai_responses`, `anthropic`, `gemini`, `bedrock`,
    /// `cohere`.
    pub dialect: &'static str,
    /// Its name there.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Json<'a>,
}

/// The member in which clients of any dialect see [`Extra`]s:
/// `{"anthropic":[{"name":"citation","value":{...}}]}`.
pub const EXTENSION: &str = "provider_fields";

impl Extra<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Extra<'static> {
        Extra {
            dialect: self.dialect,
            name: Cow::Owned(self.name.into_owned()),
            value: self.value.into_owned(),
        }
    }
}

/// Why a choice is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish<'a> {
    /// The kind of reason.
    pub reason: Reason,
    /// For [`Reason::StopSequence`] the sequence, if it is known; else the provider's own word where
    /// it says more than the reason does, such as `RECITATION` for a content filter.
    pub detail: Option<Cow<'a, str>>,
}

impl Finish<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Finish<'static> {
        Finish {
            reason: self.reason,
            detail: self.detail.map(|detail| Cow::Owned(detail.into_owned())),
        }
    }
}

impl From<Reason> for Finish<'_> {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }
}

/// The kinds of reasons for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The model said all.
    Stop,
    /// It came to a sequence that the request names.
    StopSequence,
    /// It came to a limit of tokens.
    Length,
    /// It waits for the results of tools.
    ToolCalls,
    /// A filter stopped it.
    ContentFilter,
    /// The model itself, or a classifier beside it, declined.
    Refusal,
    /// It paused a long turn, to be sent back as it is.
    PauseTurn,
    /// Another one: the detail has the provider's word, which clients get as it is.
    Other,
}

/// An answer as one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Who answers.
    pub start: Start<'static>,
    /// The choices, by index from 0.
    pub choices: Vec<Choice>,
    /// The tokens used, if the provider said so.
    pub usage: Option<Usage>,
}

/// One of the answers to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// What it says, in order.
    pub parts: Vec<Part<'static>>,
    /// Why it ended.
    pub finish: Option<Finish<'static>>,
    /// Log probabilities of its text: JSON arrays that follow on each other.
    pub logprobs: Vec<Json<'static>>,
    /// What only its own API knows.
    pub extras: Vec<Extra<'static>>,
}

impl Answer {
    /// The deltas of an answer that was not streamed, one for each part.
    pub fn deltas(&self) -> impl Iterator<Item = Delta<'_>> {
        let pieces = (0..).zip(&self.choices).flat_map(|(choice, said)| {
            let finish = said.finish.as_ref().map(|finish| Delta::Finish {
                choice,
                finish: borrow_finish(finish),
            });
            let pieces = said.pieces().into_iter();
            pieces
                .map(move |piece| Delta::Piece { choice, piece })
                .chain(finish)
        });
        std::iter::once(Delta::Start(borrow_start(&self.start)))
            .chain(pieces)
            .chain(self.usage.clone().map(Delta::Usage))
            .chain(std::iter::once(Delta::End))
    }
}

impl Choice {
    fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::with_capacity(2 * self.parts.len());
        let mut calls = 0;
        for part in &self.parts {
            part_pieces(part, &mut calls, &mut pieces);
        }
        let logprobs = self.logprobs.iter().cloned().map(Piece::Logprobs);
        pieces.extend(logprobs);
        pieces.extend(self.extras.iter().cloned().map(Piece::Extra));
        pieces
    }
}

fn part_pieces<'a>(part: &'a Part<'static>, calls: &mut u32, out: &mut Vec<Piece<'a>>) {
    match &part.content {
        Content::Text(text) => out.push(Piece::Text(Cow::Borrowed(text))),
        Content::Reasoning(text) if text.is_empty() => {}
        Content::Reasoning(text) => out.push(Piece::Reasoning(Cow::Borrowed(text))),
        Content::Refusal(text) => out.push(Piece::Refusal(Cow::Borrowed(text))),
        Content::ToolCall(ToolCall {
            id,
            name,
            arguments,
        }) => {
            let call = *calls;
            *calls += 1;
            out.push(Piece::ToolCall {
                call,
                id: Cow::Borrowed(id),
                name: Cow::Borrowed(name),
                seal: part.seal.clone(),
            });
            if !arguments.is_empty() {
                let json = Cow::Borrowed(&**arguments);
                out.push(Piece::Arguments { call, json });
            }
            out.push(Piece::Close);
            return;
        }
        Content::Image { source, .. }
        | Content::Audio(source)
        | Content::Document { source, .. } => out.push(Piece::Media(source.clone())),
        // A model does not say these.
        Content::ToolResult(_) => return,
    }
    out.extend(part.seal.clone().map(Piece::Seal));
    out.push(Piece::Close);
}

fn borrow_start<'a>(start: &'a Start<'static>) -> Start<'a> {
    Start {
        id: Cow::Borrowed(&start.id),
        model: Cow::Borrowed(&start.model),
        created: start.created,
    }
}

fn borrow_finish<'a>(finish: &'a Finish<'static>) -> Finish<'a> {
    Finish {
        reason: finish.reason,
        detail: finish.detail.as_deref().map(Cow::Borrowed),
    }
}
