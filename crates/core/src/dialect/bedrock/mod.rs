//! AWS Bedrock's Converse API, in translation: a provider's API alone, no client's.
//!
//! Reasoning is sealed with Anthropic's signatures, which hold on every platform that serves Claude;
//! other models' reasoning has no seal, and does not go back. The model is in the URL.
//!
//! What only this API knows goes to clients as it is: citations (`citation`), what a guardrail found
//! (`trace`), blocks of no kind that other APIs have (`content`, `contentBlockStart`,
//! `contentBlockDelta`).
//!
//! Approximated, in requests: all that the system says is in `system`, wherever it was said; messages
//! of one side in a row are one; a model that is to call none of its tools is not told of them; an
//! image's `detail` is left out; a document's title keeps only the characters that AWS allows.

mod error;
mod finish;
mod request;
mod stream;
mod url;
mod usage;
mod whole;
mod wire;

pub(super) use error::read_error;
pub(super) use request::write_request;
pub use stream::Decoder;
pub(super) use url::url;
pub(super) use whole::read_answer;

/// The dialect's name.
pub(super) const NAME: &str = "bedrock";

/// Whose model it is, as far as requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Anthropic's Claude. Names that do not tell, such as those of application profiles, are taken
    /// for its.
    Claude,
    /// Amazon's Nova.
    Nova,
    /// OpenAI's open models.
    GptOss,
    /// Another.
    Other,
}

impl Family {
    /// The family of a model by its id, its ARN, or the name of an inference profile.
    pub fn of(model: &str) -> Self {
        let is = |part: &str| model.contains(part);
        if is("anthropic.") {
            Self::Claude
        } else if is("amazon.nova") {
            Self::Nova
        } else if is("openai.gpt-oss") {
            Self::GptOss
        } else if model.starts_with("arn:")
            && !is("foundation-model/")
            && !is(":inference-profile/")
        {
            Self::Claude
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn a_name_says_whose_model_it_is() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012";
        for (model, family) in [
            ("anthropic.claude-sonnet-4-20250514-v1:0", Family::Claude),
            ("eu.anthropic.claude-opus-4-6-v1", Family::Claude),
            (
                &format!("{arn}:application-inference-profile/ab12"),
                Family::Claude,
            ),
            (
                &format!("{arn}:inference-profile/us.amazon.nova-pro-v1:0"),
                Family::Nova,
            ),
            (
                &format!("{arn}:inference-profile/us.meta.llama4-v1:0"),
                Family::Other,
            ),
            ("openai.gpt-oss-120b-1:0", Family::GptOss),
            ("mistral.pixtral-large-2502-v1:0", Family::Other),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }
}
