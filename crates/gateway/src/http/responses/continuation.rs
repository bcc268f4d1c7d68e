//! `previous_response_id`: the conversation before a request, from the log.

use bytes::Bytes;
use everstream_core::dialect::openai_responses::conversation::{Wish, expand};
use everstream_core::dialect::openai_responses::snapshot::upstream_id;
use everstream_core::error::{Error, ErrorCode};

use super::{response, shown, stored};
use crate::access::Caller;
use crate::app::App;
use crate::pipeline::Continuation;

const PARAM: &str = "previous_response_id";

/// The request with the conversation that it continues; `None` for one that begins one.
///
/// A logged request has all of its conversation, so that only the response before is looked at,
/// however long the conversation is.
///
/// # Errors
/// `PreviousNotFound` names the field, also for responses of others, and those that are gone.
pub(in crate::http) async fn continue_from(
    app: &App,
    caller: &Caller,
    body: &Bytes,
) -> Result<Option<Continuation>, Error> {
    let wish = Wish::read(body)?;
    let Some(id) = wish.previous else {
        return Ok(None);
    };
    let before = stored(app, &caller.project, &id).await?.ok_or_else(|| {
        let message = format!("Previous response with id '{}' not found.", shown(&id));
        Error::new(ErrorCode::PreviousNotFound, message).param(PARAM)
    })?;
    if !before.tail.ended {
        let message = format!(
            "Response '{}' is not over yet; wait for its end.",
            shown(&id)
        );
        return Err(Error::new(ErrorCode::InvalidValue, message).param(PARAM));
    }
    let answer = response(app, &before).await?;
    let expanded = expand(body, &before.accepted.request, &answer)?;
    let most = app.config.limits.request_body_bytes;
    if expanded.len() > most {
        let message = format!(
            "With the conversation before it the request is larger than limits.request_body_bytes = \
             {most}."
        );
        return Err(Error::new(ErrorCode::BodyTooLarge, message).param(PARAM));
    }
    Ok(Some(Continuation {
        body: expanded,
        before: before.info.upstream.zip(upstream_id(&answer)),
    }))
}
