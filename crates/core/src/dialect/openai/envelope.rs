mod addressed;

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::dialect::ProviderDialect;
use crate::dialect::json::{Member, for_each_member, text_of};
use crate::error::{Error, ErrorCode};
use crate::event::Surface;
use crate::limits::MODEL_BYTES;

/// What the gateway reads of a request. The body itself stays the client's bytes: providers' prompt
/// caches, and fields that nobody here knows, depend on it.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The model as the client named it. Not empty.
    pub model: String,
    /// The client wants events.
    pub stream: bool,
    /// The client wants to see the usage chunk.
    pub include_usage: bool,
    /// The client does not wait for the answer.
    pub background: bool,
    /// How many choices a whole answer has: `n` for each prompt.
    pub choices: u32,
    body: Bytes,
    surface: Surface,
    places: Places,
}

/// Where in the body lies what may have to change.
#[derive(Clone, Debug)]
struct Places {
    /// `None` when only the path says it.
    model: Option<Range<usize>>,
    stream: Option<Range<usize>>,
    /// The `background` member with one comma.
    background: Option<Range<usize>>,
    /// What makes `stream_options` ask for usage. `None` when it is absent.
    ask_usage: Option<Edit<&'static str>>,
}

#[derive(Clone, Debug)]
pub(super) struct Edit<T> {
    place: Range<usize>,
    text: T,
}

impl Envelope {
    /// Reads a request's top-level members.
    ///
    /// # Errors
    /// `InvalidJson` says where the body stops being JSON. `MissingField` and `InvalidValue` name
    /// the member. A member that is read here may stand only once: the provider could read the
    /// other one.
    pub fn parse(body: &Bytes, surface: Surface) -> Result<Self, Error> {
        let mut reader = Reader::default();
        for_each_member(body, |member| reader.member(&member, surface)).map_err(|e| e.0)?;
        reader.into_envelope(body, surface)
    }

    /// The API that the request is of.
    pub const fn surface(&self) -> Surface {
        self.surface
    }

    /// The body for an upstream of the same dialect: the client's bytes, but for the model's name there, without
    /// `background`, with `stream_options.include_usage` if `ask_usage` and the answer is
    /// streamed, and streamed in any case if `force_stream`.
    pub fn upstream_body(&self, model: &str, ask_usage: bool, force_stream: bool) -> Bytes {
        self.body_for(model, ask_usage, force_stream, false)
    }

    /// The same with `background` as the client has it, for an upstream that runs it so.
    pub fn background_body(&self, model: &str) -> Bytes {
        self.body_for(model, false, true, true)
    }

    fn body_for(
        &self,
        model: &str,
        ask_usage: bool,
        force_stream: bool,
        keep_background: bool,
    ) -> Bytes {
        let places = &self.places;
        let Some(model_place) = places
            .model
            .clone()
            .filter(|_| !self.surface.is_addressed())
        else {
            return self.addressed_body(model);
        };
        let mut edits = Vec::new();
        // New members stand behind the model, which is always there.
        let mut new_members = String::new();
        if force_stream && !self.stream {
            match &places.stream {
                Some(place) => edits.push(Edit::new(place.clone(), "true".to_owned())),
                None => new_members.push_str(r#","stream":true"#),
            }
        }
        let streamed = (self.stream || force_stream) && self.surface.is_completion();
        if ask_usage && streamed && !self.include_usage {
            match &places.ask_usage {
                Some(edit) => edits.push(Edit::new(edit.place.clone(), edit.text.to_owned())),
                None => new_members.push_str(r#","stream_options":{"include_usage":true}"#),
            }
        }
        if model != self.model {
            let name = serde_json::Value::from(model).to_string();
            edits.push(Edit::new(model_place, name + &new_members));
        } else if !new_members.is_empty() {
            edits.push(Edit::new(model_place.end..model_place.end, new_members));
        }
        if let Some(place) = &places.background
            && !keep_background
        {
            edits.push(Edit::new(place.clone(), String::new()));
        }
        splice(&self.body, edits)
    }
}

impl<T> Edit<T> {
    pub(super) fn new(place: Range<usize>, text: T) -> Self {
        Self { place, text }
    }
}

pub(super) fn splice(body: &Bytes, mut edits: Vec<Edit<String>>) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|edit| (edit.place.start, edit.place.end));
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut copied = 0;
    for edit in edits {
        out.put_slice(&body[copied..edit.place.start]);
        out.put_slice(edit.text.as_bytes());
        copied = edit.place.end;
    }
    out.put_slice(&body[copied..]);
    out.freeze()
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    model: Option<(String, Range<usize>)>,
    stream: Option<(bool, Range<usize>)>,
    options: Option<(bool, Option<Edit<&'static str>>)>,
    background: Option<bool>,
    background_place: Background,
    n: Option<u32>,
    prompts: Option<u32>,
    /// Where the last value ended.
    end: Option<usize>,
}

/// Where the `background` member lies, as far as that is known yet.
#[derive(Default)]
enum Background {
    #[default]
    Absent,
    /// From here to the next member's name, or, when none follows, from the end of the value
    /// before to the end of this one.
    From {
        start: usize,
        last: Option<Range<usize>>,
    },
    At(Range<usize>),
}

impl Reader {
    /// Passes a member whose value is of no interest here.
    fn pass(&mut self, member: &Member<'_>) {
        if let Background::From { start, .. } = self.background_place {
            self.background_place = Background::At(start..member.start);
        }
        self.end = Some(member.span.end);
    }

    fn member(&mut self, member: &Member<'_>, surface: Surface) -> Result<(), Refused> {
        let before = self.end;
        self.pass(member);
        let value = member.value;
        match &*member.key {
            "model" => {
                let model = (model(value)?, member.span.clone());
                once("model", &mut self.model, model)?;
            }
            "stream" => {
                let stream = (flag("stream", value)?, member.span.clone());
                once("stream", &mut self.stream, stream)?;
            }
            "background" => {
                once(
                    "background",
                    &mut self.background,
                    flag("background", value)?,
                )?;
                self.background_place = Background::From {
                    start: member.start,
                    last: before.map(|end| end..member.span.end),
                };
            }
            "stream_options" if surface.is_completion() => {
                let options = stream_options(value, member.span.start)?;
                once("stream_options", &mut self.options, options)?;
            }
            // What these say when they are wrong is the upstream's to judge.
            "n" if surface.native() == ProviderDialect::OpenAiChat => {
                once("n", &mut self.n, value.parse().unwrap_or(1).max(1))?;
            }
            "prompt" if surface == Surface::Completions => {
                once("prompt", &mut self.prompts, prompts(value))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn into_envelope(self, body: &Bytes, surface: Surface) -> Result<Envelope, Error> {
        let Some((model, model_place)) = self.model else {
            let missing = Error::new(ErrorCode::MissingField, "The request names no `model`.");
            return Err(missing.param("model"));
        };
        let (stream, stream_place) = self.stream.unzip();
        let (include_usage, ask_usage) = self.options.unzip();
        let stream = stream.unwrap_or(false);
        let background = self.background.unwrap_or(false);
        if stream && surface == Surface::Embeddings {
            return Err(invalid("stream", "Embeddings cannot be streamed."));
        }
        if background && matches!(surface, Surface::Completions | Surface::Embeddings) {
            let message = "Completions and embeddings cannot run in the background.";
            return Err(invalid("background", message));
        }
        Ok(Envelope {
            model,
            stream,
            include_usage: include_usage.unwrap_or(false),
            background,
            choices: self
                .n
                .unwrap_or(1)
                .saturating_mul(self.prompts.unwrap_or(1)),
            body: body.clone(),
            surface,
            places: Places {
                model: Some(model_place),
                stream: stream_place,
                background: match self.background_place {
                    Background::Absent => None,
                    Background::From { last, .. } => last,
                    Background::At(place) => Some(place),
                },
                ask_usage: ask_usage.flatten(),
            },
        })
    }
}

pub(super) fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), Error> {
    if slot.replace(value).is_some() {
        return Err(invalid(name, format!("The request has `{name}` twice.")));
    }
    Ok(())
}

pub(super) fn model(value: &str) -> Result<String, Error> {
    if !value.starts_with('"') {
        return Err(invalid("model", "`model` must be a string."));
    }
    checked_model(text_of(value).map_err(|error| not_json(&error))?)
}

fn checked_model(model: Cow<'_, str>) -> Result<String, Error> {
    if model.is_empty() {
        return Err(invalid("model", "`model` is empty."));
    }
    if model.len() > MODEL_BYTES {
        let message = format!("`model` is longer than {MODEL_BYTES} bytes.");
        return Err(invalid("model", message));
    }
    Ok(model.into_owned())
}

fn flag(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(invalid(name, format!("`{name}` must be true or false."))),
    }
}

/// Whether usage is asked for, and the change at `offset` in the body that would ask for it.
fn stream_options(
    value: &str,
    offset: usize,
) -> Result<(bool, Option<Edit<&'static str>>), Refused> {
    const NAME: &str = "stream_options.include_usage";
    if value == "null" {
        let place = offset..offset + value.len();
        let edit = Edit::new(place, r#"{"include_usage":true}"#);
        return Ok((false, Some(edit)));
    }
    if !value.starts_with('{') {
        let refused = invalid("stream_options", "`stream_options` must be an object.");
        return Err(refused.into());
    }
    let mut include_usage = None;
    let mut empty = true;
    for_each_member(value.as_bytes(), |member| {
        empty = false;
        if member.key == "include_usage" {
            let asked = (flag(NAME, member.value)?, member.span);
            once(NAME, &mut include_usage, asked)?;
        }
        Ok::<_, Refused>(())
    })?;
    let edit = match &include_usage {
        Some((_, span)) => Edit::new(offset + span.start..offset + span.end, "true"),
        None if empty => Edit::new(offset + 1..offset + 1, r#""include_usage":true"#),
        None => Edit::new(offset + 1..offset + 1, r#""include_usage":true,"#),
    };
    Ok((include_usage.is_some_and(|(asked, _)| asked), Some(edit)))
}

/// How many prompts a `prompt` member holds: a list of texts or of token lists is several.
fn prompts(value: &str) -> u32 {
    let inner = value.strip_prefix('[').map_or("", str::trim_ascii_start);
    if !inner.starts_with(['"', '[']) {
        return 1;
    }
    let count = serde_json::from_str::<Vec<IgnoredAny>>(value).map_or(1, |prompts| prompts.len());
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn invalid(name: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidValue, message).param(name)
}

/// The error for a body that is no JSON, or no object where one was expected. What the parser says
/// quotes nothing of the body in these cases.
pub(super) fn not_json(error: &serde_json::Error) -> Error {
    match error.classify() {
        Category::Data => Error::new(ErrorCode::InvalidValue, "The body must be a JSON object."),
        _ => Error::new(
            ErrorCode::InvalidJson,
            format!("The body is not JSON: {error}."),
        ),
    }
}

/// A refusal from within a walk over JSON.
pub(super) struct Refused(pub(super) Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Self(not_json(&error))
    }
}

#[cfg(test)]
mod tests;
