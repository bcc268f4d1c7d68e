use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::answer::{Delta, Piece, Start};
use crate::content::{Maker, Seal, SealForm, Source, stable_call_id};
use crate::dialect::deltas::{Out, extra, say};
use crate::dialect::json::text_of;
use crate::dialect::openai::fault_from_event;
use crate::dialect::openai_responses::wire::{EventIn, ItemIn, ResponseIn, TextIn};
use crate::dialect::openai_responses::{NAME, finish};
use crate::dialect::token;
use crate::dialect::translate::DecodeError;
use crate::dialect::wire::{Str, read, said};
use crate::limits::ANSWER_CALLS;

/// Events to deltas.
#[derive(Debug)]
pub struct Decoder {
    /// The answer's id: the provider's, once it is known.
    id: String,
    started: bool,
    over: bool,
    refused: bool,
    /// The calls so far.
    calls: u32,
    /// Those whose item is not done, by its place.
    open_calls: BTreeMap<u64, OpenCall>,
    /// Which part of the open item was said last.
    part: Option<(Kind, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct OpenCall {
    number: u32,
    /// It has no arguments so far.
    bare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Summary,
    Thought,
}

impl Decoder {
    pub(in crate::dialect) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            started: false,
            over: false,
            refused: false,
            calls: 0,
            open_calls: BTreeMap::new(),
            part: None,
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
        let event: EventIn<'_> = read(data)?;
        let kind = event.kind.as_ref().map_or("", |kind| &*kind.0);
        if name == b"error" || kind == "error" || kind.is_empty() {
            self.fail(data, out);
            return Ok(());
        }
        let place = event.output_index.0.unwrap_or(0);
        let content = event.content_index.0.unwrap_or(0);
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                if let Some(response) = event.response {
                    self.start(&serde_json::from_str(response.get())?, out);
                }
            }
            "response.output_item.added" => {
                if let Some(item) = event.item {
                    self.added(serde_json::from_str(item.get())?, place, out)?;
                }
            }
            "response.output_text.delta" => {
                self.more(Kind::Text, content, text(event.delta)?, out);
                logprobs(event.logprobs, out);
            }
            "response.refusal.delta" => self.more(Kind::Refusal, content, text(event.delta)?, out),
            "response.reasoning_summary_text.delta" => {
                let index = event.summary_index.0.unwrap_or(0);
                self.more(Kind::Summary, index, text(event.delta)?, out);
            }
            "response.reasoning_text.delta" => {
                self.more(Kind::Thought, content, text(event.delta)?, out);
            }
            "response.function_call_arguments.delta" => {
                self.arguments(place, text(event.delta)?, out);
            }
            "response.output_item.done" => {
                if let Some(item) = event.item {
                    self.done(item, place, out)?;
                }
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                if let Some(raw) = event.response {
                    let response = serde_json::from_str(raw.get())?;
                    self.end(response, raw.get().as_bytes(), out);
                }
            }
            // The same once more, whole; the tools that a provider runs itself; and what may come.
            _ => {}
        }
        Ok(())
    }

    pub(in crate::dialect) fn finish(&mut self, _: Out<'_>) -> Result<(), DecodeError> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        Err(DecodeError::Cut(
            "ended its answer without response.completed",
        ))
    }

    /// Takes a whole answer, of which `raw` is the text.
    pub(in crate::dialect::openai_responses) fn whole(
        &mut self,
        mut response: ResponseIn<'_>,
        raw: &[u8],
        out: Out<'_>,
    ) -> Result<(), DecodeError> {
        self.start(&response, out);
        for (place, raw) in (0..).zip(response.output.take().into_iter().flatten()) {
            let item: ItemIn<'_> = serde_json::from_str(raw.get())?;
            let kind = item.kind.as_ref().map_or("", |kind| &*kind.0);
            let is_call = kind == "function_call";
            let parts = (item.summary.is_some() || item.content.is_some()) && !is_call;
            self.added(item, place, out)?;
            if parts {
                self.parts(serde_json::from_str(raw.get())?, out);
            }
            self.done(raw, place, out)?;
        }
        self.end(response, raw, out);
        Ok(())
    }

    fn start(&mut self, response: &ResponseIn<'_>, out: Out<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let text = |text: &Option<Str<'_>>| {
            let text = text.as_ref().map(|text| text.0.as_ref());
            text.unwrap_or_default().to_owned()
        };
        let id = text(&response.id);
        if !id.is_empty() {
            id.clone_into(&mut self.id);
        }
        out(&Delta::Start(Start {
            id: id.into(),
            model: text(&response.model).into(),
            created: response.created_at.0,
        }));
    }

    fn added(&mut self, item: ItemIn<'_>, place: u64, out: Out<'_>) -> Result<(), DecodeError> {
        self.part = None;
        if item
            .kind
            .as_ref()
            .is_none_or(|kind| kind.0 != "function_call")
        {
            return Ok(());
        }
        let number = self.calls;
        if number >= ANSWER_CALLS {
            return Err(DecodeError::TooMany("tool calls"));
        }
        self.calls += 1;
        let call = OpenCall { number, bare: true };
        self.open_calls.insert(place, call);
        let id = said(item.call_id);
        let piece = Piece::ToolCall {
            call: number,
            id: id.unwrap_or_else(|| stable_call_id(&self.id, 0, number).into()),
            name: said(item.name).unwrap_or_default(),
            seal: None,
        };
        say(out, piece);
        Ok(())
    }

    /// What a whole item says.
    fn parts(&mut self, item: ItemIn<'_>, out: Out<'_>) {
        for (index, part) in (0..).zip(item.summary.into_iter().flatten()) {
            self.more(Kind::Summary, index, said(part.text), out);
        }
        let is_message = item.kind.is_some_and(|kind| kind.0 == "message");
        for (index, part) in (0..).zip(item.content.into_iter().flatten()) {
            let kind = if is_message {
                Kind::Text
            } else {
                Kind::Thought
            };
            self.more(kind, index, said(part.text), out);
            self.more(Kind::Refusal, index, said(part.refusal), out);
            logprobs(part.logprobs, out);
        }
    }

    /// More of a part, in an answer's own order.
    fn more(&mut self, kind: Kind, index: u64, text: Option<Cow<'_, str>>, out: Out<'_>) {
        let Some(text) = text else { return };
        let before = self.part.replace((kind, index));
        let another = before.is_some_and(|before| before != (kind, index));
        match kind {
            Kind::Text | Kind::Refusal => {
                if another {
                    say(out, Piece::Close);
                }
                self.refused |= kind == Kind::Refusal;
                say(
                    out,
                    match kind {
                        Kind::Text => Piece::Text(text),
                        _ => Piece::Refusal(text),
                    },
                );
            }
            Kind::Summary | Kind::Thought => {
                // A seal is on all parts of an item.
                if another {
                    say(out, Piece::Reasoning(Cow::Borrowed("\n\n")));
                }
                say(out, Piece::Reasoning(text));
            }
        }
    }

    fn arguments(&mut self, place: u64, json: Option<Cow<'_, str>>, out: Out<'_>) {
        if let (Some(call), Some(json)) = (self.open_calls.get_mut(&place), json) {
            call.bare = false;
            let call = call.number;
            say(out, Piece::Arguments { call, json });
        }
    }

    fn done(&mut self, raw: &RawValue, place: u64, out: Out<'_>) -> Result<(), DecodeError> {
        let item: ItemIn<'_> = serde_json::from_str(raw.get())?;
        match item.kind.as_ref().map_or("", |kind| &*kind.0) {
            "message" => {
                for annotation in annotations(item.content) {
                    say(out, extra(NAME, "annotation", annotation));
                }
                self.close(out);
            }
            "reasoning" => {
                if let Some(data) = said(item.encrypted_content) {
                    say(out, Piece::Seal(seal(data, said(item.id))));
                    self.part.get_or_insert((Kind::Summary, 0));
                }
                self.close(out);
            }
            "function_call" => {
                let call = self.open_calls.remove(&place);
                if let Some(OpenCall { number, bare: true }) = call {
                    let json = said(item.arguments).unwrap_or(Cow::Borrowed("{}"));
                    say(out, Piece::Arguments { call: number, json });
                }
                say(out, Piece::Close);
            }
            "image_generation_call" => {
                let data = item.result.filter(|data| data.get().starts_with('"'));
                if let Some(data) = data {
                    say(
                        out,
                        Piece::Media(Source::Base64 {
                            media_type: Cow::Borrowed("image/png"),
                            data: text_of(data.get())?,
                        }),
                    );
                    say(out, Piece::Close);
                }
            }
            _ => say(out, extra(NAME, "output_item", raw)),
        }
        Ok(())
    }

    fn close(&mut self, out: Out<'_>) {
        if self.part.take().is_some() {
            say(out, Piece::Close);
        }
    }

    fn end(&mut self, response: ResponseIn<'_>, raw: &[u8], out: Out<'_>) {
        self.start(&response, out);
        if let Some(usage) = response.usage.and_then(super::super::usage::UsageIn::read) {
            out(&Delta::Usage(usage));
        }
        let status = said(response.status).unwrap_or_default();
        if response.error.is_some() || matches!(&*status, "failed" | "cancelled") {
            self.fail(raw, out);
            return;
        }
        self.over = true;
        let reason = response.incomplete_details.and_then(|why| said(why.reason));
        let incomplete = (status == "incomplete").then(|| reason.as_deref().unwrap_or("other"));
        out(&Delta::Finish {
            choice: 0,
            finish: finish::read(incomplete, self.calls > 0, self.refused),
        });
        out(&Delta::End);
    }

    fn fail(&mut self, data: &[u8], out: Out<'_>) {
        self.over = true;
        out(&Delta::Error(fault_from_event(data).into()));
    }
}

/// The text of a delta. Other items have deltas of other kinds.
fn text(delta: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let text = delta.map(RawValue::get);
    let text = text.filter(|text| text.starts_with('"')).map(text_of);
    Ok(text.transpose()?.filter(|text| !text.is_empty()))
}

fn logprobs(list: Option<&RawValue>, out: Out<'_>) {
    if let Some(list) = list.filter(|list| !matches!(list.get(), "null" | "[]")) {
        say(out, Piece::Logprobs(list.into()));
    }
}

fn annotations(content: Option<Vec<TextIn<'_>>>) -> impl Iterator<Item = &RawValue> {
    let parts = content.into_iter().flatten();
    parts.flat_map(|part| part.annotations.into_iter().flatten())
}

/// OpenAI's own, or another maker's in a token.
fn seal<'a>(data: Cow<'a, str>, id: Option<Cow<'a, str>>) -> Seal<'a> {
    let foreign = token::read(&data).map(|(seal, _)| seal.into_owned());
    foreign.unwrap_or(Seal {
        maker: Maker::OpenAi,
        form: SealForm::Encrypted,
        id,
        data,
    })
}
