//! Events and whole answers as they are read. What is not listed is not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageIn;
use crate::dialect::wire::Str;

/// Any event: which members it has depends on its type.
#[derive(Debug, Deserialize)]
pub(super) struct EventIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) delta: Option<DeltaIn<'a>>,
    /// Of an error.
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct DeltaIn<'a> {
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Str<'a>>,
    pub(super) usage: Option<UsageIn>,
}

/// What `content-start` and `content-delta` have of a message.
#[derive(Debug, Deserialize)]
pub(super) struct ContentEventIn<'a> {
    #[serde(borrow)]
    pub(super) content: Option<ContentIn<'a>>,
}

/// What `tool-plan-delta` has of one.
#[derive(Debug, Deserialize)]
pub(super) struct PlanEventIn<'a> {
    #[serde(borrow)]
    pub(super) tool_plan: Option<Str<'a>>,
}

/// What `tool-call-start` and `tool-call-delta` have of one.
#[derive(Debug, Deserialize)]
pub(super) struct CallEventIn<'a> {
    #[serde(borrow)]
    pub(super) tool_calls: Option<CallIn<'a>>,
}

/// What `citation-start` has of one.
#[derive(Debug, Deserialize)]
pub(super) struct CitationEventIn<'a> {
    #[serde(borrow)]
    pub(super) citations: Option<&'a RawValue>,
}

/// A block of content, one of these, whole or a piece of it.
#[derive(Debug, Deserialize)]
pub(super) struct ContentIn<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallIn<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) function: Option<FunctionIn<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionIn<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) arguments: Option<Str<'a>>,
}

/// A whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct AnswerIn<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) message: MessageIn<'a>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Str<'a>>,
    pub(super) usage: Option<UsageIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) content: Option<Vec<ContentIn<'a>>>,
    #[serde(borrow)]
    pub(super) tool_plan: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<CallIn<'a>>>,
    #[serde(borrow)]
    pub(super) citations: Option<Vec<&'a RawValue>>,
}
