use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::answer::{Delta, Extra, Piece, Start};
use crate::content::{Json, Maker, Seal, SealForm, Source, stable_call_id};
use crate::dialect::json::text_of;
use crate::dialect::openai::{fault_from_event, is_done};
use crate::dialect::openai_chat::finish::{self, Words};
use crate::dialect::openai_chat::reasoning::Detail;
use crate::dialect::openai_chat::wire::{
    CallIn, ChoiceIn, Chunk, ExtraContent, FunctionIn, MessageIn, PartIn, Said,
};
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Figure, read, said};
use crate::limits::{ANSWER_CALLS, ANSWER_CHOICES};

type Out<'o> = &'o mut dyn FnMut(&Delta<'_>);

/// Chunks to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    started: bool,
    over: bool,
    /// What was found in the question, until there is an answer to say it with.
    found: Option<Json<'static>>,
    choices: Vec<State>,
}

/// A choice so far.
#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    /// The `index` of the reasoning detail that may go on.
    detail: Option<u64>,
    refused: bool,
    finished: bool,
}

/// How later chunks refer to a call.
#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    /// It has no arguments so far.
    bare: bool,
}

impl Decoder {
    pub(in crate::dialect) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            started: false,
            over: false,
            found: None,
            choices: Vec::new(),
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
        if is_done(data) {
            return self.end("sent [DONE] without a finish_reason", out);
        }
        if name == b"error" {
            self.fail(data, out);
            return Ok(());
        }
        let chunk: Chunk<'_> = read(data)?;
        let failed = chunk.error.is_some_and(|error| !is_empty(error))
            || chunk.object.as_ref().is_some_and(|kind| kind.0 == "error");
        if failed {
            self.fail(data, out);
            return Ok(());
        }
        self.take(chunk, out)
    }

    pub(in crate::dialect) fn finish(&mut self, out: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.end("ended its answer without a finish_reason", out)
    }

    /// Takes a chunk, or a whole answer.
    pub(in crate::dialect::openai_chat) fn take(
        &mut self,
        chunk: Chunk<'_>,
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        let id = said(chunk.id);
        let choices = chunk.choices;
        if let Some(found) = chunk.prompt_filter_results.filter(|found| has_hit(found)) {
            self.found = Some(Json::from(found).into_owned());
        }
        // Azure begins with a chunk that has neither.
        if !self.started && (id.is_some() || !choices.is_empty()) {
            self.started = true;
            if let Some(id) = &id {
                id.as_ref().clone_into(&mut self.id);
            }
            out(&Delta::Start(Start {
                id: id.unwrap_or_default(),
                model: said(chunk.model).unwrap_or_default(),
                created: chunk.created.0,
            }));
        }
        if self.started
            && let Some(value) = self.found.take()
        {
            let piece = Piece::Extra(Extra {
                dialect: super::super::NAME,
                name: Cow::Borrowed("prompt_filter_results"),
                value,
            });
            out(&Delta::Piece { choice: 0, piece });
        }
        let groq = chunk.x_groq.and_then(|groq| groq.usage);
        let mut usage = chunk.usage.or(groq).and_then(|usage| usage.read());
        for mut choice in choices {
            usage = choice.usage.take().and_then(|own| own.read()).or(usage);
            self.choice(choice, out)?;
        }
        if let Some(usage) = usage {
            out(&Delta::Usage(usage));
        }
        Ok(())
    }

    fn choice(&mut self, choice: ChoiceIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        let index = choice.index.0.unwrap_or(0);
        let index = u32::try_from(index).ok();
        let Some(index) = index.filter(|&index| index < ANSWER_CHOICES) else {
            return Err(DecodeError::TooMany("choices"));
        };
        let at = index as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, State::default);
        }
        let Some(state) = self.choices.get_mut(at) else {
            return Ok(());
        };
        let mut say = |piece| {
            out(&Delta::Piece {
                choice: index,
                piece,
            });
        };
        for message in choice
            .delta
            .into_iter()
            .chain(choice.message.map(|message| *message))
        {
            state.message(message, &self.id, index, &mut say)?;
        }
        if let Some(list) = choice.logprobs.and_then(|logprobs| logprobs.content)
            && !is_empty(list)
        {
            say(Piece::Logprobs(list.into()));
        }
        if let Some(results) = choice.content_filter_results
            && has_hit(results)
        {
            say(extra("content_filter_results", results));
        }
        if let Some(reason) = said(choice.finish_reason)
            && !state.finished
        {
            state.finished = true;
            for (call, state) in (0..).zip(&state.calls) {
                if state.bare {
                    let json = Cow::Borrowed("{}");
                    say(Piece::Arguments { call, json });
                }
            }
            let native = said(choice.native_finish_reason);
            let sequence = choice
                .stop_reason
                .filter(|stop| stop.get().starts_with('"'));
            let sequence = sequence.map(|stop| text_of(stop.get())).transpose()?;
            let words = Words {
                finish_reason: &reason,
                native: native.as_deref(),
                stop_sequence: sequence.as_deref(),
            };
            out(&Delta::Finish {
                choice: index,
                finish: finish::read(words, !state.calls.is_empty(), state.refused),
            });
        }
        Ok(())
    }

    /// The answer is whole if each choice that began is finished.
    fn end(&mut self, otherwise: &'static str, out: Out<'_>) -> Result<(), DecodeError> {
        self.over = true;
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.finished) {
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

impl State {
    fn message<'m>(
        &mut self,
        message: MessageIn<'m>,
        answer: &str,
        choice: u32,
        say: &mut dyn FnMut(Piece<'m>),
    ) -> Result<(), DecodeError> {
        let mut shown = false;
        for (at, detail) in (0..).zip(message.reasoning_details.unwrap_or_default()) {
            shown |= self.detail(detail, at, say);
        }
        // The same text once more, for clients that do not know the details.
        let reasoning = said(message.reasoning_content).or(said(message.reasoning));
        if let Some(text) = reasoning.filter(|_| !shown) {
            say(Piece::Reasoning(text));
        }
        match message.content {
            Some(Said::Text(text)) if !text.is_empty() => self.text(text, say),
            Some(Said::Parts(parts)) => self.parts(parts, say),
            _ => {}
        }
        if let Some(seal) = message.extra_content.and_then(|extra| google_seal(*extra)) {
            say(Piece::Seal(seal));
        }
        if let Some(text) = said(message.refusal) {
            self.refused = true;
            self.detail = None;
            say(Piece::Refusal(text));
        }
        for image in message.images.into_iter().flatten() {
            if let Some(url) = image.image_url.and_then(|image| said(image.url)) {
                say(Piece::Media(Source::from_url(url)));
            }
        }
        let named = [
            ("annotations", message.annotations),
            ("audio", message.audio),
        ];
        for (name, value) in named {
            if let Some(value) = value.filter(|value| !is_empty(value)) {
                say(extra(name, value));
            }
        }
        for call in message.tool_calls.into_iter().flatten() {
            self.call(call, answer, choice, say)?;
        }
        if let Some(function) = message.function_call {
            let call = CallIn {
                index: Figure(Some(0)),
                id: None,
                function: Some(*function),
                extra_content: None,
            };
            self.call(call, answer, choice, say)?;
        }
        Ok(())
    }

    fn text<'m>(&mut self, text: Cow<'m, str>, say: &mut dyn FnMut(Piece<'m>)) {
        self.detail = None;
        say(Piece::Text(text));
    }

    fn parts<'m>(&mut self, parts: Vec<PartIn<'m>>, say: &mut dyn FnMut(Piece<'m>)) {
        for part in parts {
            let thought = part.thinking.map(thought);
            if let Some(thought) = thought.filter(|text| !text.is_empty()) {
                say(Piece::Reasoning(thought));
            }
            if let Some(text) = said(part.text) {
                self.text(text, say);
            }
        }
    }

    /// Gives whether it had a text.
    fn detail<'m>(&mut self, detail: Detail<'m>, at: u64, say: &mut dyn FnMut(Piece<'m>)) -> bool {
        let index = detail.index.0.unwrap_or(at);
        if self.detail.replace(index) != Some(index) {
            say(Piece::Close);
        }
        let (text, seal) = detail.read();
        let shown = text.is_some();
        if let Some(text) = text {
            say(Piece::Reasoning(text));
        }
        if let Some(seal) = seal {
            say(Piece::Seal(seal));
        }
        shown
    }

    fn call<'m>(
        &mut self,
        call: CallIn<'m>,
        answer: &str,
        choice: u32,
        say: &mut dyn FnMut(Piece<'m>),
    ) -> Result<(), DecodeError> {
        self.detail = None;
        let id = said(call.id);
        let FunctionIn { name, arguments } = call.function.unwrap_or(FunctionIn {
            name: None,
            arguments: None,
        });
        let name = said(name);
        let seal = call.extra_content.and_then(|extra| google_seal(*extra));
        let known = self.find(call.index.0, id.as_deref(), name.is_some());
        let number = known.unwrap_or(u32::try_from(self.calls.len()).unwrap_or(u32::MAX));
        if known.is_some() {
            if let Some(seal) = seal {
                say(Piece::Seal(seal));
            }
        } else {
            if number >= ANSWER_CALLS {
                return Err(DecodeError::TooMany("tool calls"));
            }
            let id = id.unwrap_or_else(|| stable_call_id(answer, choice, number).into());
            self.calls.push(Call {
                index: call.index.0,
                id: id.as_ref().to_owned(),
                bare: true,
            });
            say(Piece::ToolCall {
                call: number,
                id,
                name: name.unwrap_or_default(),
                seal,
            });
        }
        let json = match arguments.map(RawValue::get) {
            Some(text) if text.starts_with('"') => text_of(text)?,
            Some(object) => Cow::Borrowed(object),
            None => Cow::Borrowed(""),
        };
        if !json.is_empty() {
            if let Some(call) = self.calls.get_mut(number as usize) {
                call.bare = false;
            }
            say(Piece::Arguments { call: number, json });
        }
        Ok(())
    }

    /// The call that a chunk goes on with. Servers differ: some give no index, some the same for
    /// all calls, some repeat the id.
    fn find(&self, index: Option<u64>, id: Option<&str>, named: bool) -> Option<u32> {
        let last = |test: &dyn Fn(&Call) -> bool| {
            let at = self.calls.iter().rposition(test)?;
            u32::try_from(at).ok()
        };
        match (index, id) {
            (Some(index), None) => last(&|call| call.index == Some(index)),
            (Some(index), Some(id)) => {
                last(&|call| call.index == Some(index) && (call.id == id || !named))
            }
            (None, Some(id)) => last(&|call| call.id == id),
            (None, None) if named => None,
            (None, None) => last(&|_| true),
        }
    }
}

fn thought(content: Said<'_>) -> Cow<'_, str> {
    match content {
        Said::Text(text) => text,
        Said::Parts(parts) => {
            let texts = parts.into_iter().filter_map(|part| said(part.text));
            texts.reduce(|all, text| all + text).unwrap_or_default()
        }
    }
}

/// Whether a filter of Azure's found something.
fn has_hit(results: &RawValue) -> bool {
    memmem::find(results.get().as_bytes(), b"true").is_some()
}

fn google_seal(extra: ExtraContent<'_>) -> Option<Seal<'_>> {
    let data = said(extra.google?.thought_signature)?;
    Some(Seal {
        maker: Maker::Google,
        form: SealForm::Signature,
        id: None,
        data,
    })
}

fn extra<'a>(name: &'static str, value: &'a RawValue) -> Piece<'a> {
    Piece::Extra(Extra {
        dialect: super::super::NAME,
        name: Cow::Borrowed(name),
        value: Json::from(value),
    })
}

/// Whether a member is as good as absent.
pub(in crate::dialect::openai_chat) fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "false" | "\"\"" | "{}" | "[]")
}
