//! From a client's request to the body that an upstream gets.

use std::borrow::Cow;

use bytes::Bytes;

use super::openai::{Envelope, without};
use super::translate::{ProviderDialect, Target};
use super::{anthropic, gemini, openai_responses};
use crate::ask::Ask;
use crate::error::{Error, ErrorCode};
use crate::event::Surface;

/// The body of a request for an upstream that speaks `provider`: the client's bytes where it is the
/// same API, but for the model's name and what [`Envelope::upstream_body`] lists, else a
/// translation. Usage is asked for if the upstream knows how; if not, `stream_options` is left out.
///
/// # Errors
/// Of a request that has to be translated, all that [`ClientDialect::read_request`] and
/// [`ProviderDialect::write_request`] refuse; `Untranslatable` for a surface that only its own API
/// has.
///
/// [`ClientDialect::read_request`]: super::ClientDialect::read_request
pub fn upstream_body(
    envelope: &Envelope,
    provider: ProviderDialect,
    target: &Target<'_>,
) -> Result<Bytes, Error> {
    let surface = envelope.surface();
    if surface.passes_through(provider) {
        let ask_usage = target.stream && target.traits.usage_in_streams;
        let body = if runs_alone(envelope, target) {
            envelope.background_body(target.model)
        } else {
            envelope.upstream_body(target.model, ask_usage, target.stream)
        };
        return Ok(match surface {
            Surface::Messages => anthropic::unseal(&body),
            Surface::Responses => openai_responses::unseal(&body),
            Surface::GenerateContent => {
                let body = gemini::unseal(&body, target.traits.gemini_3);
                if target.traits.call_ids {
                    body
                } else {
                    gemini::without_call_ids(&body)
                }
            }
            // It would refuse the request for a member that clients send to everybody.
            _ if surface.is_completion() && !target.traits.usage_in_streams => {
                without(&body, "stream_options")
            }
            _ => body,
        });
    }
    // Without what is meant for the gateway alone.
    let body = envelope.upstream_body(&envelope.model, false, false);
    let ask = asked(envelope, provider, &body)?;
    provider.write_request(&ask, target)
}

/// What a request with this body asks for, to be said to `provider`.
pub(super) fn asked<'a>(
    envelope: &'a Envelope,
    provider: ProviderDialect,
    body: &'a [u8],
) -> Result<Ask<'a>, Error> {
    let surface = envelope.surface();
    let client = surface.client().ok_or_else(|| {
        let message = format!(
            "The upstream of this model speaks {}, which has no {}.",
            provider.title(),
            surface.as_str(),
        );
        Error::new(ErrorCode::Untranslatable, message).param("model")
    })?;
    let mut ask = client.read_request(body)?;
    if surface.is_addressed() {
        ask.model = Cow::Borrowed(&envelope.model);
        ask.stream = envelope.stream;
    }
    Ok(ask)
}

/// The body of a request of OpenAI's responses for the upstream that has the response before it, and
/// knows that as `previous`.
pub fn continued_body(envelope: &Envelope, previous: &str, target: &Target<'_>) -> Bytes {
    let body = if runs_alone(envelope, target) {
        envelope.background_body(target.model)
    } else {
        envelope.upstream_body(target.model, false, target.stream)
    };
    openai_responses::continued(&body, previous)
}

/// Whether the upstream is to run a response without a connection, as the client wants it from us.
fn runs_alone(envelope: &Envelope, target: &Target<'_>) -> bool {
    let responses = envelope.surface() == Surface::Responses;
    responses && envelope.background && target.stream && target.traits.background
}
