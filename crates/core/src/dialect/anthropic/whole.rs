use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::block::{BlockOut, InputOut};
use super::finish;
use super::stream::Decoder;
use super::token::On;
use super::usage::UsageOut;
use super::wire::MessageIn;
use crate::answer::{Answer, Choice, Delta, Fold};
use crate::content::{Content, Part};
use crate::dialect::extension::{FieldsOut, fields};
use crate::dialect::json_line;
use crate::dialect::openai::fault_from_event;
use crate::dialect::translate::{DecodeError, ReplyHead, whole};

/// Reads the body of an answer that is not streamed.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let message: MessageIn<'_> = serde_json::from_slice(body)?;
    if message.error.is_some() {
        return Err(DecodeError::Failed(fault_from_event(body).into()));
    }
    let mut fold = Fold::default();
    Decoder::new(id).start(message, &mut |delta| fold.push(delta))?;
    fold.push(&Delta::End);
    whole(fold)
}

/// Writes the body of an answer that is not streamed. The API knows one choice.
pub(in crate::dialect) fn write_answer(answer: &Answer, head: &ReplyHead) -> Bytes {
    let mut head = head.clone();
    head.take(&answer.start);
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let mut content = Vec::with_capacity(choice.parts.len());
    for part in &choice.parts {
        blocks(part, &mut content);
    }
    let refused = |part: &Part<'_>| matches!(part.content, Content::Refusal(_));
    let refused = choice.parts.iter().any(refused);
    let stop = choice.finish.as_ref();
    let stop = stop.map(|finish| finish::write(finish, refused));
    json_line(&Body {
        id: &head.id,
        kind: "message",
        role: "assistant",
        model: &head.model,
        content,
        stop_reason: stop.map(|(reason, _)| reason),
        stop_sequence: stop.and_then(|(_, sequence)| sequence),
        usage: answer
            .usage
            .as_ref()
            .map(UsageOut::from)
            .unwrap_or_default(),
        provider_fields: fields(&choice.extras),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<BlockOut<'a>>,
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
    usage: UsageOut,
    #[serde(skip_serializing_if = "FieldsOut::is_empty")]
    provider_fields: FieldsOut<'a>,
}

fn blocks<'a>(part: &'a Part<'static>, out: &mut Vec<BlockOut<'a>>) {
    let seal = part.seal.as_ref();
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => {
            out.push(BlockOut::Text { text });
            out.extend(seal.map(|seal| BlockOut::hidden(seal, On::Before)));
        }
        Content::Reasoning(text) => out.push(BlockOut::reasoning(text, seal)),
        Content::ToolCall(call) => {
            out.extend(seal.map(|seal| BlockOut::hidden(seal, On::Behind)));
            out.push(BlockOut::ToolUse {
                id: Cow::Borrowed(&call.id),
                name: &call.name,
                input: InputOut::new(&call.arguments),
            });
        }
        Content::Image { source, .. }
        | Content::Audio(source)
        | Content::Document { source, .. } => out.push(BlockOut::media(source)),
        // A model does not say these.
        Content::ToolResult(_) => {}
    }
}
