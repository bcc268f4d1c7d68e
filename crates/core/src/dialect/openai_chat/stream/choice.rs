use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::answer::Piece;
use crate::content::{Maker, Seal, SealForm, Source, stable_call_id};
use crate::dialect::deltas::extra;
use crate::dialect::json::text_of;
use crate::dialect::openai_chat::NAME;
use crate::dialect::openai_chat::reasoning::Detail;
use crate::dialect::openai_chat::wire::{
    CallIn, ExtraContent, FunctionIn, MessageIn, PartIn, Said,
};
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Figure, said};
use crate::limits::ANSWER_CALLS;

/// A choice so far.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) calls: Vec<Call>,
    /// The `index` of the reasoning detail that may go on.
    detail: Option<u64>,
    pub(super) refused: bool,
    pub(super) finished: bool,
}

/// How later chunks refer to a call.
#[derive(Debug)]
pub(super) struct Call {
    index: Option<u64>,
    id: String,
    /// It has no arguments so far.
    pub(super) bare: bool,
}

impl Choice {
    pub(super) fn message<'m>(
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
                say(extra(NAME, name, value));
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

fn google_seal(extra: ExtraContent<'_>) -> Option<Seal<'_>> {
    let data = said(extra.google?.thought_signature)?;
    Some(Seal {
        maker: Maker::Google,
        form: SealForm::Signature,
        id: None,
        data,
    })
}

/// Whether a member is as good as absent.
pub(in crate::dialect::openai_chat) fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "false" | "\"\"" | "{}" | "[]")
}
