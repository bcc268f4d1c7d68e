use bytes::Bytes;
use serde::Serialize;

use crate::content::Json;
use crate::dialect::extension::FieldsOut;
use crate::dialect::json_line;
use crate::dialect::openai_responses::item::{ItemOut, PartOut};
use crate::dialect::openai_responses::response::{ResponseOut, State};
use crate::dialect::translate::ReplyHead;
use crate::fault::Fault;
use crate::frame::sse::SseEvent;

/// Any event: which members it has depends on its type.
#[derive(Default, Serialize)]
pub(super) struct EventOut<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// From 0.
    pub(super) sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<ResponseOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<ItemOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<PartOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<Json<'a>>,
}

/// The last event of a response of which nothing else is known.
pub(in crate::dialect) fn failed(fault: &Fault) -> SseEvent {
    let head = ReplyHead {
        id: String::new(),
        model: String::new(),
        created: 0,
        show_usage: true,
    };
    let kind = "response.failed";
    let state = State::Failed(fault);
    let response = ResponseOut::new(&head, state, &[], None, FieldsOut::new());
    SseEvent {
        name: Bytes::from_static(kind.as_bytes()),
        data: json_line(&EventOut {
            kind,
            response: Some(response),
            ..EventOut::default()
        }),
    }
}
