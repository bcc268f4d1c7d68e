//! Request bodies: bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use everstream_core::config::LimitsConfig;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits;
use everstream_core::units::show_duration;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Reads the whole body of a generating request.
pub(super) async fn read_body(body: Body, limits: &LimitsConfig) -> Result<Bytes, Error> {
    let most = ("limits.request_body_bytes = ", limits.request_body_bytes);
    read(body, most, limits.request_read_timeout).await
}

/// Reads the whole body of a request that has little to say.
pub(super) async fn read_small_body(body: Body, limits: &LimitsConfig) -> Result<Bytes, Error> {
    let most = ("the limit of this path, ", limits::SMALL_BODY_BYTES);
    read(body, most, limits.request_read_timeout).await
}

/// Reads the whole body of an operator's request.
pub(super) async fn read_admin_body(body: Body, limits: &LimitsConfig) -> Result<Bytes, Error> {
    let most = ("the limit of this path, ", limits::ADMIN_BODY_BYTES);
    read(body, most, limits.request_read_timeout).await
}

async fn read(
    mut body: Body,
    (name, most): (&str, usize),
    patience: Duration,
) -> Result<Bytes, Error> {
    let reading = Limited::new(&mut body, most).collect();
    match timeout(patience, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            throw_away(body, patience);
            let message = format!("The request body is larger than {name}{most}.");
            Err(Error::new(ErrorCode::BodyTooLarge, message))
        }
        Ok(Err(error)) => Err(cause(&*error).unwrap_or_else(|| {
            let message = "The request body ended before it was whole.";
            Error::new(ErrorCode::InvalidJson, message)
        })),
        Err(_) => {
            let message = format!(
                "The request body took longer than limits.request_read_timeout = {}.",
                show_duration(patience)
            );
            Err(Error::new(ErrorCode::RequestTimeout, message))
        }
    }
}

/// What a client is told of a body that cannot be read on, if this gateway itself would not.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref::<Error>() {
            return Some(cause.clone());
        }
        next = error.source();
    }
    None
}

/// Reads on while the answer goes out: who is still sending when the connection closes does not get
/// to read it.
pub(super) fn throw_away(body: Body, patience: Duration) {
    // Without a runtime there is nobody left to answer.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(patience, discard(body)));
    }
}

/// Reads what is left of a body, up to a bound.
async fn discard(mut body: Body) {
    let mut left = limits::REFUSED_BODY_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        if read > left {
            break;
        }
        left -= read;
    }
}
