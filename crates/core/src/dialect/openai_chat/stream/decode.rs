use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use super::choice::{Choice, is_empty};
use crate::answer::{Delta, Extra, Piece, Start};
use crate::content::Json;
use crate::dialect::deltas::{Out, extra};
use crate::dialect::json::text_of;
use crate::dialect::openai::{fault_from_event, is_done};
use crate::dialect::openai_chat::NAME;
use crate::dialect::openai_chat::finish::{self, Words};
use crate::dialect::openai_chat::wire::{ChoiceIn, Chunk};
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{read, said};
use crate::limits::ANSWER_CHOICES;

/// Chunks to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    started: bool,
    over: bool,
    /// What was found in the question, until there is an answer to say it with.
    found: Option<Json<'static>>,
    choices: Vec<Choice>,
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
                dialect: NAME,
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
            self.choices.resize_with(at + 1, Choice::default);
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
            say(extra(NAME, "content_filter_results", results));
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

/// Whether a filter of Azure's found something.
fn has_hit(results: &RawValue) -> bool {
    memmem::find(results.get().as_bytes(), b"true").is_some()
}
