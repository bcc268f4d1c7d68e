//! Events and whole answers as they are read. What is not listed is not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageIn;
use crate::dialect::wire::Str;

/// Any event: which members it has depends on its type. One flat struct costs less than an enum,
/// whose tag serde would have to find first.
#[derive(Debug, Deserialize)]
pub(super) struct EventIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) delta: Option<DeltaIn<'a>>,
    #[serde(borrow)]
    pub(super) content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) message: Option<MessageIn<'a>>,
    pub(super) usage: Option<UsageIn>,
}

/// The change of a block, or of the message.
#[derive(Debug, Deserialize)]
pub(super) struct DeltaIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) partial_json: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) citation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) stop_reason: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) stop_sequence: Option<Str<'a>>,
}

/// The change of a block that only this API knows.
#[derive(Debug, Deserialize)]
pub(super) struct OtherIn<'a> {
    #[serde(borrow)]
    pub(super) delta: &'a RawValue,
}

/// A whole answer, or what `message_start` has of one.
#[derive(Debug, Deserialize)]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub(super) stop_reason: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) stop_sequence: Option<Str<'a>>,
    pub(super) usage: Option<UsageIn>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// A content block, at its start or whole.
#[derive(Debug, Deserialize)]
pub(super) struct BlockIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) citations: Option<Vec<&'a RawValue>>,
}
