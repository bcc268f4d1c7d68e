use super::stream::Decoder;
use super::wire::AnswerIn;
use crate::answer::{Answer, Delta, Fold};
use crate::dialect::translate::{DecodeError, whole};

/// Reads the body of an answer that is not streamed: the events of a stream, all at once.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let answer: AnswerIn<'_> = serde_json::from_slice(body)?;
    let mut fold = Fold::default();
    let mut out = |delta: &Delta<'_>| fold.push(delta);
    let mut decoder = Decoder::new(id);
    for block in answer.output.message.content {
        decoder.block(block, &mut out)?;
    }
    decoder.push(b"messageStop", body, &mut out)?;
    decoder.push(b"metadata", body, &mut out)?;
    whole(fold)
}
