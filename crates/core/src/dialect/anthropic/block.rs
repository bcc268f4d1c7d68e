//! Content blocks as they are written, to providers and to clients.

use std::borrow::Cow;

use serde::Serialize;

use super::token::{self, On};
use crate::content::{Json, Maker, Seal, SealForm, Source};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum BlockOut<'a> {
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: InputOut<'a>,
    },
    Image {
        source: SourceOut<'a>,
    },
    Document {
        source: SourceOut<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
}

/// A call's arguments.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum InputOut<'a> {
    Json(Json<'a>),
    /// What the model wrote is not JSON: a cut answer's. Better seen as it is than taken for none.
    Text(&'a str),
}

impl<'a> InputOut<'a> {
    pub(super) fn new(arguments: &'a str) -> Self {
        let arguments = if arguments.is_empty() {
            "{}"
        } else {
            arguments
        };
        Json::parse(arguments).map_or(Self::Text(arguments), Self::Json)
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SourceOut<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
    File { file_id: &'a str },
}

impl<'a> From<&'a Source<'_>> for SourceOut<'a> {
    fn from(source: &'a Source<'_>) -> Self {
        match source {
            Source::Base64 { media_type, data } => Self::Base64 { media_type, data },
            Source::Text(data) => Self::Text {
                media_type: "text/plain",
                data,
            },
            Source::Url(url) => Self::Url { url },
            Source::File(file_id) => Self::File { file_id },
        }
    }
}

impl<'a> BlockOut<'a> {
    /// Reasoning for a client, which is to send it back with its seal.
    pub(super) fn reasoning(text: &'a str, seal: Option<&'a Seal<'_>>) -> Self {
        match seal {
            Some(seal) if text.is_empty() && seal.form == SealForm::Encrypted => {
                Self::hidden(seal, On::Reasoning)
            }
            seal => Self::Thinking {
                thinking: text,
                signature: seal.map_or(Cow::Borrowed(""), |seal| {
                    signature(seal, SealForm::Signature, On::Reasoning)
                }),
            },
        }
    }

    /// A seal in a block of its own.
    pub(super) fn hidden(seal: &'a Seal<'_>, on: On) -> Self {
        Self::RedactedThinking {
            data: signature(seal, SealForm::Encrypted, on),
        }
    }

    /// What a model made that is no text.
    pub(super) fn media(source: &'a Source<'_>) -> Self {
        let is_image = match source {
            Source::Base64 { media_type, .. } => media_type.starts_with("image/"),
            Source::Url(_) => true,
            Source::Text(_) | Source::File(_) => false,
        };
        let source = source.into();
        if is_image {
            Self::Image { source }
        } else {
            Self::Document {
                source,
                title: None,
            }
        }
    }
}

/// Anthropic's own where it is at home, else a token.
pub(super) fn signature<'a>(seal: &'a Seal<'_>, home: SealForm, on: On) -> Cow<'a, str> {
    let native = seal.maker == Maker::Anthropic && seal.form == home && on == On::Reasoning;
    if native && seal.id.is_none() {
        Cow::Borrowed(&seal.data)
    } else {
        Cow::Owned(token::write(seal, on))
    }
}
