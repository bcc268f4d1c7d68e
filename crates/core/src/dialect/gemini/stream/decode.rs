use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::answer::{Delta, Extra, Finish, Piece, Start};
use crate::content::{Json, Seal, Source, stable_call_id};
use crate::dialect::deltas::Out;
use crate::dialect::gemini::error::read_event;
use crate::dialect::gemini::out::compact;
use crate::dialect::gemini::usage::Totals;
use crate::dialect::gemini::wire::{BlobIn, CallIn, CandidateIn, ChunkIn, FeedbackIn, PartIn};
use crate::dialect::gemini::{NAME, finish, seal};
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{read, said};
use crate::limits::{ANSWER_CALLS, ANSWER_CHOICES};

type Say<'s, 'm> = &'s mut dyn FnMut(Piece<'m>);

/// Chunks to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    /// Each part is a whole one, rather than the next piece.
    whole: bool,
    started: bool,
    over: bool,
    totals: Totals,
    choices: Vec<State>,
}

/// A candidate so far.
#[derive(Debug, Default)]
struct State {
    /// Its number of calls.
    calls: u32,
    open: Option<Kind>,
    /// The last reason given: models of old gave one with every chunk.
    finish: Option<Finish<'static>>,
}

/// What part may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

impl Decoder {
    pub(in crate::dialect) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            whole: false,
            started: false,
            over: false,
            totals: Totals::default(),
            choices: Vec::new(),
        }
    }

    /// A decoder of an answer that is one chunk.
    pub(in crate::dialect::gemini) fn of_whole(id: &str) -> Self {
        Self {
            whole: true,
            ..Self::new(id)
        }
    }

    pub(in crate::dialect) fn push(
        &mut self,
        name: &[u8],
        data: &[u8],
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        // Vertex AI writes its heartbeats as data.
        if self.over || data.is_empty() || data.starts_with(b":") {
            return Ok(());
        }
        if name == b"error" {
            self.fail(data, out);
            return Ok(());
        }
        let chunk: ChunkIn<'_> = read(data)?;
        if chunk.error.is_some() {
            self.fail(data, out);
            return Ok(());
        }
        self.take(chunk, out)
    }

    /// Takes the end of the stream, which is the only mark of the answer's.
    pub(in crate::dialect) fn finish(&mut self, out: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        let unfinished = |state: &State| state.finish.is_none();
        if self.choices.is_empty() || self.choices.iter().any(unfinished) {
            return Err(DecodeError::Cut("ended its answer without a finishReason"));
        }
        for (choice, state) in (0..).zip(&mut self.choices) {
            if let Some(finish) = state.finish.take() {
                out(&Delta::Finish { choice, finish });
            }
        }
        out(&Delta::End);
        Ok(())
    }

    /// Takes a chunk, or a whole answer.
    pub(in crate::dialect::gemini) fn take(
        &mut self,
        chunk: ChunkIn<'_>,
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        if !self.started {
            self.started = true;
            let id = said(chunk.response_id).unwrap_or_default();
            if !id.is_empty() {
                id.as_ref().clone_into(&mut self.id);
            }
            out(&Delta::Start(Start {
                id,
                model: said(chunk.model_version).unwrap_or_default(),
                created: None,
            }));
        }
        for candidate in chunk.candidates.into_iter().flatten() {
            self.candidate(candidate, out)?;
        }
        if let Some(raw) = chunk.prompt_feedback {
            self.feedback(raw, out)?;
        }
        let usage = chunk.usage_metadata;
        if let Some(usage) = usage.and_then(|usage| self.totals.take(&usage)) {
            out(&Delta::Usage(usage));
        }
        Ok(())
    }

    /// A prompt that was blocked has no candidates.
    fn feedback(&mut self, raw: &RawValue, out: Out<'_>) -> Result<(), DecodeError> {
        let feedback: Option<FeedbackIn<'_>> = serde_json::from_str(raw.get())?;
        let word = feedback.and_then(|feedback| said(feedback.block_reason));
        let Some(finish) = word.and_then(|word| finish::blocked(&word)) else {
            return Ok(());
        };
        if self.choices.is_empty() {
            self.choices.push(State::default());
        }
        let piece = extra("promptFeedback", raw);
        out(&Delta::Piece { choice: 0, piece });
        if let Some(state) = self.choices.first_mut() {
            state.finish.get_or_insert(finish);
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: CandidateIn<'_>, out: Out<'_>) -> Result<(), DecodeError> {
        let index = u32::try_from(candidate.index.0.unwrap_or(0)).ok();
        let Some(choice) = index.filter(|&index| index < ANSWER_CHOICES) else {
            return Err(DecodeError::TooMany("candidates"));
        };
        let at = choice as usize;
        if self.choices.len() <= at {
            self.choices.resize_with(at + 1, State::default);
        }
        let Some(state) = self.choices.get_mut(at) else {
            return Ok(());
        };
        let mut say = |piece| out(&Delta::Piece { choice, piece });
        let parts = candidate.content.and_then(|content| content.parts);
        for part in parts.into_iter().flatten() {
            state.part(part, (&self.id, choice), &mut say)?;
            if self.whole {
                state.close(&mut say);
            }
        }
        let logprobs = candidate.logprobs_result;
        if let Some(list) = logprobs.and_then(super::super::logprobs::LogprobsIn::read) {
            say(Piece::Logprobs(list));
        }
        let blocked =
            |ratings: &&RawValue| memmem::find(ratings.get().as_bytes(), b"true").is_some();
        let named = [
            ("citationMetadata", candidate.citation_metadata),
            ("groundingMetadata", candidate.grounding_metadata),
            ("urlContextMetadata", candidate.url_context_metadata),
            ("finishMessage", candidate.finish_message),
            ("safetyRatings", candidate.safety_ratings.filter(blocked)),
        ];
        for (name, value) in named {
            if let Some(value) = value.filter(|value| !is_empty(value)) {
                say(extra(name, value));
            }
        }
        let word = said(candidate.finish_reason);
        let finish = word.and_then(|word| finish::read(&word, state.calls > 0));
        state.finish = finish.or(state.finish.take());
        Ok(())
    }

    fn fail(&mut self, data: &[u8], out: Out<'_>) {
        self.over = true;
        out(&Delta::Error(read_event(data)));
    }
}

impl State {
    fn part<'m>(
        &mut self,
        part: PartIn<'m>,
        (answer, choice): (&str, u32),
        say: Say<'_, 'm>,
    ) -> Result<(), DecodeError> {
        let kind = match part.thought {
            Some(true) => Kind::Thought,
            _ => Kind::Text,
        };
        let seal = said(part.thought_signature).map(seal::read);
        if let Some(call) = part.function_call {
            return self.call(call, seal, (answer, choice), say);
        }
        let named = [
            ("fileData", part.file_data),
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                self.close(say);
                say(extra(name, value));
            }
        }
        if let Some(source) = part.inline_data.and_then(blob) {
            say(Piece::Media(source));
            // What a seal is on, if there is one.
            self.open = Some(kind);
            self.seal(kind, seal, say);
            self.close(say);
            return Ok(());
        }
        if let Some(text) = said(part.text) {
            say(match kind {
                Kind::Text => Piece::Text(text),
                Kind::Thought => Piece::Reasoning(text),
            });
            self.open = Some(kind);
        }
        self.seal(kind, seal, say);
        Ok(())
    }

    /// A seal on an empty text is on the text before it, which the stream has cut off. A part that
    /// is sealed is whole.
    fn seal<'m>(&mut self, kind: Kind, seal: Option<Seal<'m>>, say: Say<'_, 'm>) {
        let Some(seal) = seal else { return };
        if self.open != Some(kind) {
            self.close(say);
        }
        say(Piece::Seal(seal));
        self.open = Some(kind);
        self.close(say);
    }

    fn close(&mut self, say: Say<'_, '_>) {
        if self.open.take().is_some() {
            say(Piece::Close);
        }
    }

    fn call<'m>(
        &mut self,
        call: CallIn<'m>,
        seal: Option<Seal<'m>>,
        (answer, choice): (&str, u32),
        say: Say<'_, 'm>,
    ) -> Result<(), DecodeError> {
        let number = self.calls;
        if number >= ANSWER_CALLS {
            return Err(DecodeError::TooMany("tool calls"));
        }
        self.calls += 1;
        self.open = None;
        let id = said(call.id);
        say(Piece::ToolCall {
            call: number,
            id: id.unwrap_or_else(|| stable_call_id(answer, choice, number).into()),
            name: said(call.name).unwrap_or_default(),
            seal,
        });
        let args = call.args.map_or("{}", RawValue::get);
        let json = match args {
            "null" => Cow::Borrowed("{}"),
            args => compact(args),
        };
        say(Piece::Arguments { call: number, json });
        say(Piece::Close);
        Ok(())
    }
}

fn blob(blob: BlobIn<'_>) -> Option<Source<'_>> {
    Some(Source::Base64 {
        media_type: said(blob.mime_type).unwrap_or(Cow::Borrowed("application/octet-stream")),
        data: seal::standard(said(blob.data)?),
    })
}

/// On one line, as it comes in whole answers too, which are written on many.
fn extra<'a>(name: &'static str, value: &'a RawValue) -> Piece<'a> {
    let json = match compact(value.get()) {
        Cow::Borrowed(_) => Ok(Json::from(value)),
        Cow::Owned(line) => Json::parse(&line).map(Json::into_owned),
    };
    Piece::Extra(Extra {
        dialect: NAME,
        name: Cow::Borrowed(name),
        value: json.unwrap_or_else(|_| Json::from(value)),
    })
}

fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "\"\"" | "{}" | "[]")
}
