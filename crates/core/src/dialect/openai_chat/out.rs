//! What is written to clients: chunks, and the parts of a message that whole answers and requests
//! have too.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::reasoning::DetailOut;
use super::usage::UsageOut;
use crate::content::{Json, Maker, Seal, Source};

#[derive(Serialize)]
pub(super) struct ChunkOut<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: &'a [ChoiceOut<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<UsageOut>,
}

#[derive(Default, Serialize)]
pub(super) struct ChoiceOut<'a> {
    pub(super) index: u32,
    pub(super) delta: DeltaOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<LogprobsOut<'a>>,
    pub(super) finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) native_finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct LogprobsOut<'a> {
    pub(super) content: &'a Json<'a>,
    pub(super) refusal: Option<()>,
}

#[derive(Default, Serialize)]
pub(super) struct DeltaOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<TextOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_details: Option<[DetailOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[CallOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<[ImageOut<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<ExtraOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_fields: Option<BTreeMap<&'static str, [NamedOut<'a>; 1]>>,
}

/// A text, or null beside the role of a choice that begins with something else.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum TextOut<'a> {
    Text(&'a str),
    Null,
}

/// A tool call, or more of one.
#[derive(Debug, Default, Serialize)]
pub(super) struct CallOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function: Option<FunctionOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<ExtraOut<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) arguments: &'a str,
}

/// Google's place for its seals.
#[derive(Debug, Serialize)]
pub(super) struct ExtraOut<'a> {
    google: GoogleOut<'a>,
}

#[derive(Debug, Serialize)]
struct GoogleOut<'a> {
    thought_signature: &'a str,
}

impl<'a> ExtraOut<'a> {
    pub(super) fn of(seal: Option<&'a Seal<'_>>) -> Option<Self> {
        let seal = seal.filter(|seal| seal.maker == Maker::Google)?;
        Some(Self {
            google: GoogleOut {
                thought_signature: &seal.data,
            },
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ImageOut<'a> {
    /// In streams, as for [`NamedOut`].
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(rename = "type")]
    kind: &'static str,
    image_url: UrlOut<'a>,
}

#[derive(Debug, Serialize)]
struct UrlOut<'a> {
    url: Cow<'a, str>,
}

impl<'a> ImageOut<'a> {
    /// `None` for what has no URL.
    pub(super) fn of(source: &'a Source<'_>, index: Option<u32>) -> Option<Self> {
        Some(Self {
            index,
            kind: "image_url",
            image_url: UrlOut {
                url: source.to_url()?,
            },
        })
    }
}

/// One of the provider's own fields.
#[derive(Serialize)]
pub(super) struct NamedOut<'a> {
    /// In streams: OpenAI's clients put the pieces of any list together by it, and fail without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    pub(super) name: &'a str,
    pub(super) value: &'a Json<'a>,
}
