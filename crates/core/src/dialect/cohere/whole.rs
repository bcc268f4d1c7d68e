use super::stream::Decoder;
use super::wire::AnswerIn;
use crate::answer::{Answer, Fold};
use crate::dialect::translate::{DecodeError, whole};

/// Reads the body of an answer that is not streamed.
pub(in crate::dialect) fn read_answer(body: &[u8], id: &str) -> Result<Answer, DecodeError> {
    let answer: AnswerIn<'_> = serde_json::from_slice(body)?;
    let mut fold = Fold::default();
    Decoder::new(id).answer(answer, &mut |delta| fold.push(delta))?;
    whole(fold)
}
