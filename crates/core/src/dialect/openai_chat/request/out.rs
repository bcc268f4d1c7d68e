//! What is written to providers: the messages of a conversation.

use std::borrow::Cow;

use serde::Serialize;

use super::super::out::{CallOut, ExtraOut};
use super::super::reasoning::DetailOut;
use crate::content::CacheMark;

#[derive(Default, Serialize)]
pub(super) struct MessageOut<'a> {
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<ContentOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasoning_details: Vec<DetailOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<AssistantCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<ExtraOut<'a>>,
    /// Marks the beginning of the answer, at Mistral.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) prefix: bool,
    /// The same at Moonshot and DashScope.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) partial: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ContentOut<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PartOut<'a>>),
}

#[derive(Serialize)]
pub(super) struct PartOut<'a> {
    #[serde(flatten)]
    pub(super) kind: KindOut<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<CacheOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum KindOut<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageOut<'a> },
    InputAudio { input_audio: AudioOut<'a> },
    File { file: FileOut<'a> },
}

#[derive(Serialize)]
pub(super) struct ImageOut<'a> {
    pub(super) url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct AudioOut<'a> {
    pub(super) data: &'a str,
    pub(super) format: &'static str,
}

#[derive(Serialize)]
pub(super) struct FileOut<'a> {
    pub(super) filename: &'a str,
    pub(super) file_data: Cow<'a, str>,
}

/// Anthropic's mark, which others take too.
#[derive(Serialize)]
pub(super) struct CacheOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
}

impl<'a> From<&'a CacheMark<'_>> for CacheOut<'a> {
    fn from(mark: &'a CacheMark<'_>) -> Self {
        Self {
            kind: "ephemeral",
            ttl: mark.ttl.as_deref(),
        }
    }
}

/// A call with an id that the provider takes.
#[derive(Serialize)]
pub(super) struct AssistantCall<'a> {
    pub(super) id: Cow<'a, str>,
    #[serde(flatten)]
    pub(super) call: CallOut<'a>,
}

/// A single text is the text: not every server takes lists.
pub(super) fn from_parts(mut parts: Vec<PartOut<'_>>) -> ContentOut<'_> {
    match parts.as_slice() {
        [] => ContentOut::Text(Cow::Borrowed("")),
        [
            PartOut {
                kind: KindOut::Text { .. },
                cache_control: None,
            },
        ] => match parts.pop().map(|part| part.kind) {
            Some(KindOut::Text { text }) => ContentOut::Text(Cow::Borrowed(text)),
            _ => ContentOut::Parts(parts),
        },
        _ => ContentOut::Parts(parts),
    }
}
