//! Events and whole answers as they are read. What is not listed is not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageIn;
use crate::dialect::wire::{Figure, Str};

/// Any event: which members it has depends on its type.
#[derive(Debug, Deserialize)]
pub(super) struct EventIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) output_index: Figure,
    #[serde(default)]
    pub(super) content_index: Figure,
    #[serde(default)]
    pub(super) summary_index: Figure,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ResponseIn<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Str<'a>>,
    #[serde(default)]
    pub(super) created_at: Figure,
    #[serde(borrow)]
    pub(super) status: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) incomplete_details: Option<IncompleteIn<'a>>,
    #[serde(borrow)]
    pub(super) output: Option<Vec<&'a RawValue>>,
    pub(super) usage: Option<UsageIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct IncompleteIn<'a> {
    #[serde(borrow)]
    pub(super) reason: Option<Str<'a>>,
}

/// An item, at its start or whole.
#[derive(Debug, Deserialize)]
pub(super) struct ItemIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) call_id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) arguments: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Vec<TextIn<'a>>>,
    #[serde(borrow)]
    pub(super) summary: Option<Vec<TextIn<'a>>>,
    #[serde(borrow)]
    pub(super) encrypted_content: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
}

/// A part of a message, or of reasoning.
#[derive(Debug, Deserialize)]
pub(super) struct TextIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) annotations: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub(super) logprobs: Option<&'a RawValue>,
}
