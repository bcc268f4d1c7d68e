use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::answer::{Delta, Piece, Start};
use crate::content::{Maker, Seal, SealForm, stable_call_id};
use crate::dialect::anthropic::usage::{Totals, UsageIn};
use crate::dialect::anthropic::wire::{BlockIn, DeltaIn, EventIn, MessageIn, OtherIn};
use crate::dialect::anthropic::{NAME, finish};
use crate::dialect::deltas::{Out, extra, say};
use crate::dialect::openai::fault_from_event;
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Str, read, said};
use crate::limits::ANSWER_CALLS;

/// Events to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    totals: Totals,
    /// The calls so far.
    calls: u32,
    block: Block,
    stopped: bool,
    over: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Part,
    /// One that only this API knows.
    Other,
    Call {
        call: u32,
        /// Its arguments were in its start.
        whole: bool,
        /// It has none so far.
        bare: bool,
    },
}

impl Decoder {
    pub(in crate::dialect) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            totals: Totals::default(),
            calls: 0,
            block: Block::None,
            stopped: false,
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
        let event: EventIn<'_> = read(data)?;
        match event.kind.as_ref().map_or("", |kind| &*kind.0) {
            "message_start" => {
                if let Some(message) = event.message {
                    self.start(message, out)?;
                }
            }
            "content_block_start" => {
                if let Some(block) = event.content_block {
                    self.open(block, out)?;
                }
            }
            "content_block_delta" => {
                if self.block == Block::Other {
                    let event: OtherIn<'_> = read(data)?;
                    say(out, extra(NAME, "content_block_delta", event.delta));
                } else if let Some(delta) = event.delta {
                    self.delta(delta, out);
                }
            }
            "content_block_stop" => self.close(out),
            "message_delta" => {
                if let Some(delta) = event.delta {
                    self.stop(delta.stop_reason, delta.stop_sequence, out);
                }
                self.usage(event.usage, out);
            }
            "message_stop" => return self.end("sent message_stop without a stop_reason", out),
            "error" => self.fail(data, out),
            // `ping`, and what may come: the API asks its clients to pass over what they do not know.
            _ => {}
        }
        Ok(())
    }

    pub(in crate::dialect) fn finish(&mut self, out: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.end("ended its answer without a stop_reason", out)
    }

    /// Takes a whole answer, but for its end, or the beginning of one.
    pub(in crate::dialect::anthropic) fn start(
        &mut self,
        message: MessageIn<'_>,
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        let id = said(message.id).unwrap_or_default();
        if !id.is_empty() {
            id.as_ref().clone_into(&mut self.id);
        }
        out(&Delta::Start(Start {
            id,
            model: said(message.model).unwrap_or_default(),
            created: None,
        }));
        for block in message.content.into_iter().flatten() {
            self.open(block, out)?;
            self.close(out);
        }
        self.stop(message.stop_reason, message.stop_sequence, out);
        self.usage(message.usage, out);
        Ok(())
    }

    fn open(&mut self, raw: &RawValue, out: Out<'_>) -> Result<(), DecodeError> {
        let block: BlockIn<'_> = serde_json::from_str(raw.get())?;
        self.block = Block::Part;
        match block.kind.as_ref().map_or("", |kind| &*kind.0) {
            "text" => {
                if let Some(text) = said(block.text) {
                    say(out, Piece::Text(text));
                }
                for citation in block.citations.into_iter().flatten() {
                    say(out, extra(NAME, "citation", citation));
                }
            }
            "thinking" => {
                if let Some(text) = said(block.thinking) {
                    say(out, Piece::Reasoning(text));
                }
                sign(block.signature, out);
            }
            "redacted_thinking" => {
                if let Some(data) = said(block.data) {
                    say(out, seal(SealForm::Encrypted, data));
                }
            }
            "tool_use" => self.call(block, out)?,
            // The tools that a provider runs itself, and their results.
            _ => {
                self.block = Block::Other;
                say(out, extra(NAME, "content_block", raw));
            }
        }
        Ok(())
    }

    fn call(&mut self, block: BlockIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        let call = self.calls;
        if call >= ANSWER_CALLS {
            return Err(DecodeError::TooMany("tool calls"));
        }
        self.calls += 1;
        let id = said(block.id);
        say(
            out,
            Piece::ToolCall {
                call,
                id: id.unwrap_or_else(|| stable_call_id(&self.id, 0, call).into()),
                name: said(block.name).unwrap_or_default(),
                seal: None,
            },
        );
        // Streams begin with an empty object, and have the arguments in deltas.
        let input = block.input.map_or("{}", RawValue::get);
        let whole = !matches!(input, "{}" | "null" | "\"\"");
        if whole {
            let json = Cow::Borrowed(input);
            say(out, Piece::Arguments { call, json });
        }
        self.block = Block::Call {
            call,
            whole,
            bare: !whole,
        };
        Ok(())
    }

    fn close(&mut self, out: Out<'_>) {
        if let Block::Call {
            call, bare: true, ..
        } = self.block
        {
            let json = Cow::Borrowed("{}");
            say(out, Piece::Arguments { call, json });
        }
        if !matches!(self.block, Block::None | Block::Other) {
            say(out, Piece::Close);
        }
        self.block = Block::None;
    }

    fn delta(&mut self, delta: DeltaIn<'_>, out: Out<'_>) {
        match (delta.kind.as_ref().map_or("", |kind| &*kind.0), self.block) {
            ("text_delta", Block::Part) => {
                if let Some(text) = said(delta.text) {
                    say(out, Piece::Text(text));
                }
            }
            ("thinking_delta", Block::Part) => {
                if let Some(text) = said(delta.thinking) {
                    say(out, Piece::Reasoning(text));
                }
            }
            ("signature_delta", Block::Part) => sign(delta.signature, out),
            (
                "input_json_delta",
                Block::Call {
                    call, whole: false, ..
                },
            ) => {
                if let Some(json) = said(delta.partial_json) {
                    say(out, Piece::Arguments { call, json });
                    self.block = Block::Call {
                        call,
                        whole: false,
                        bare: false,
                    };
                }
            }
            ("citations_delta", Block::Part) => {
                if let Some(citation) = delta.citation {
                    say(out, extra(NAME, "citation", citation));
                }
            }
            _ => {}
        }
    }

    fn stop(&mut self, reason: Option<Str<'_>>, sequence: Option<Str<'_>>, out: Out<'_>) {
        let Some(reason) = said(reason).filter(|_| !self.stopped) else {
            return;
        };
        self.stopped = true;
        out(&Delta::Finish {
            choice: 0,
            finish: finish::read(&reason, said(sequence)),
        });
    }

    fn usage(&mut self, usage: Option<UsageIn>, out: Out<'_>) {
        let usage = usage.and_then(|usage| self.totals.take(&usage));
        if let Some(usage) = usage {
            out(&Delta::Usage(usage));
        }
    }

    fn end(&mut self, otherwise: &'static str, out: Out<'_>) -> Result<(), DecodeError> {
        self.over = true;
        if !self.stopped {
            return Err(DecodeError::Cut(otherwise));
        }
        out(&Delta::End);
        Ok(())
    }

    fn fail(&mut self, data: &[u8], out: Out<'_>) {
        self.over = true;
        out(&Delta::Error(fault_from_event(data).into()));
    }
}

fn sign(signature: Option<Str<'_>>, out: Out<'_>) {
    if let Some(data) = said(signature) {
        say(out, seal(SealForm::Signature, data));
    }
}

fn seal(form: SealForm, data: Cow<'_, str>) -> Piece<'_> {
    Piece::Seal(Seal {
        maker: Maker::Anthropic,
        form,
        id: None,
        data,
    })
}
