use std::mem;

use bytes::Bytes;

use crate::answer::{Delta, Extra, Finish, Piece, Reason};
use crate::content::{Maker, Seal};
use crate::dialect::balance::Balance;
use crate::dialect::extension::{FieldsOut, fields};
use crate::dialect::gemini::logprobs::LogprobsOut;
use crate::dialect::gemini::out::{CandidateOut, ChunkOut, ContentOut, PartOut, args};
use crate::dialect::gemini::usage::UsageOut;
use crate::dialect::gemini::whole::{reason, told};
use crate::dialect::gemini::{finish, write_error};
use crate::dialect::translate::ReplyHead;
use crate::dialect::wire::EventWriter;
use crate::event::Usage;
use crate::frame::sse::SseEvent;
use crate::limits::{ANSWER_CHOICES, ANSWER_EXTRAS};

/// Deltas to chunks: one for each piece of a part, but for a call, which is written once its
/// arguments are whole; at the end one with the reason for each candidate's end and the usage.
#[derive(Debug)]
pub struct Renderer {
    head: ReplyHead,
    writer: EventWriter,
    usage: Option<Usage>,
    choices: Vec<State>,
}

/// A candidate so far.
#[derive(Debug, Default)]
struct State {
    /// The calls that are not written yet, in order.
    calls: Vec<Call>,
    last: Last,
    refused: bool,
    finish: Option<Finish<'static>>,
    malformed: Option<String>,
    extras: Vec<Extra<'static>>,
}

/// What [`Piece::Seal`] and [`Piece::Close`] are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    None,
    Text,
    Thought,
    Call(u32),
}

#[derive(Debug)]
struct Call {
    number: u32,
    id: String,
    name: String,
    seal: Option<Seal<'static>>,
    arguments: String,
    balance: Balance,
    closed: bool,
}

impl Renderer {
    pub(in crate::dialect) fn new(head: ReplyHead) -> Self {
        Self {
            head,
            writer: EventWriter::default(),
            usage: None,
            choices: Vec::new(),
        }
    }

    pub(in crate::dialect) fn push(&mut self, delta: &Delta<'_>, out: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start(start) => self.head.take(start),
            Delta::Piece { choice, piece } => self.piece(*choice, piece, out),
            // It goes out with the usage, which may come behind it.
            Delta::Finish { choice, finish } => {
                if let Some(state) = self.state(*choice) {
                    state.finish = Some(finish.clone().into_owned());
                }
            }
            Delta::Usage(usage) => self.usage = Some(usage.clone()),
            Delta::Error(fault) => out.push(SseEvent {
                name: Bytes::new(),
                data: write_error(fault),
            }),
            Delta::End => self.end(out),
        }
    }

    fn piece(&mut self, choice: u32, piece: &Piece<'_>, out: &mut Vec<SseEvent>) {
        let Some(state) = self.state(choice) else {
            return;
        };
        let part = match piece {
            Piece::Arguments { call, json } => {
                state.add(*call, json);
                return self.flush(choice, false, out);
            }
            Piece::ToolCall { .. } => {
                state.open(piece);
                return self.flush(choice, false, out);
            }
            Piece::Close => {
                state.close();
                return self.flush(choice, false, out);
            }
            Piece::Extra(extra) => {
                if state.extras.len() < ANSWER_EXTRAS {
                    state.extras.push(extra.clone().into_owned());
                }
                return;
            }
            Piece::Logprobs(list) => {
                let logprobs = LogprobsOut::new([list]);
                if logprobs.is_some() {
                    self.say(choice, PartOut::text(""), logprobs, out);
                }
                return;
            }
            Piece::Seal(seal) => match state.seal(seal) {
                Some(part) => part,
                None => return,
            },
            Piece::Text(text) => {
                state.last = Last::Text;
                PartOut::text(text)
            }
            Piece::Refusal(text) => {
                state.last = Last::Text;
                state.refused = true;
                PartOut::text(text)
            }
            Piece::Reasoning(text) => {
                state.last = Last::Thought;
                PartOut::thought(text)
            }
            Piece::Media(source) => {
                state.last = Last::None;
                PartOut::media(source)
            }
        };
        self.say(choice, part, None, out);
    }

    /// Writes the calls that are whole, up to the first that is not; at the end all.
    fn flush(&mut self, choice: u32, end: bool, out: &mut Vec<SseEvent>) {
        let Some(state) = self.state(choice) else {
            return;
        };
        let whole = |call: &&Call| end || call.closed || call.balance.is_whole();
        let ready = state.calls.iter().take_while(whole).count();
        let calls: Vec<_> = state.calls.drain(..ready).collect();
        for call in &calls {
            match args(&call.arguments) {
                Some(args) => {
                    let part = PartOut::call(&call.id, &call.name, args);
                    self.say(choice, part.sealed(call.seal.as_ref()), None, out);
                }
                None => {
                    if let Some(state) = self.state(choice) {
                        state.malformed = Some(told(&call.name, &call.arguments));
                    }
                }
            }
        }
    }

    fn say(
        &mut self,
        choice: u32,
        part: PartOut<'_>,
        logprobs_result: Option<LogprobsOut>,
        out: &mut Vec<SseEvent>,
    ) {
        let chunk = ChunkOut {
            candidates: vec![CandidateOut {
                content: ContentOut {
                    parts: vec![part],
                    role: "model",
                },
                finish_reason: None,
                finish_message: None,
                logprobs_result,
                index: choice,
                provider_fields: FieldsOut::new(),
            }],
            usage_metadata: None,
            model_version: &self.head.model,
            response_id: &self.head.id,
        };
        out.push(self.writer.event("", &chunk));
    }

    fn end(&mut self, out: &mut Vec<SseEvent>) {
        // An answer of nothing at all has a candidate too.
        self.state(0);
        let count = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
        for choice in 0..count {
            self.flush(choice, true, out);
        }
        for state in &mut self.choices {
            state.finish.get_or_insert_with(|| Reason::Stop.into());
        }
        let candidates = (0..).zip(&self.choices).filter_map(|(index, state)| {
            let words = finish::write(state.finish.as_ref()?, state.refused);
            let (word, message) = reason(words, state.malformed.clone());
            Some(CandidateOut {
                content: ContentOut {
                    parts: vec![PartOut::text("")],
                    role: "model",
                },
                finish_reason: Some(word),
                finish_message: message,
                logprobs_result: None,
                index,
                provider_fields: fields(&state.extras),
            })
        });
        let chunk = ChunkOut {
            candidates: candidates.collect(),
            usage_metadata: self.usage.as_ref().map(UsageOut::from),
            model_version: &self.head.model,
            response_id: &self.head.id,
        };
        out.push(self.writer.event("", &chunk));
    }

    fn state(&mut self, choice: u32) -> Option<&mut State> {
        let at = choice as usize;
        if choice >= ANSWER_CHOICES {
            return None;
        }
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, State::default);
        }
        self.choices.get_mut(at)
    }
}

impl State {
    fn open(&mut self, piece: &Piece<'_>) {
        let Piece::ToolCall {
            call,
            id,
            name,
            seal,
        } = piece
        else {
            return;
        };
        self.last = Last::Call(*call);
        self.calls.push(Call {
            number: *call,
            id: id.as_ref().to_owned(),
            name: name.as_ref().to_owned(),
            seal: seal.clone().map(Seal::into_owned),
            arguments: String::new(),
            balance: Balance::default(),
            closed: false,
        });
    }

    fn add(&mut self, call: u32, json: &str) {
        if let Some(call) = self.calls.iter_mut().find(|open| open.number == call) {
            call.arguments.push_str(json);
            call.balance.push(json);
        }
    }

    fn close(&mut self) {
        if let Last::Call(number) = mem::take(&mut self.last)
            && let Some(call) = self.calls.iter_mut().find(|open| open.number == number)
        {
            call.closed = true;
        }
    }

    /// What a seal adds; nothing if it waits with its call.
    fn seal<'a>(&mut self, seal: &'a Seal<'_>) -> Option<PartOut<'a>> {
        let part = match mem::take(&mut self.last) {
            Last::Call(number) => {
                let open = self.calls.iter_mut().find(|open| open.number == number);
                if let Some(call) = open {
                    call.seal = Some(seal.clone().into_owned());
                    self.last = Last::Call(number);
                    return None;
                }
                PartOut::text("")
            }
            Last::Text => PartOut::text(""),
            Last::None if seal.maker == Maker::Google => PartOut::text(""),
            Last::Thought | Last::None => PartOut::thought(""),
        };
        Some(part.sealed(Some(seal)))
    }
}
