use std::borrow::Cow;

use bytes::Bytes;

use super::error::read_event;
use super::finish;
use super::logprobs::LogprobsOut;
use super::out::{CandidateOut, ChunkOut, ContentOut, PartOut, args};
use super::stream::Decoder;
use super::usage::UsageOut;
use super::wire::ChunkIn;
use crate::answer::{Answer, Choice, Delta, Fold};
use crate::content::{Content, Maker, Part, ToolCall};
use crate::dialect::extension::fields;
use crate::dialect::json_line;
use crate::dialect::translate::{DecodeError, ReplyHead, whole};

/// Reads the body of an answer that is not streamed.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let chunk: ChunkIn<'_> = serde_json::from_slice(body)?;
    if chunk.error.is_some() {
        return Err(DecodeError::Failed(read_event(body)));
    }
    let mut fold = Fold::default();
    let mut decoder = Decoder::of_whole(id);
    let mut out = |delta: &Delta<'_>| fold.push(delta);
    decoder.take(chunk, &mut out)?;
    decoder.finish(&mut out)?;
    whole(fold)
}

/// Writes the body of an answer that is not streamed.
pub(in crate::dialect) fn write_answer(answer: &Answer, head: &ReplyHead) -> Bytes {
    let mut head = head.clone();
    head.take(&answer.start);
    let choices = (0..).zip(&answer.choices);
    json_line(&ChunkOut {
        candidates: choices
            .map(|(index, choice)| candidate(index, choice))
            .collect(),
        usage_metadata: answer.usage.as_ref().map(UsageOut::from),
        model_version: &head.model,
        response_id: &head.id,
    })
}

fn candidate(index: u32, choice: &Choice) -> CandidateOut<'_> {
    let mut parts = Vec::with_capacity(choice.parts.len());
    let mut malformed = None;
    for part in &choice.parts {
        match (part_out(part), &part.content) {
            (Some(out), _) => parts.push(out.sealed(part.seal.as_ref())),
            (None, Content::ToolCall(call)) => malformed = Some(told(&call.name, &call.arguments)),
            (None, _) => {}
        }
    }
    let refused = |part: &Part<'_>| matches!(part.content, Content::Refusal(_));
    let refused = choice.parts.iter().any(refused);
    let stop = choice.finish.as_ref();
    let stop = stop.map(|finish| reason(finish::write(finish, refused), malformed));
    let (finish_reason, finish_message) = stop.unzip();
    CandidateOut {
        content: ContentOut {
            parts,
            role: "model",
        },
        finish_reason,
        finish_message: finish_message.flatten(),
        logprobs_result: LogprobsOut::new(&choice.logprobs),
        index,
        provider_fields: fields(&choice.extras),
    }
}

/// What a candidate's end says, given what it says of a call that is no JSON object.
pub(super) fn reason<'a>(
    (word, message): (&'static str, Option<&'a str>),
    malformed: Option<String>,
) -> (&'static str, Option<Cow<'a, str>>) {
    match malformed {
        Some(told) if word == "STOP" => ("MALFORMED_FUNCTION_CALL", Some(told.into())),
        Some(told) => (word, Some(told.into())),
        None => (word, message.map(Cow::Borrowed)),
    }
}

/// What is said of a call that is no JSON object.
pub(super) fn told(name: &str, arguments: &str) -> String {
    format!("Malformed function call: {name}({arguments})")
}

/// A part without its seal. `None` for a call whose arguments are not an object.
fn part_out<'a>(part: &'a Part<'static>) -> Option<PartOut<'a>> {
    Some(match &part.content {
        Content::Text(text) | Content::Refusal(text) => PartOut::text(text),
        Content::Reasoning(text) => {
            let google = |seal: &crate::content::Seal<'_>| seal.maker == Maker::Google;
            // Google's own that is on no thought is on an empty text.
            if text.is_empty() && part.seal.as_ref().is_some_and(google) {
                PartOut::text("")
            } else {
                PartOut::thought(text)
            }
        }
        Content::ToolCall(ToolCall {
            id,
            name,
            arguments,
        }) => PartOut::call(id, name, args(arguments)?),
        Content::Image { source, .. }
        | Content::Audio(source)
        | Content::Document { source, .. } => PartOut::media(source),
        // A model does not say these.
        Content::ToolResult(_) => return None,
    })
}
