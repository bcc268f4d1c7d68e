//! What a response repeats of the request that it answers.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::json::for_each_member;

const MEMBERS: [&str; 21] = [
    "background",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "prompt_cache_retention",
];

/// Takes out of a request what its responses repeat: an object, or nothing for what is no request.
pub fn echo(request: &[u8]) -> Bytes {
    let mut kept = String::from("{");
    let walked = for_each_member(request, |member| {
        let known = MEMBERS.iter().find(|name| **name == member.key);
        if let (Some(name), true) = (known, member.value != "null") {
            let comma = if kept.len() > 1 { "," } else { "" };
            kept.extend([comma, "\"", name, "\":", member.value]);
        }
        Ok::<_, serde_json::Error>(())
    });
    kept.push('}');
    walked.map_or_else(|_| Bytes::new(), |()| kept.into())
}

/// The same, taken apart.
#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Echo<'a> {
    #[serde(borrow)]
    pub(super) background: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) max_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) parallel_tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_cache_retention: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) safety_identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) store: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) top_logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) top_p: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) truncation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user: Option<&'a RawValue>,
}

impl<'a> Echo<'a> {
    /// Reads what [`echo`] gave.
    pub(super) fn read(text: &'a [u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}
