//! `reasoning_details`: reasoning with its seals, in OpenRouter's form.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::content::{Maker, Seal, SealForm};
use crate::dialect::wire::{Figure, Str, said};

/// An element as it is read. In a stream those with the same index are parts of one.
#[derive(Debug, Deserialize)]
pub(super) struct Detail<'a> {
    #[serde(default)]
    pub(super) index: Figure,
    #[serde(borrow)]
    text: Option<Str<'a>>,
    #[serde(borrow)]
    summary: Option<Str<'a>>,
    #[serde(borrow)]
    signature: Option<Str<'a>>,
    #[serde(borrow)]
    data: Option<Str<'a>>,
    #[serde(borrow)]
    id: Option<Str<'a>>,
    #[serde(borrow)]
    format: Option<Str<'a>>,
}

impl<'a> Detail<'a> {
    /// The text and the seal, either of which may be missing.
    pub(super) fn read(self) -> (Option<Cow<'a, str>>, Option<Seal<'a>>) {
        let text = said(self.text).or(said(self.summary));
        let data = match (said(self.signature), said(self.data)) {
            (Some(signature), _) => Some((SealForm::Signature, signature)),
            (None, Some(data)) => Some((SealForm::Encrypted, data)),
            (None, None) => None,
        };
        let maker = maker_of(said(self.format).as_deref());
        let id = said(self.id);
        let seal = data.map(|(form, data)| Seal {
            maker,
            form,
            id,
            data,
        });
        (text, seal)
    }
}

fn maker_of(format: Option<&str>) -> Maker {
    let format = format.unwrap_or_default();
    let format = format.strip_prefix("azure-").unwrap_or(format);
    match format.split('-').next() {
        Some("anthropic") => Maker::Anthropic,
        Some("google") => Maker::Google,
        Some("openai") => Maker::OpenAi,
        _ => Maker::Other,
    }
}

const fn format_of(maker: Maker) -> &'static str {
    match maker {
        Maker::Anthropic => "anthropic-claude-v1",
        Maker::Google => "google-gemini-v1",
        Maker::OpenAi => "openai-responses-v1",
        Maker::Other => "unknown",
    }
}

/// An element as it is written.
#[derive(Debug, Serialize)]
pub(super) struct DetailOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    index: u32,
}

impl<'a> DetailOut<'a> {
    /// Gives it another place.
    pub(super) fn number(&mut self, index: u32) {
        self.index = index;
    }

    pub(super) fn new(index: u32, text: Option<&'a str>, seal: Option<&'a Seal<'_>>) -> Self {
        let data_of = |form| {
            seal.filter(|seal| seal.form == form)
                .map(|seal| &*seal.data)
        };
        let encrypted = data_of(SealForm::Encrypted);
        Self {
            kind: if encrypted.is_some() {
                "reasoning.encrypted"
            } else {
                "reasoning.text"
            },
            text,
            signature: data_of(SealForm::Signature),
            data: encrypted,
            id: seal.and_then(|seal| seal.id.as_deref()),
            format: seal.map(|seal| format_of(seal.maker)),
            index,
        }
    }
}
