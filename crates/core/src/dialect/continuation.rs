//! How an upstream is asked to go on with an answer that was cut, or to give it again.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::openai::Envelope;
use super::prepare::asked;
use super::traits::Traits;
use super::translate::{ProviderDialect, Target};
use crate::ask::{Ask, Field, Message, Role, ThinkingMode};
use crate::content::{Content, Part};
use crate::error::{Error, ErrorCode};
use crate::policy::recovery::Abilities;

/// The beginning of an answer: what was delivered before it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its text.
    pub text: Arc<str>,
    /// The tokens that were used for it, by all attempts together.
    pub tokens: u64,
}

impl ProviderDialect {
    /// Whether it refuses the beginning of an answer that ends in white space.
    pub const fn refuses_trailing_space(self) -> bool {
        matches!(self, Self::Anthropic | Self::Bedrock)
    }
}

/// The body of a request to go on from `prefix`: the client's own, with the beginning of the answer as
/// its last message and that much less to say. It is translated in any case, so that a request with a
/// field that has no place in the canonical model is refused; its `stop` stays as it is.
///
/// # Errors
/// All that [`upstream_body`](super::upstream_body) refuses of a request that has to be translated, and
/// `Untranslatable` where an answer to it has more than a text, where the tokens are used up, or where
/// the upstream takes no beginning of an answer. [`abilities`] asks for all but the tokens in advance.
pub fn continuation_body(
    envelope: &Envelope,
    provider: ProviderDialect,
    target: &Target<'_>,
    prefix: &Prefix,
) -> Result<Bytes, Error> {
    let body = envelope.upstream_body(&envelope.model, false, false);
    let mut ask = asked(envelope, provider, &body)?;
    for field in [Field::Choices, Field::Logprobs, Field::Format] {
        let why = "an answer with it cannot be gone on with";
        ask.refuse_asked(field, why)?;
    }
    if ask.thinking.effort.is_some() || !matches!(ask.thinking.mode, None | Some(ThinkingMode::Off))
    {
        return Err(ask.refuse(Field::Thinking, "what was thought is lost with the answer"));
    }
    if !takes_prefix(provider, target.traits) {
        let message = "The upstream of this model takes no beginning of an answer.";
        return Err(Error::new(ErrorCode::Untranslatable, message).param("model"));
    }
    if let Some(most) = ask.max_tokens {
        let left = most.saturating_sub(prefix.tokens);
        if left == 0 {
            return Err(ask.refuse(Field::MaxTokens, "they are used up"));
        }
        ask.max_tokens = Some(left);
    }
    begin(&mut ask, prefix)?;
    provider.write_request(&ask, target)
}

/// What of the abilities that a deployment is `marked` with holds for a request: whether there are words
/// to have it gone on with, and whether it leaves nothing to chance, as far as its API can say so: a
/// temperature of 0 and a seed.
pub fn abilities(
    envelope: &Envelope,
    provider: ProviderDialect,
    target: &Target<'_>,
    marked: Abilities,
) -> Abilities {
    let letter = || Prefix {
        text: "a".into(),
        tokens: 0,
    };
    let continues = || continuation_body(envelope, provider, target, &letter()).is_ok();
    let deterministic = || {
        let body = envelope.upstream_body(&envelope.model, false, false);
        asked(envelope, provider, &body)
            .is_ok_and(|ask| ask.temperature == Some(0.0) && ask.seed.is_some())
    };
    Abilities {
        continues: marked.continues && continues(),
        repeats: marked.repeats || target.traits.prefill_repeats,
        deterministic: marked.deterministic && deterministic(),
    }
}

/// Whether a provider has words for the beginning of an answer to go on from.
///
/// Anthropic's models take one up to 4.5, the last that do not think adaptively (looked up on
/// 2026-11-23). OpenAI's servers differ, which its own requests know.
pub const fn takes_prefix(provider: ProviderDialect, traits: &Traits) -> bool {
    match provider {
        ProviderDialect::OpenAiChat => traits.prefill,
        ProviderDialect::Anthropic => !traits.adaptive_thinking,
        ProviderDialect::Bedrock => {
            matches!(traits.bedrock_family, super::bedrock::Family::Claude)
                && !traits.adaptive_thinking
        }
        ProviderDialect::Gemini | ProviderDialect::OpenAiResponses | ProviderDialect::Cohere => {
            false
        }
    }
}

/// Puts the prefix at the end, behind what the client itself has the answer begin with.
fn begin(ask: &mut Ask<'_>, prefix: &Prefix) -> Result<(), Error> {
    let at = ask.messages.len().saturating_sub(1);
    let last = ask.messages.last_mut();
    let Some(last) = last.filter(|last| last.role == Role::Assistant) else {
        ask.messages.push(Message {
            role: Role::Assistant,
            name: None,
            parts: vec![Part::text(prefix.text.to_string())],
        });
        return Ok(());
    };
    if let Some(Part {
        content: Content::Text(text),
        seal: None,
        ..
    }) = last.parts.last_mut()
    {
        *text = Cow::Owned(format!("{text}{}", prefix.text));
        return Ok(());
    }
    Err(ask.refuse(Field::Message(at), "no text can go on from it"))
}

#[cfg(test)]
mod tests;
