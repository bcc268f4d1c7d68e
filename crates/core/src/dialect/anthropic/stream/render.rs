use std::borrow::Cow;
use std::mem;

use serde::Serialize;

use crate::answer::{Delta, Extra, Finish, Piece, Reason};
use crate::content::{Seal, SealForm};
use crate::dialect::anthropic::block::{BlockOut, InputOut, signature};
use crate::dialect::anthropic::token::On;
use crate::dialect::anthropic::usage::UsageOut;
use crate::dialect::anthropic::{finish, write_error};
use crate::dialect::balance::Balance;
use crate::dialect::extension::{FieldsOut, fields};
use crate::dialect::translate::ReplyHead;
use crate::dialect::wire::EventWriter;
use crate::event::Usage;
use crate::frame::sse::SseEvent;
use crate::limits::ANSWER_EXTRAS;

/// Deltas to events: `message_start`, each block from its start to its stop, `message_delta` with
/// the reason for the end and the usage, `message_stop`.
///
/// Blocks follow on each other. Only calls whose arguments a provider writes at the same time are
/// open at the same time, which the events' `index` allows: a call is closed when another part
/// begins, if its arguments are whole by then.
///
/// The API knows one choice: requests for more are refused, and others' deltas passed over.
#[derive(Debug)]
pub struct Renderer {
    head: ReplyHead,
    writer: EventWriter,
    started: bool,
    usage: Usage,
    finish: Option<Finish<'static>>,
    refused: bool,
    extras: Vec<Extra<'static>>,
    /// The index of the next block.
    next: u32,
    /// What [`Piece::Seal`] and [`Piece::Close`] are about.
    last: Last,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    None,
    Block(u32, Kind),
    Call(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
}

/// A call whose block is open.
#[derive(Debug)]
struct Call {
    number: u32,
    index: u32,
    arguments: Balance,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum EventOut<'a> {
    MessageStart {
        message: StartOut<'a>,
    },
    ContentBlockStart {
        index: u32,
        content_block: BlockOut<'a>,
    },
    ContentBlockDelta {
        index: u32,
        delta: DeltaOut<'a>,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        delta: StopOut<'a>,
        usage: UsageOut,
        #[serde(skip_serializing_if = "FieldsOut::is_empty")]
        provider_fields: FieldsOut<'a>,
    },
    MessageStop,
}

#[derive(Serialize)]
struct StartOut<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: UsageOut,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum DeltaOut<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: Cow<'a, str> },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct StopOut<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
}

impl Renderer {
    pub(in crate::dialect) fn new(head: ReplyHead) -> Self {
        Self {
            head,
            writer: EventWriter::default(),
            started: false,
            usage: Usage::default(),
            finish: None,
            refused: false,
            extras: Vec::new(),
            next: 0,
            last: Last::None,
            calls: Vec::new(),
        }
    }

    pub(in crate::dialect) fn push(&mut self, delta: &Delta<'_>, out: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start(start) => self.head.take(start),
            Delta::Piece { choice: 0, piece } => {
                self.start(out);
                self.piece(piece, out);
            }
            // It goes out with the usage, which may come behind it.
            Delta::Finish { choice: 0, finish } => self.finish = Some(finish.clone().into_owned()),
            Delta::Piece { .. } | Delta::Finish { .. } => {}
            Delta::Usage(usage) => self.usage = usage.clone(),
            Delta::Error(fault) => out.push(SseEvent {
                name: bytes::Bytes::from_static(b"error"),
                data: write_error(fault),
            }),
            Delta::End => self.end(out),
        }
    }

    fn start(&mut self, out: &mut Vec<SseEvent>) {
        if mem::replace(&mut self.started, true) {
            return;
        }
        let event = EventOut::MessageStart {
            message: StartOut {
                id: &self.head.id,
                kind: "message",
                role: "assistant",
                model: &self.head.model,
                content: [],
                stop_reason: None,
                stop_sequence: None,
                usage: UsageOut::from(&self.usage),
            },
        };
        out.push(self.writer.event("message_start", &event));
    }

    fn piece(&mut self, piece: &Piece<'_>, out: &mut Vec<SseEvent>) {
        match piece {
            Piece::Text(text) => self.text(Kind::Text, text, out),
            Piece::Refusal(text) => {
                self.refused = true;
                self.text(Kind::Refusal, text, out);
            }
            Piece::Reasoning(thinking) => {
                let index = self.block(Kind::Thinking, out);
                self.delta(index, DeltaOut::Thinking { thinking }, out);
            }
            Piece::ToolCall {
                call,
                id,
                name,
                seal,
            } => {
                self.settle(out);
                if let Some(seal) = seal {
                    self.lone(BlockOut::hidden(seal, On::Behind), out);
                }
                let block = BlockOut::ToolUse {
                    id: Cow::Borrowed(id),
                    name,
                    input: InputOut::new(""),
                };
                let index = self.open(block, out);
                self.calls.push(Call {
                    number: *call,
                    index,
                    arguments: Balance::default(),
                });
                self.last = Last::Call(*call);
            }
            Piece::Arguments { call, json } => {
                let open = self.calls.iter_mut().find(|open| open.number == *call);
                if let Some(open) = open {
                    open.arguments.push(json);
                    let index = open.index;
                    self.delta(index, DeltaOut::InputJson { partial_json: json }, out);
                }
            }
            Piece::Media(source) => {
                self.settle(out);
                self.lone(BlockOut::media(source), out);
            }
            Piece::Seal(seal) => self.seal(seal, out),
            Piece::Close => self.close(out),
            // No request of this API asks for them.
            Piece::Logprobs(_) => {}
            Piece::Extra(extra) => {
                if self.extras.len() < ANSWER_EXTRAS {
                    self.extras.push(extra.clone().into_owned());
                }
            }
        }
    }

    fn text(&mut self, kind: Kind, text: &str, out: &mut Vec<SseEvent>) {
        let index = self.block(kind, out);
        self.delta(index, DeltaOut::Text { text }, out);
    }

    fn seal(&mut self, seal: &Seal<'_>, out: &mut Vec<SseEvent>) {
        match self.last {
            Last::Block(index, Kind::Thinking) => {
                let signature = signature(seal, SealForm::Signature, On::Reasoning);
                self.delta(index, DeltaOut::Signature { signature }, out);
            }
            Last::Block(_, Kind::Text | Kind::Refusal) | Last::Call(_) => {
                self.close(out);
                self.lone(BlockOut::hidden(seal, On::Before), out);
            }
            Last::None if seal.form == SealForm::Encrypted => {
                self.lone(BlockOut::hidden(seal, On::Reasoning), out);
            }
            Last::None => {
                let index = self.block(Kind::Thinking, out);
                let signature = signature(seal, SealForm::Signature, On::Reasoning);
                self.delta(index, DeltaOut::Signature { signature }, out);
            }
        }
    }

    /// The open block of this kind, a new one if there is none.
    fn block(&mut self, kind: Kind, out: &mut Vec<SseEvent>) -> u32 {
        if let Last::Block(index, open) = self.last
            && open == kind
        {
            return index;
        }
        self.settle(out);
        let block = match kind {
            Kind::Text | Kind::Refusal => BlockOut::Text { text: "" },
            Kind::Thinking => BlockOut::reasoning("", None),
        };
        let index = self.open(block, out);
        self.last = Last::Block(index, kind);
        index
    }

    fn open(&mut self, content_block: BlockOut<'_>, out: &mut Vec<SseEvent>) -> u32 {
        let index = self.next;
        self.next += 1;
        let event = EventOut::ContentBlockStart {
            index,
            content_block,
        };
        out.push(self.writer.event("content_block_start", &event));
        index
    }

    fn delta(&mut self, index: u32, delta: DeltaOut<'_>, out: &mut Vec<SseEvent>) {
        let event = EventOut::ContentBlockDelta { index, delta };
        out.push(self.writer.event("content_block_delta", &event));
    }

    fn stop(&mut self, index: u32, out: &mut Vec<SseEvent>) {
        let event = EventOut::ContentBlockStop { index };
        out.push(self.writer.event("content_block_stop", &event));
    }

    /// A block that is whole at once.
    fn lone(&mut self, block: BlockOut<'_>, out: &mut Vec<SseEvent>) {
        let index = self.open(block, out);
        self.stop(index, out);
    }

    /// Closes the part that was opened last.
    fn close(&mut self, out: &mut Vec<SseEvent>) {
        match mem::replace(&mut self.last, Last::None) {
            Last::None => {}
            Last::Block(index, _) => self.stop(index, out),
            Last::Call(call) => {
                if let Some(at) = self.calls.iter().position(|open| open.number == call) {
                    let open = self.calls.remove(at);
                    self.stop(open.index, out);
                }
            }
        }
    }

    /// Closes what can have no more to come, before another part begins.
    fn settle(&mut self, out: &mut Vec<SseEvent>) {
        if matches!(self.last, Last::Block(..)) {
            self.close(out);
        }
        self.last = Last::None;
        let mut calls = mem::take(&mut self.calls);
        calls.retain(|call| {
            let whole = call.arguments.is_whole();
            if whole {
                self.stop(call.index, out);
            }
            !whole
        });
        self.calls = calls;
    }

    fn end(&mut self, out: &mut Vec<SseEvent>) {
        self.start(out);
        self.settle(out);
        for call in mem::take(&mut self.calls) {
            self.stop(call.index, out);
        }
        let finish = self.finish.take();
        let finish = finish.unwrap_or_else(|| Reason::Stop.into());
        let (stop_reason, stop_sequence) = finish::write(&finish, self.refused);
        let event = EventOut::MessageDelta {
            delta: StopOut {
                stop_reason,
                stop_sequence,
            },
            usage: UsageOut::from(&self.usage),
            provider_fields: fields(&self.extras),
        };
        out.push(self.writer.event("message_delta", &event));
        out.push(self.writer.event("message_stop", &EventOut::MessageStop));
    }
}
