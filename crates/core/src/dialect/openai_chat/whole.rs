use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::finish;
use super::out::{CallOut, ExtraOut, FunctionOut, ImageOut, NamedOut};
use super::reasoning::DetailOut;
use super::stream::{Decoder, is_empty};
use super::usage::UsageOut;
use super::wire::Chunk;
use crate::answer::{Answer, Choice, Delta, Finish, Fold};
use crate::content::{Content, Json, Seal};
use crate::dialect::json_line;
use crate::dialect::openai::fault_from_event;
use crate::dialect::translate::{DecodeError, ReplyHead, whole};

/// Reads the body of an answer that is not streamed.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let chunk: Chunk<'_> = serde_json::from_slice(body)?;
    if chunk.error.is_some_and(|error| !is_empty(error)) {
        return Err(DecodeError::Failed(fault_from_event(body).into()));
    }
    let mut fold = Fold::default();
    Decoder::new(id).take(chunk, &mut |delta| fold.push(delta))?;
    fold.push(&Delta::End);
    whole(fold)
}

/// Writes the body of an answer that is not streamed.
pub(in crate::dialect) fn write_answer(answer: &Answer, head: &ReplyHead) -> Bytes {
    let mut head = head.clone();
    head.take(&answer.start);
    let choices = (0..).zip(&answer.choices);
    json_line(&Body {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: &head.model,
        choices: choices
            .map(|(index, choice)| ChoiceOut::new(index, choice))
            .collect(),
        usage: answer.usage.as_ref().map(UsageOut::from),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

#[derive(Serialize)]
struct ChoiceOut<'a> {
    index: u32,
    message: MessageOut<'a>,
    logprobs: Option<LogprobsOut<'a>>,
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct LogprobsOut<'a> {
    content: Vec<Json<'a>>,
    refusal: Option<()>,
}

#[derive(Default, Serialize)]
struct MessageOut<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<DetailOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<ExtraOut<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    provider_fields: BTreeMap<&'static str, Vec<NamedOut<'a>>>,
}

impl<'a> ChoiceOut<'a> {
    fn new(index: u32, choice: &'a Choice) -> Self {
        let message = MessageOut::new(choice);
        let refused = message.refusal.is_some();
        let finish: Option<&Finish<'_>> = choice.finish.as_ref();
        let words = finish.map(|finish| finish::write(finish, refused));
        let logprobs = (!choice.logprobs.is_empty()).then(|| LogprobsOut {
            content: choice.logprobs.iter().flat_map(elements).collect(),
            refusal: None,
        });
        Self {
            index,
            message,
            logprobs,
            finish_reason: words.map(|words| words.finish_reason),
            native_finish_reason: words.and_then(|words| words.native),
            stop_reason: words.and_then(|words| words.stop_sequence),
        }
    }
}

impl<'a> MessageOut<'a> {
    fn new(choice: &'a Choice) -> Self {
        let mut message = Self {
            role: "assistant",
            ..Self::default()
        };
        for part in &choice.parts {
            let seal = part.seal.as_ref();
            match &part.content {
                Content::Reasoning(text) => {
                    message.detail(Some(&**text).filter(|text| !text.is_empty()), seal);
                    append(&mut message.reasoning_content, text);
                }
                Content::Text(text) => {
                    append(&mut message.content, text);
                    let extra = ExtraOut::of(seal);
                    if extra.is_none() && seal.is_some() {
                        message.detail(None, seal);
                    }
                    message.extra_content = extra.or(message.extra_content);
                }
                Content::Refusal(text) => append(&mut message.refusal, text),
                Content::ToolCall(call) => {
                    let extra_content = ExtraOut::of(seal);
                    if extra_content.is_none() && seal.is_some() {
                        message.detail(None, seal);
                    }
                    message.tool_calls.push(CallOut {
                        index: None,
                        id: Some(&call.id),
                        kind: Some("function"),
                        function: Some(FunctionOut {
                            name: Some(&call.name),
                            arguments: &call.arguments,
                        }),
                        extra_content,
                    });
                }
                Content::Image { source, .. }
                | Content::Audio(source)
                | Content::Document { source, .. } => {
                    message.images.extend(ImageOut::of(source, None));
                }
                Content::ToolResult(_) => {}
            }
        }
        for extra in &choice.extras {
            let list = message.provider_fields.entry(extra.dialect).or_default();
            list.push(NamedOut {
                index: None,
                name: &extra.name,
                value: &extra.value,
            });
        }
        message
    }

    fn detail(&mut self, text: Option<&'a str>, seal: Option<&'a Seal<'_>>) {
        let index = u32::try_from(self.reasoning_details.len()).unwrap_or(u32::MAX);
        let detail = DetailOut::new(index, text, seal);
        self.reasoning_details.push(detail);
    }
}

fn append(text: &mut Option<String>, more: &str) {
    if !more.is_empty() {
        text.get_or_insert_default().push_str(more);
    }
}

fn elements<'a>(list: &'a Json<'static>) -> Vec<Json<'a>> {
    let list = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(list.as_str());
    list.unwrap_or_default()
        .into_iter()
        .map(Json::from)
        .collect()
}
