//! Events and whole answers as they are read. What is not listed is not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageIn;
use crate::dialect::wire::Str;

/// `contentBlockStart`, `contentBlockDelta` and `contentBlockStop`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockEventIn<'a> {
    #[serde(default)]
    pub(super) content_block_index: u64,
    #[serde(borrow)]
    pub(super) start: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
}

/// What a block begins with: only those of tools have anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartIn<'a> {
    #[serde(borrow)]
    pub(super) tool_use: Option<ToolUseIn<'a>>,
}

/// The change of a block, one of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeltaIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) tool_use: Option<InputIn<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Option<ReasoningDeltaIn<'a>>,
    #[serde(borrow)]
    pub(super) citation: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InputIn<'a> {
    #[serde(borrow)]
    pub(super) input: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasoningDeltaIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) redacted_content: Option<Str<'a>>,
}

/// `messageStop`, and the same of a whole answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopIn<'a> {
    #[serde(borrow)]
    pub(super) stop_reason: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) additional_model_response_fields: Option<FieldsIn<'a>>,
}

/// What requests of ours ask for beside the answer.
#[derive(Debug, Deserialize)]
pub(super) struct FieldsIn<'a> {
    #[serde(borrow)]
    pub(super) stop_sequence: Option<Str<'a>>,
}

/// `metadata`, and the same of a whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct MetadataIn<'a> {
    pub(super) usage: Option<UsageIn>,
    #[serde(borrow)]
    pub(super) trace: Option<&'a RawValue>,
}

/// A whole answer, but for what is also in events.
#[derive(Debug, Deserialize)]
pub(super) struct AnswerIn<'a> {
    #[serde(borrow)]
    pub(super) output: OutputIn<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OutputIn<'a> {
    #[serde(borrow)]
    pub(super) message: MessageIn<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) content: Vec<&'a RawValue>,
}

/// A whole block, one of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) tool_use: Option<ToolUseIn<'a>>,
    #[serde(borrow)]
    pub(super) reasoning_content: Option<ReasoningIn<'a>>,
    #[serde(borrow)]
    pub(super) citations_content: Option<CitationsIn<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUseIn<'a> {
    #[serde(borrow)]
    pub(super) tool_use_id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    /// Of tools that the provider runs itself.
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasoningIn<'a> {
    #[serde(borrow)]
    pub(super) reasoning_text: Option<ReasoningTextIn<'a>>,
    #[serde(borrow)]
    pub(super) redacted_content: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReasoningTextIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Str<'a>>,
}

/// Text with what it is taken from.
#[derive(Debug, Deserialize)]
pub(super) struct CitationsIn<'a> {
    #[serde(borrow)]
    pub(super) content: Option<Vec<TextIn<'a>>>,
    #[serde(borrow)]
    pub(super) citations: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TextIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
}
