use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::answer::{Delta, Finish, Piece, Start};
use crate::content::{Maker, Seal, SealForm, stable_call_id};
use crate::dialect::bedrock::error::read_exception;
use crate::dialect::bedrock::wire::{
    BlockEventIn, BlockIn, DeltaIn, MetadataIn, ReasoningDeltaIn, StartIn, StopIn, ToolUseIn,
};
use crate::dialect::bedrock::{NAME, finish};
use crate::dialect::deltas::{Out, extra, say};
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Str, said};
use crate::event::Usage;
use crate::frame::aws_event_stream::EXCEPTION;
use crate::limits::ANSWER_CALLS;

/// Events to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// Makes ids of calls that have none.
    id: String,
    started: bool,
    calls: u32,
    /// The block that is open, and which one that is.
    block: Block,
    index: u64,
    /// Said once `metadata` has come, which may hold more of the answer.
    finish: Option<Finish<'static>>,
    over: bool,
}

/// The block that is open. Only those of tools say that they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Part,
    /// One that only this API knows.
    Other,
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
            index: 0,
            finish: None,
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
        if let Some(exception) = name.strip_prefix(EXCEPTION.as_bytes()) {
            self.over = true;
            out(&Delta::Error(read_exception(exception, data)));
            return Ok(());
        }
        match name {
            b"messageStart" => self.start(out),
            b"contentBlockStart" => {
                let event: BlockEventIn<'_> = serde_json::from_slice(data)?;
                self.turn_to(event.content_block_index, out);
                if let Some(start) = event.start {
                    self.open(start, out)?;
                }
            }
            b"contentBlockDelta" => {
                let event: BlockEventIn<'_> = serde_json::from_slice(data)?;
                self.turn_to(event.content_block_index, out);
                if let Some(delta) = event.delta {
                    self.delta(delta, out)?;
                }
            }
            b"contentBlockStop" => self.close(out),
            b"messageStop" => {
                let stop: StopIn<'_> = serde_json::from_slice(data)?;
                self.close(out);
                let fields = stop.additional_model_response_fields;
                let sequence = fields.and_then(|fields| said(fields.stop_sequence));
                let reason = said(stop.stop_reason);
                self.finish = reason.map(|reason| finish::read(&reason, sequence).into_owned());
            }
            b"metadata" => return self.metadata(data, out),
            // What may come.
            _ => {}
        }
        Ok(())
    }

    pub(in crate::dialect) fn finish(&mut self, out: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.end(out)
    }

    /// Takes a whole block.
    pub(in crate::dialect::bedrock) fn block(
        &mut self,
        raw: &RawValue,
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        self.start(out);
        let block: BlockIn<'_> = serde_json::from_str(raw.get())?;
        self.block = Block::Part;
        if let Some(call) = block.tool_use.filter(|call| call.kind.is_none()) {
            self.call(call, out)?;
        } else if let Some(reasoning) = block.reasoning_content {
            let (text, signature) = match reasoning.reasoning_text {
                Some(said) => (said.text, said.signature),
                None => (None, None),
            };
            let redacted_content = reasoning.redacted_content;
            let whole = ReasoningDeltaIn {
                text,
                signature,
                redacted_content,
            };
            reason(whole, out);
        } else if let Some(cited) = block.citations_content {
            for piece in cited.content.into_iter().flatten() {
                text(piece.text, out);
            }
            for citation in cited.citations.into_iter().flatten() {
                say(out, extra(NAME, "citation", citation));
            }
        } else if block.text.is_some() {
            text(block.text, out);
        } else {
            self.block = Block::Other;
            say(out, extra(NAME, "content", raw));
        }
        self.close(out);
        Ok(())
    }

    fn start(&mut self, out: Out<'_>) {
        if !self.started {
            self.started = true;
            out(&Delta::Start(Start::default()));
        }
    }

    /// Makes sure that what comes is of this block.
    fn turn_to(&mut self, index: u64, out: Out<'_>) {
        self.start(out);
        if self.index != index {
            self.close(out);
            self.index = index;
        }
    }

    fn open(&mut self, raw: &RawValue, out: Out<'_>) -> Result<(), DecodeError> {
        let start: StartIn<'_> = serde_json::from_str(raw.get())?;
        match start.tool_use {
            Some(call) if call.kind.is_none() => self.call(call, out)?,
            _ => {
                self.block = Block::Other;
                say(out, extra(NAME, "contentBlockStart", raw));
            }
        }
        Ok(())
    }

    fn call(&mut self, tool: ToolUseIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        let call = self.calls;
        if call >= ANSWER_CALLS {
            return Err(DecodeError::TooMany("tool calls"));
        }
        self.calls += 1;
        let id = said(tool.tool_use_id);
        say(
            out,
            Piece::ToolCall {
                call,
                id: id.unwrap_or_else(|| stable_call_id(&self.id, 0, call).into()),
                name: said(tool.name).unwrap_or_default(),
                seal: None,
            },
        );
        if let Some(input) = tool.input {
            let json = Cow::Borrowed(input.get());
            say(out, Piece::Arguments { call, json });
        }
        let bare = tool.input.is_none();
        self.block = Block::Call { call, bare };
        Ok(())
    }

    fn delta(&mut self, raw: &RawValue, out: Out<'_>) -> Result<(), DecodeError> {
        let delta: DeltaIn<'_> = serde_json::from_str(raw.get())?;
        match (&self.block, delta) {
            (
                Block::None | Block::Part,
                DeltaIn {
                    text: Some(more), ..
                },
            ) => {
                self.block = Block::Part;
                text(Some(more), out);
            }
            (
                Block::None | Block::Part,
                DeltaIn {
                    reasoning_content: Some(more),
                    ..
                },
            ) => {
                self.block = Block::Part;
                reason(more, out);
            }
            (
                Block::None | Block::Part,
                DeltaIn {
                    citation: Some(citation),
                    ..
                },
            ) => {
                self.block = Block::Part;
                say(out, extra(NAME, "citation", citation));
            }
            (
                &Block::Call { call, .. },
                DeltaIn {
                    tool_use: Some(more),
                    ..
                },
            ) => {
                if let Some(json) = said(more.input) {
                    say(out, Piece::Arguments { call, json });
                    self.block = Block::Call { call, bare: false };
                }
            }
            (_, _) => say(out, extra(NAME, "contentBlockDelta", raw)),
        }
        Ok(())
    }

    fn close(&mut self, out: Out<'_>) {
        if let Block::Call { call, bare: true } = self.block {
            let json = Cow::Borrowed("{}");
            say(out, Piece::Arguments { call, json });
        }
        if !matches!(self.block, Block::None | Block::Other) {
            say(out, Piece::Close);
        }
        self.block = Block::None;
    }

    fn metadata(&mut self, data: &[u8], out: Out<'_>) -> Result<(), DecodeError> {
        let metadata: MetadataIn<'_> = serde_json::from_slice(data)?;
        self.start(out);
        if let Some(trace) = metadata.trace {
            say(out, extra(NAME, "trace", trace));
        }
        if let Some(usage) = &metadata.usage {
            out(&Delta::Usage(Usage::from(usage)));
        }
        if self.finish.is_some() {
            return self.end(out);
        }
        Ok(())
    }

    fn end(&mut self, out: Out<'_>) -> Result<(), DecodeError> {
        self.over = true;
        let Some(finish) = self.finish.take() else {
            return Err(DecodeError::Cut("ended its answer without a stopReason"));
        };
        out(&Delta::Finish { choice: 0, finish });
        out(&Delta::End);
        Ok(())
    }
}

fn text(text: Option<Str<'_>>, out: Out<'_>) {
    if let Some(text) = said(text) {
        say(out, Piece::Text(text));
    }
}

fn reason(reasoning: ReasoningDeltaIn<'_>, out: Out<'_>) {
    if let Some(text) = said(reasoning.text) {
        say(out, Piece::Reasoning(text));
    }
    let seals = [
        (SealForm::Signature, reasoning.signature),
        (SealForm::Encrypted, reasoning.redacted_content),
    ];
    for (form, data) in seals {
        if let Some(data) = said(data) {
            let seal = Seal {
                maker: Maker::Anthropic,
                form,
                id: None,
                data,
            };
            say(out, Piece::Seal(seal));
        }
    }
}
