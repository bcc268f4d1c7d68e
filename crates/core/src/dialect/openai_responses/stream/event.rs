use bytes::Bytes;
use serde::Serialize;

use crate::content::Json;
use crate::dialect::extension::FieldsOut;
use crate::dialect::json_line;
use crate::dialect::openai_responses::item::{ItemOut, PartOut};
use crate::dialect::openai_responses::repeated::Repeated;
use crate::dialect::openai_responses::response::{OutputOut, ResponseOut, State};
use crate::dialect::translate::Place;
use crate::event::Usage;
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
    pub(super) text: Option<&'a Repeated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a Repeated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a Repeated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<Json<'a>>,
}

/// The last event of a response that failed, or was cancelled.
pub(in crate::dialect) fn failed(fault: &Fault, place: &Place) -> SseEvent {
    let kind = "response.failed";
    let output = place.output.as_ref();
    let output = output.map_or_else(|| OutputOut::Items(Vec::new()), OutputOut::Written);
    let state = State::Failed(fault);
    let response = ResponseOut::new(&place.head, state, output, None, FieldsOut::new());
    SseEvent {
        name: Bytes::from_static(kind.as_bytes()),
        data: json_line(&EventOut {
            kind,
            sequence_number: place.before,
            response: Some(response),
            ..EventOut::default()
        }),
    }
}

/// The last event of a response that is stopped at its limit of tokens.
pub(in crate::dialect) fn incomplete(place: &Place, usage: &Usage) -> SseEvent {
    let kind = "response.incomplete";
    let output = place.output.as_ref();
    let output = output.map_or_else(|| OutputOut::Items(Vec::new()), OutputOut::Written);
    let state = State::Incomplete("max_output_tokens");
    let usage = Some(usage);
    let response = ResponseOut::new(&place.head, state, output, usage, FieldsOut::new());
    SseEvent {
        name: Bytes::from_static(kind.as_bytes()),
        data: json_line(&EventOut {
            kind,
            sequence_number: place.before,
            response: Some(response),
            ..EventOut::default()
        }),
    }
}

/// An event that is not of the response, but about its delivery: `before` events were told.
pub(in crate::dialect) fn lost(fault: &Fault, before: u64) -> SseEvent {
    #[derive(Serialize)]
    struct LostOut<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        sequence_number: u64,
        code: Option<&'a str>,
        message: &'a str,
        param: Option<&'a str>,
    }
    SseEvent {
        name: Bytes::from_static(b"error"),
        data: json_line(&LostOut {
            kind: "error",
            // That of the last one, so that who goes on after it misses nothing.
            sequence_number: before.saturating_sub(1),
            code: fault.code.as_deref(),
            message: &fault.message,
            param: fault.param.as_deref(),
        }),
    }
}
