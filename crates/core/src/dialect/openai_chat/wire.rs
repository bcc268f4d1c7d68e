//! A chunk or a whole answer as it is read. Members have the kinds that providers in the field give
//! them; what is not listed is not looked at.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::reasoning::Detail;
use super::usage::UsageIn;
use crate::dialect::wire::{Figure, Str, one_or_more};

#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Str<'a>>,
    #[serde(default)]
    pub(super) created: Figure,
    #[serde(borrow)]
    pub(super) object: Option<Str<'a>>,
    #[serde(borrow, default, deserialize_with = "one_or_more")]
    pub(super) choices: Vec<ChoiceIn<'a>>,
    pub(super) usage: Option<Box<UsageIn>>,
    /// Groq has its figures here as well, and in streams nowhere else unless asked.
    pub(super) x_groq: Option<GroqIn>,
    /// Azure's, of the question.
    #[serde(borrow)]
    pub(super) prompt_filter_results: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroqIn {
    pub(super) usage: Option<Box<UsageIn>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChoiceIn<'a> {
    #[serde(default)]
    pub(super) index: Figure,
    #[serde(borrow)]
    pub(super) delta: Option<MessageIn<'a>>,
    /// Boxed, as what is here once in an answer is not to be moved around with each of its chunks.
    #[serde(borrow)]
    pub(super) message: Option<Box<MessageIn<'a>>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) native_finish_reason: Option<Str<'a>>,
    /// vLLM's stop sequence, or the number of a token.
    #[serde(borrow)]
    pub(super) stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) logprobs: Option<LogprobsIn<'a>>,
    /// Azure's.
    #[serde(borrow)]
    pub(super) content_filter_results: Option<&'a RawValue>,
    /// Moonshot has it here.
    pub(super) usage: Option<Box<UsageIn>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) content: Option<Said<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) reasoning: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_details: Option<Vec<Detail<'a>>>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<CallIn<'a>>>,
    #[serde(borrow)]
    pub(super) function_call: Option<Box<FunctionIn<'a>>>,
    #[serde(borrow)]
    pub(super) extra_content: Option<Box<ExtraContent<'a>>>,
    #[serde(borrow)]
    pub(super) images: Option<Vec<ImageIn<'a>>>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) audio: Option<&'a RawValue>,
}

/// What `content` may be: a text, or parts, as at Mistral.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PartIn<'a>>),
}

#[derive(Debug, Deserialize)]
pub(super) struct PartIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Said<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallIn<'a> {
    #[serde(default)]
    pub(super) index: Figure,
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) function: Option<FunctionIn<'a>>,
    #[serde(borrow)]
    pub(super) extra_content: Option<Box<ExtraContent<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionIn<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    /// A text, or at some servers the object itself.
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExtraContent<'a> {
    #[serde(borrow)]
    pub(super) google: Option<GoogleIn<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GoogleIn<'a> {
    #[serde(borrow)]
    pub(super) thought_signature: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageIn<'a> {
    #[serde(borrow)]
    pub(super) image_url: Option<UrlIn<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UrlIn<'a> {
    #[serde(borrow)]
    pub(super) url: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LogprobsIn<'a> {
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Said<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaidVisitor)
    }
}

struct SaidVisitor;

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Said<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Said::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Said::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Said::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Said::Parts)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let part = PartIn::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Said::Parts(vec![part]))
    }
}
