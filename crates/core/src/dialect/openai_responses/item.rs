//! The items of an answer as they are written.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::value::RawValue;

use super::repeated::Repeated;
use crate::answer::Choice;
use crate::content::{Content, Json, Part, Seal, Source};
use crate::dialect::token::{self, On};

/// An item, as far as it is known.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Message {
        refusal: bool,
        text: Repeated,
        logprobs: Vec<Json<'static>>,
    },
    Reasoning {
        text: Repeated,
        seal: Option<String>,
    },
    Call {
        id: String,
        name: String,
        arguments: Repeated,
    },
    Image {
        data: String,
    },
}

impl Item {
    pub(super) fn text(text: &str, refusal: bool) -> Self {
        Self::Message {
            refusal,
            text: text.into(),
            logprobs: Vec::new(),
        }
    }

    /// An item that has nothing but a seal.
    pub(super) fn seal(seal: &Seal<'_>, on: On) -> Self {
        Self::Reasoning {
            text: Repeated::default(),
            seal: Some(token::write(seal, on)),
        }
    }

    pub(super) fn media(source: &Source<'_>) -> Self {
        match source {
            Source::Base64 { media_type, data } if media_type.starts_with("image/") => {
                Self::Image {
                    data: data.as_ref().to_owned(),
                }
            }
            Source::Text(text) | Source::File(text) => Self::text(text, false),
            source => Self::text(&source.to_url().unwrap_or_default(), false),
        }
    }

    /// Its id: the response's, and its place in it.
    pub(super) fn id(&self, response: &str, index: usize) -> String {
        let kind = match self {
            Self::Message { .. } => "msg",
            Self::Reasoning { .. } => "rs",
            Self::Call { .. } => "fc",
            Self::Image { .. } => "ig",
        };
        format!("{kind}_{response}_{index}")
    }

    pub(super) fn out<'a>(&'a self, id: &'a str, status: &'static str) -> ItemOut<'a> {
        match self {
            Self::Message { .. } => ItemOut::Message {
                id,
                status,
                role: "assistant",
                content: self.part().into_iter().collect(),
            },
            Self::Reasoning { text, seal } => {
                let shown = (!text.is_empty()).then_some(PartOut::SummaryText { text });
                ItemOut::Reasoning {
                    id,
                    summary: shown.into_iter().collect(),
                    encrypted_content: seal.as_deref(),
                }
            }
            Self::Call {
                id: call_id,
                name,
                arguments,
            } => ItemOut::FunctionCall {
                id,
                status,
                call_id,
                name,
                arguments,
            },
            Self::Image { data } => ItemOut::ImageGenerationCall {
                id,
                status,
                result: data,
            },
        }
    }

    /// What a message says, or reasoning shows.
    pub(super) fn part(&self) -> Option<PartOut<'_>> {
        match self {
            Self::Message {
                refusal: true,
                text,
                ..
            } => Some(PartOut::Refusal { refusal: text }),
            Self::Message { text, logprobs, .. } => Some(PartOut::OutputText {
                text,
                annotations: [],
                logprobs: joined(logprobs),
            }),
            Self::Reasoning { text, .. } => Some(PartOut::SummaryText { text }),
            Self::Call { .. } | Self::Image { .. } => None,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemOut<'a> {
    Message {
        id: &'a str,
        status: &'static str,
        role: &'static str,
        content: Vec<PartOut<'a>>,
    },
    Reasoning {
        id: &'a str,
        summary: Vec<PartOut<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
    FunctionCall {
        id: &'a str,
        status: &'static str,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a Repeated,
    },
    ImageGenerationCall {
        id: &'a str,
        status: &'static str,
        result: &'a str,
    },
}

impl ItemOut<'_> {
    /// As it is when it is added: what it says comes behind it.
    pub(super) fn without_parts(mut self) -> Self {
        match &mut self {
            Self::Message { content: parts, .. } | Self::Reasoning { summary: parts, .. } => {
                parts.clear();
            }
            Self::FunctionCall { .. } | Self::ImageGenerationCall { .. } => {}
        }
        self
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartOut<'a> {
    OutputText {
        text: &'a Repeated,
        annotations: [(); 0],
        logprobs: Json<'static>,
    },
    Refusal {
        refusal: &'a Repeated,
    },
    SummaryText {
        text: &'a Repeated,
    },
}

/// The elements of arrays as one array.
pub(super) fn joined(lists: &[Json<'_>]) -> Json<'static> {
    static NONE: LazyLock<Box<RawValue>> =
        LazyLock::new(|| RawValue::from_string("[]".to_owned()).unwrap_or_default());
    if lists.is_empty() {
        return Json::from(&**NONE);
    }
    let inner = lists.iter().map(|list| {
        let text = list.as_str().trim_ascii();
        let inner = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or_default().trim_ascii()
    });
    let inner: Vec<_> = inner.filter(|inner| !inner.is_empty()).collect();
    let all = format!("[{}]", inner.join(","));
    let all = RawValue::from_string(all).unwrap_or_default();
    Json::from(&*all).into_owned()
}

/// The items of a choice.
pub(super) fn items(choice: &Choice) -> Vec<Item> {
    let mut items = Vec::with_capacity(choice.parts.len());
    for part in &choice.parts {
        add(part, &mut items);
    }
    if let Some(Item::Message { logprobs, .. }) = items
        .iter_mut()
        .rfind(|item| matches!(item, Item::Message { refusal: false, .. }))
    {
        logprobs.extend(choice.logprobs.iter().cloned());
    }
    items
}

fn add(part: &Part<'_>, items: &mut Vec<Item>) {
    let seal = part.seal.as_ref();
    match &part.content {
        Content::Text(text) => items.push(Item::text(text, false)),
        Content::Refusal(text) => items.push(Item::text(text, true)),
        Content::Reasoning(text) => {
            items.push(Item::Reasoning {
                text: text.as_ref().into(),
                seal: seal.map(|seal| token::write(seal, On::Reasoning)),
            });
            return;
        }
        Content::ToolCall(call) => {
            items.extend(seal.map(|seal| Item::seal(seal, On::Behind)));
            items.push(Item::Call {
                id: call.id.as_ref().to_owned(),
                name: call.name.as_ref().to_owned(),
                arguments: call.arguments.as_ref().into(),
            });
            return;
        }
        Content::Image { source, .. }
        | Content::Audio(source)
        | Content::Document { source, .. } => items.push(Item::media(source)),
        // A model does not say these.
        Content::ToolResult(_) => return,
    }
    items.extend(seal.map(|seal| Item::seal(seal, On::Before)));
}
