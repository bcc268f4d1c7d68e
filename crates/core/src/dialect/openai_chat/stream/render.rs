use std::collections::BTreeMap;

use bytes::Bytes;

use crate::answer::{Delta, Extra, Finish, Piece};
use crate::content::{Maker, Seal};
use crate::dialect::openai_chat::out::{
    CallOut, ChoiceOut, ChunkOut, DeltaOut, ExtraOut, FunctionOut, ImageOut, LogprobsOut, NamedOut,
    TextOut,
};
use crate::dialect::openai_chat::reasoning::DetailOut;
use crate::dialect::openai_chat::usage::UsageOut;
use crate::dialect::openai_chat::{finish, write_error};
use crate::dialect::translate::ReplyHead;
use crate::dialect::wire::EventWriter;
use crate::event::Usage;
use crate::frame::sse::SseEvent;

/// Deltas to chunks: for each choice one with the role, then its pieces, one with the reason for
/// its end; then the usage, if it is to be shown, and `[DONE]`.
#[derive(Debug)]
pub struct Renderer {
    head: ReplyHead,
    writer: EventWriter,
    choices: Vec<State>,
    usage: Option<Usage>,
}

/// A choice so far.
#[derive(Debug, Default)]
struct State {
    started: bool,
    open: Open,
    /// The `index` of the reasoning detail that is open, or else of the next one.
    detail: u32,
    /// The call that began last.
    call: u32,
    /// How many images there are so far.
    images: u32,
    /// How many of the provider's own fields.
    extras: u32,
    refused: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    None,
    Text,
    Reasoning,
    Call,
}

impl Renderer {
    pub(in crate::dialect) fn new(head: ReplyHead) -> Self {
        Self {
            head,
            writer: EventWriter::default(),
            choices: Vec::new(),
            usage: None,
        }
    }

    pub(in crate::dialect) fn push(&mut self, delta: &Delta<'_>, out: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start(start) => self.head.take(start),
            Delta::Piece { choice, piece } => self.piece(*choice, piece, out),
            Delta::Finish { choice, finish } => self.finish(*choice, finish, out),
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
            Delta::Error(fault) => out.push(SseEvent {
                name: Bytes::new(),
                data: write_error(fault),
            }),
            Delta::End => {
                if let Some(usage) = self.usage.take().filter(|_| self.head.show_usage) {
                    let event = self.chunk(&[], Some(UsageOut::from(&usage)));
                    out.push(event);
                }
                out.push(SseEvent {
                    name: Bytes::new(),
                    data: Bytes::from_static(b"[DONE]"),
                });
            }
        }
    }

    fn piece(&mut self, choice: u32, piece: &Piece<'_>, out: &mut Vec<SseEvent>) {
        let Some(state) = self.state(choice) else {
            return;
        };
        let starts = !std::mem::replace(&mut state.started, true);
        let (delta, logprobs) = match piece {
            Piece::Logprobs(list) => (None, Some(list)),
            piece => (state.delta(piece), None),
        };
        if starts {
            self.role(choice, matches!(piece, Piece::Text(_)), out);
        }
        if delta.is_none() && logprobs.is_none() {
            return;
        }
        let said = ChoiceOut {
            index: choice,
            delta: delta.unwrap_or_default(),
            logprobs: logprobs.map(|content| LogprobsOut {
                content,
                refusal: None,
            }),
            ..ChoiceOut::default()
        };
        let event = self.chunk(&[said], None);
        out.push(event);
    }

    fn role(&mut self, choice: u32, is_text: bool, out: &mut Vec<SseEvent>) {
        let content = if is_text {
            TextOut::Text("")
        } else {
            TextOut::Null
        };
        let delta = DeltaOut {
            role: Some("assistant"),
            content: Some(content),
            ..DeltaOut::default()
        };
        let said = ChoiceOut {
            index: choice,
            delta,
            ..ChoiceOut::default()
        };
        let event = self.chunk(&[said], None);
        out.push(event);
    }

    fn finish(&mut self, choice: u32, finish: &Finish<'_>, out: &mut Vec<SseEvent>) {
        let Some(state) = self.state(choice) else {
            return;
        };
        let refused = state.refused;
        if !std::mem::replace(&mut state.started, true) {
            self.role(choice, true, out);
        }
        let words = finish::write(finish, refused);
        let said = ChoiceOut {
            index: choice,
            finish_reason: Some(words.finish_reason),
            native_finish_reason: words.native,
            stop_reason: words.stop_sequence,
            ..ChoiceOut::default()
        };
        let event = self.chunk(&[said], None);
        out.push(event);
    }

    fn state(&mut self, choice: u32) -> Option<&mut State> {
        let at = choice as usize;
        if choice >= crate::limits::ANSWER_CHOICES {
            return None;
        }
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, State::default);
        }
        self.choices.get_mut(at)
    }

    fn chunk(&mut self, choices: &[ChoiceOut<'_>], usage: Option<UsageOut>) -> SseEvent {
        let chunk = ChunkOut {
            id: &self.head.id,
            object: "chat.completion.chunk",
            created: self.head.created,
            model: &self.head.model,
            choices,
            usage,
        };
        self.writer.event("", &chunk)
    }
}

impl State {
    /// What a piece adds to the message; nothing if it only ends a part.
    fn delta<'a>(&mut self, piece: &'a Piece<'_>) -> Option<DeltaOut<'a>> {
        let mut delta = DeltaOut::default();
        match piece {
            Piece::Text(text) => {
                self.open(Open::Text);
                delta.content = Some(TextOut::Text(text));
            }
            Piece::Reasoning(text) => {
                self.open(Open::Reasoning);
                delta.reasoning_content = Some(text);
                delta.reasoning_details = Some([DetailOut::new(self.detail, Some(text), None)]);
            }
            Piece::Refusal(text) => {
                self.open(Open::None);
                self.refused = true;
                delta.refusal = Some(text);
            }
            Piece::ToolCall {
                call,
                id,
                name,
                seal,
            } => {
                if let Some(seal) = seal.as_ref().filter(|seal| seal.maker != Maker::Google) {
                    self.open(Open::None);
                    self.seal(seal, &mut delta);
                }
                self.open(Open::Call);
                self.call = *call;
                delta.tool_calls = Some([CallOut {
                    index: Some(*call),
                    id: Some(id),
                    kind: Some("function"),
                    function: Some(FunctionOut {
                        name: Some(name),
                        arguments: "",
                    }),
                    extra_content: ExtraOut::of(seal.as_ref()),
                }]);
            }
            Piece::Arguments { call, json } => {
                delta.tool_calls = Some([CallOut {
                    index: Some(*call),
                    function: Some(FunctionOut {
                        name: None,
                        arguments: json,
                    }),
                    ..CallOut::default()
                }]);
            }
            Piece::Media(source) => {
                self.open(Open::None);
                delta.images = Some([ImageOut::of(source, Some(self.images))?]);
                self.images += 1;
            }
            Piece::Seal(seal) => self.seal(seal, &mut delta),
            Piece::Close => {
                self.open(Open::None);
                return None;
            }
            Piece::Extra(extra) => {
                delta.provider_fields = Some(named(extra, self.extras));
                self.extras += 1;
            }
            Piece::Logprobs(_) => return None,
        }
        Some(delta)
    }

    /// Seals go where their maker's own clients look for them.
    fn seal<'a>(&mut self, seal: &'a Seal<'_>, delta: &mut DeltaOut<'a>) {
        let google = ExtraOut::of(Some(seal));
        match self.open {
            Open::Text if google.is_some() => delta.extra_content = google,
            Open::Call if google.is_some() => {
                delta.tool_calls = Some([CallOut {
                    index: Some(self.call),
                    extra_content: google,
                    ..CallOut::default()
                }]);
            }
            _ => {
                self.open(Open::Reasoning);
                delta.reasoning_details = Some([DetailOut::new(self.detail, None, Some(seal))]);
            }
        }
    }

    fn open(&mut self, next: Open) {
        if self.open == Open::Reasoning && next != Open::Reasoning {
            self.detail += 1;
        }
        self.open = next;
    }
}

fn named<'a>(extra: &'a Extra<'_>, index: u32) -> BTreeMap<&'static str, [NamedOut<'a>; 1]> {
    let named = NamedOut {
        index: Some(index),
        name: &extra.name,
        value: &extra.value,
    };
    BTreeMap::from([(extra.dialect, [named])])
}
