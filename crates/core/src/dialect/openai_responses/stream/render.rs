use std::mem;

use super::emit::Emitter;
use crate::answer::{Delta, Extra, Finish, Piece, Reason};
use crate::content::{Json, Seal};
use crate::dialect::balance::Balance;
use crate::dialect::extension::{FieldsOut, fields};
use crate::dialect::openai_responses::finish;
use crate::dialect::openai_responses::item::{Item, joined};
use crate::dialect::openai_responses::repeated::Repeated;
use crate::dialect::openai_responses::response::{State, output};
use crate::dialect::openai_responses::whole::known;
use crate::dialect::token::{self, On};
use crate::dialect::translate::ReplyHead;
use crate::event::Usage;
use crate::frame::sse::SseEvent;
use crate::limits::ANSWER_EXTRAS;

const CUT: State<'_> = State::Incomplete("");

/// Deltas to events: each item from when it is added until it is done, and the whole response at the
/// end, for which the renderer has to hold it.
///
/// Items follow on each other. Only calls whose arguments a provider writes at the same time are open
/// at the same time, which the events' `output_index` allows.
///
/// The API knows one choice: requests for more are refused, and others' deltas passed over.
#[derive(Debug)]
pub struct Renderer {
    emit: Emitter,
    /// The item that was added last, if it is not done and is no call.
    open: Option<usize>,
    /// What [`Piece::Seal`] is about, if it is no open item.
    last: Last,
    calls: Vec<Call>,
    usage: Option<Usage>,
    finish: Option<Finish<'static>>,
    refused: bool,
    extras: Vec<Extra<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    None,
    /// A part that has no place for a seal.
    Whole,
    Call(u32),
}

/// A call that is not done.
#[derive(Debug)]
struct Call {
    number: u32,
    index: usize,
    arguments: Balance,
}

impl Renderer {
    pub(in crate::dialect) fn new(head: ReplyHead) -> Self {
        Self {
            emit: Emitter::new(head),
            open: None,
            last: Last::None,
            calls: Vec::new(),
            usage: None,
            finish: None,
            refused: false,
            extras: Vec::new(),
        }
    }

    pub(in crate::dialect) fn push(&mut self, delta: &Delta<'_>, out: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start(start) => self.emit.head = known(&self.emit.head, start),
            Delta::Piece { choice: 0, piece } => {
                self.start(out);
                self.piece(piece, out);
            }
            // It goes out with the usage, which may come behind it.
            Delta::Finish { choice: 0, finish } => self.finish = Some(finish.clone().into_owned()),
            Delta::Piece { .. } | Delta::Finish { .. } => {}
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
            Delta::Error(fault) => {
                self.start(out);
                self.response("response.failed", State::Failed(fault), out);
            }
            Delta::End => self.end(out),
        }
    }

    /// The items so far, as a response that broke off has them.
    pub(in crate::dialect) fn output(&self) -> Option<Json<'static>> {
        let items = serde_json::value::to_raw_value(&output(&self.emit.items, CUT)).ok()?;
        Some(Json::from(&*items).into_owned())
    }

    fn start(&mut self, out: &mut Vec<SseEvent>) {
        if self.emit.is_new() {
            self.response("response.created", State::Running, out);
            self.response("response.in_progress", State::Running, out);
        }
    }

    fn response(&mut self, kind: &'static str, state: State<'_>, out: &mut Vec<SseEvent>) {
        let running = matches!(state, State::Running);
        let usage = self.usage.as_ref().filter(|_| !running);
        let extras = if running {
            FieldsOut::new()
        } else {
            fields(&self.extras)
        };
        self.emit.response(kind, state, usage, extras, out);
    }

    fn piece(&mut self, piece: &Piece<'_>, out: &mut Vec<SseEvent>) {
        match piece {
            Piece::Text(text) => self.text(text, false, out),
            Piece::Refusal(text) => {
                self.refused = true;
                self.text(text, true, out);
            }
            Piece::Reasoning(text) => self.reasoning(text, out),
            Piece::ToolCall {
                call,
                id,
                name,
                seal,
            } => {
                self.settle(out);
                if let Some(seal) = seal {
                    self.emit.lone(Item::seal(seal, On::Behind), out);
                }
                let index = self.emit.add(
                    Item::Call {
                        id: id.as_ref().to_owned(),
                        name: name.as_ref().to_owned(),
                        arguments: Repeated::default(),
                    },
                    out,
                );
                self.calls.push(Call {
                    number: *call,
                    index,
                    arguments: Balance::default(),
                });
                self.last = Last::Call(*call);
            }
            Piece::Arguments { call, json } => self.arguments(*call, json, out),
            Piece::Media(source) => {
                self.settle(out);
                self.emit.lone(Item::media(source), out);
                self.last = Last::Whole;
            }
            Piece::Seal(seal) => self.seal(seal, out),
            Piece::Close => self.close(out),
            Piece::Logprobs(list) => self.logprobs(list, out),
            Piece::Extra(extra) => {
                if self.extras.len() < ANSWER_EXTRAS {
                    self.extras.push(extra.clone().into_owned());
                }
            }
        }
    }

    fn text(&mut self, more: &str, refusal: bool, out: &mut Vec<SseEvent>) {
        let open = self.open.filter(|&index| {
            matches!(&self.emit.items[..].get(index), Some((_, Item::Message { refusal: open, .. })) if *open == refusal)
        });
        let index = open.unwrap_or_else(|| {
            self.settle(out);
            let index = self.emit.add(Item::text("", refusal), out);
            self.emit.part(index, "response.content_part.added", out);
            self.open = Some(index);
            index
        });
        if let Some((_, Item::Message { text, .. })) = self.emit.items.get_mut(index) {
            text.push_str(more);
        }
        let (kind, logprobs) = if refusal {
            ("response.refusal.delta", None)
        } else {
            ("response.output_text.delta", Some(joined(&[])))
        };
        self.emit.event(index, out, |event| {
            event.kind = kind;
            event.content_index = Some(0);
            event.delta = Some(more);
            event.logprobs = logprobs;
        });
    }

    fn logprobs(&mut self, list: &Json<'_>, out: &mut Vec<SseEvent>) {
        let is_text =
            |item: &(String, Item)| matches!(item.1, Item::Message { refusal: false, .. });
        let Some(index) = self.emit.items.iter().rposition(is_text) else {
            return;
        };
        if let Some((_, Item::Message { logprobs, .. })) = self.emit.items.get_mut(index) {
            logprobs.push(list.clone().into_owned());
        }
        // Of one that is done, only the response tells.
        if self.open == Some(index) {
            self.emit.event(index, out, |event| {
                event.kind = "response.output_text.delta";
                event.content_index = Some(0);
                event.delta = Some("");
                event.logprobs = Some(list.clone());
            });
        }
    }

    /// The item of the open reasoning, a new one if there is none.
    fn reasoning_item(&mut self, out: &mut Vec<SseEvent>) -> usize {
        let is_reasoning = |index: &usize| {
            matches!(
                self.emit.items.get(*index),
                Some((_, Item::Reasoning { .. }))
            )
        };
        if let Some(index) = self.open.filter(is_reasoning) {
            return index;
        }
        self.settle(out);
        let item = Item::Reasoning {
            text: Repeated::default(),
            seal: None,
        };
        let index = self.emit.add(item, out);
        self.open = Some(index);
        index
    }

    fn reasoning(&mut self, more: &str, out: &mut Vec<SseEvent>) {
        let index = self.reasoning_item(out);
        let Some((_, Item::Reasoning { text, .. })) = self.emit.items.get_mut(index) else {
            return;
        };
        let begins = text.is_empty();
        if begins {
            self.emit
                .part(index, "response.reasoning_summary_part.added", out);
        }
        if let Some((_, Item::Reasoning { text, .. })) = self.emit.items.get_mut(index) {
            text.push_str(more);
        }
        self.emit.event(index, out, |event| {
            event.kind = "response.reasoning_summary_text.delta";
            event.summary_index = Some(0);
            event.delta = Some(more);
        });
    }

    fn arguments(&mut self, call: u32, json: &str, out: &mut Vec<SseEvent>) {
        let Some(open) = self.calls.iter_mut().find(|open| open.number == call) else {
            return;
        };
        open.arguments.push(json);
        let index = open.index;
        if let Some((_, Item::Call { arguments, .. })) = self.emit.items.get_mut(index) {
            arguments.push_str(json);
        }
        self.emit.event(index, out, |event| {
            event.kind = "response.function_call_arguments.delta";
            event.delta = Some(json);
        });
    }

    fn seal(&mut self, seal: &Seal<'_>, out: &mut Vec<SseEvent>) {
        let on = self.open.and_then(|index| self.emit.items.get(index));
        let on_text = matches!(on, Some((_, Item::Message { .. }))) || self.last != Last::None;
        if on_text {
            self.close(out);
            self.emit.lone(Item::seal(seal, On::Before), out);
            return;
        }
        let index = self.reasoning_item(out);
        if let Some((_, Item::Reasoning { seal: written, .. })) = self.emit.items.get_mut(index) {
            *written = Some(token::write(seal, On::Reasoning));
        }
    }

    /// Ends the part that was opened last.
    fn close(&mut self, out: &mut Vec<SseEvent>) {
        if let Some(index) = self.open.take() {
            self.emit.done(index, out);
        }
        if let Last::Call(number) = mem::replace(&mut self.last, Last::None)
            && let Some(at) = self.calls.iter().position(|open| open.number == number)
        {
            let call = self.calls.remove(at);
            self.emit.done(call.index, out);
        }
    }

    /// Ends what can have no more to come, before another part begins.
    fn settle(&mut self, out: &mut Vec<SseEvent>) {
        if let Some(index) = self.open.take() {
            self.emit.done(index, out);
        }
        self.last = Last::None;
        let (whole, open): (Vec<_>, Vec<_>) = mem::take(&mut self.calls)
            .into_iter()
            .partition(|call| call.arguments.is_whole());
        self.calls = open;
        for call in whole {
            self.emit.done(call.index, out);
        }
    }

    fn end(&mut self, out: &mut Vec<SseEvent>) {
        self.start(out);
        self.settle(out);
        for call in mem::take(&mut self.calls) {
            self.emit.done(call.index, out);
        }
        let finish = self.finish.take();
        let finish = finish.unwrap_or_else(|| Reason::Stop.into());
        match finish::write(&finish, self.refused) {
            None => self.response("response.completed", State::Completed, out),
            Some(reason) => self.response("response.incomplete", State::Incomplete(reason), out),
        }
    }
}
