use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::{Delta, Extra, Piece, Start};
use crate::content::{Json, stable_call_id};
use crate::dialect::cohere::usage::UsageIn;
use crate::dialect::cohere::wire::{
    AnswerIn, CallEventIn, CallIn, CitationEventIn, ContentEventIn, ContentIn, DeltaIn, EventIn,
    PlanEventIn,
};
use crate::dialect::cohere::{NAME, finish};
use crate::dialect::deltas::{Out, say};
use crate::dialect::openai::fault_from_event;
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Str, said};
use crate::limits::ANSWER_CALLS;

/// Events to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    started: bool,
    /// The calls so far.
    calls: u32,
    block: Block,
    over: bool,
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Content,
    /// It has no events that open and close it.
    Plan,
    Call {
        call: u32,
        /// It has no arguments so far.
        bare: bool,
    },
}

impl Decoder {
    pub(in crate::dialect) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            started: false,
            calls: 0,
            block: Block::None,
            over: false,
        }
    }

    pub(in crate::dialect) fn push(
        &mut self,
        name: &[u8],
        data: &[u8],
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        if name == b"error" {
            self.fail(data, out);
            return Ok(());
        }
        let event: EventIn<'_> = serde_json::from_slice(data)?;
        let delta = event.delta.unwrap_or_default();
        match event.kind.as_ref().map(|kind| &*kind.0) {
            // An error has a message and no type, as the body of a response has.
            None if event.message.is_some() => self.fail(data, out),
            None => return Err(DecodeError::Malformed { column: 0 }),
            Some("message-start") => self.start(event.id, out),
            Some("content-start") => {
                self.turn_to(Block::Content, out);
                let content = part::<ContentEventIn<'_>>(&delta)?;
                say_content(content.and_then(|message| message.content), out);
            }
            Some("content-delta") => {
                if self.block != Block::Content {
                    self.turn_to(Block::Content, out);
                }
                let content = part::<ContentEventIn<'_>>(&delta)?;
                say_content(content.and_then(|message| message.content), out);
            }
            Some("tool-plan-delta") => {
                let plan = part::<PlanEventIn<'_>>(&delta)?;
                self.plan(plan.and_then(|message| message.tool_plan), out);
            }
            Some("tool-call-start") => {
                if let Some(call) = called(&delta)? {
                    self.call(call, out)?;
                }
            }
            Some("tool-call-delta") => {
                if let Some(call) = called(&delta)? {
                    self.arguments(call, out);
                }
            }
            Some("content-end" | "tool-call-end") => self.turn_to(Block::None, out),
            Some("citation-start") => {
                let cited = part::<CitationEventIn<'_>>(&delta)?;
                if let Some(citation) = cited.and_then(|message| message.citations) {
                    say(out, extra(citation));
                }
            }
            Some("message-end") => return self.end(delta, out),
            // `citation-end`, `debug`, and what may come.
            Some(_) => {}
        }
        Ok(())
    }

    pub(in crate::dialect) fn finish(&mut self, _: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        Err(DecodeError::Cut("ended its answer without a message-end"))
    }

    /// Takes a whole answer.
    pub(in crate::dialect::cohere) fn answer(
        &mut self,
        answer: AnswerIn<'_>,
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        let message = answer.message;
        self.start(answer.id, out);
        for block in message.content.into_iter().flatten() {
            self.turn_to(Block::Content, out);
            say_content(Some(block), out);
        }
        self.plan(message.tool_plan, out);
        for call in message.tool_calls.into_iter().flatten() {
            self.call(call, out)?;
        }
        for citation in message.citations.into_iter().flatten() {
            say(out, extra(citation));
        }
        let delta = DeltaIn {
            finish_reason: answer.finish_reason,
            usage: answer.usage,
            ..DeltaIn::default()
        };
        self.end(delta, out)
    }

    fn start(&mut self, id: Option<Str<'_>>, out: Out<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        let id = said(id).unwrap_or_default();
        if !id.is_empty() {
            id.as_ref().clone_into(&mut self.id);
        }
        out(&Delta::Start(Start {
            id,
            ..Start::default()
        }));
    }

    /// Closes what is open, for something else.
    fn turn_to(&mut self, block: Block, out: Out<'_>) {
        self.start(None, out);
        if let Block::Call { call, bare: true } = self.block {
            let json = Cow::Borrowed("{}");
            say(out, Piece::Arguments { call, json });
        }
        if self.block != Block::None {
            say(out, Piece::Close);
        }
        self.block = block;
    }

    fn plan(&mut self, plan: Option<Str<'_>>, out: Out<'_>) {
        if let Some(text) = said(plan) {
            if self.block != Block::Plan {
                self.turn_to(Block::Plan, out);
            }
            say(out, Piece::Reasoning(text));
        }
    }

    fn call(&mut self, tool: CallIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        let call = self.calls;
        if call >= ANSWER_CALLS {
            return Err(DecodeError::TooMany("tool calls"));
        }
        self.calls += 1;
        self.turn_to(Block::Call { call, bare: true }, out);
        let (name, arguments) = match tool.function {
            Some(function) => (said(function.name), said(function.arguments)),
            None => (None, None),
        };
        let id = said(tool.id);
        say(
            out,
            Piece::ToolCall {
                call,
                id: id.unwrap_or_else(|| stable_call_id(&self.id, 0, call).into()),
                name: name.unwrap_or_default(),
                seal: None,
            },
        );
        self.more(call, arguments, out);
        Ok(())
    }

    fn arguments(&mut self, tool: CallIn<'_>, out: Out<'_>) {
        if let Block::Call { call, .. } = self.block {
            let more = tool.function.and_then(|function| said(function.arguments));
            self.more(call, more, out);
        }
    }

    fn more(&mut self, call: u32, json: Option<Cow<'_, str>>, out: Out<'_>) {
        if let Some(json) = json {
            say(out, Piece::Arguments { call, json });
            self.block = Block::Call { call, bare: false };
        }
    }

    fn end(&mut self, delta: DeltaIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        self.turn_to(Block::None, out);
        self.over = true;
        if let Some(usage) = delta.usage.and_then(UsageIn::read) {
            out(&Delta::Usage(usage));
        }
        let Some(word) = said(delta.finish_reason) else {
            return Err(DecodeError::Cut("sent message-end without a finish_reason"));
        };
        match finish::read(&word, said(delta.error).as_deref()) {
            Ok(finish) => {
                out(&Delta::Finish { choice: 0, finish });
                out(&Delta::End);
            }
            Err(fault) => out(&Delta::Error(fault)),
        }
        Ok(())
    }

    fn fail(&mut self, data: &[u8], out: Out<'_>) {
        self.over = true;
        out(&Delta::Error(fault_from_event(data).into()));
    }
}

fn say_content(content: Option<ContentIn<'_>>, out: Out<'_>) {
    let Some(content) = content else {
        return;
    };
    if let Some(text) = said(content.thinking) {
        say(out, Piece::Reasoning(text));
    }
    if let Some(text) = said(content.text) {
        say(out, Piece::Text(text));
    }
}

/// What an event has of the message, as far as its type goes.
fn part<'a, T: Deserialize<'a>>(delta: &DeltaIn<'a>) -> Result<Option<T>, DecodeError> {
    let message = delta.message.map(RawValue::get);
    Ok(message.map(serde_json::from_str).transpose()?)
}

fn called<'a>(delta: &DeltaIn<'a>) -> Result<Option<CallIn<'a>>, DecodeError> {
    let message = part::<CallEventIn<'_>>(delta)?;
    Ok(message.and_then(|message| message.tool_calls))
}

fn extra(citation: &RawValue) -> Piece<'_> {
    Piece::Extra(Extra {
        dialect: NAME,
        name: Cow::Borrowed("citation"),
        value: Json::from(citation),
    })
}
