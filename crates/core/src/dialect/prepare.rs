//! From a client's request to the body that an upstream gets.

use bytes::Bytes;

use super::anthropic;
use super::openai::{Envelope, without};
use super::translate::{ProviderDialect, Target};
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
        let body = envelope.upstream_body(target.model, ask_usage, target.stream);
        return Ok(match surface {
            Surface::Messages => anthropic::unseal(&body),
            // It would refuse the request for a member that clients send to everybody.
            _ if surface.is_completion() && !target.traits.usage_in_streams => {
                without(&body, "stream_options")
            }
            _ => body,
        });
    }
    let client = surface.client().ok_or_else(|| {
        let message = format!(
            "The upstream of this model speaks {}, which has no {}.",
            provider.title(),
            surface.as_str(),
        );
        Error::new(ErrorCode::Untranslatable, message).param("model")
    })?;
    // Without what is meant for the gateway alone.
    let body = envelope.upstream_body(&envelope.model, false, false);
    let ask = client.read_request(&body)?;
    provider.write_request(&ask, target)
}
