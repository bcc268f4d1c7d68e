//! Request bodies: bounded in size and in time.

use axum::body::Body;
use bytes::Bytes;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// Reads a whole request body of at most `most` bytes.
pub(super) async fn read_body(body: Body, most: usize) -> Result<Bytes, Error> {
    let reading = Limited::new(body, most).collect();
    match timeout(limits::REQUEST_READ_TIMEOUT, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message =
                format!("The request body is larger than limits.request_body_bytes = {most}.");
            Err(Error::new(ErrorCode::BodyTooLarge, message))
        }
        Ok(Err(_)) => {
            let message = "The request body ended before it was whole.";
            Err(Error::new(ErrorCode::InvalidJson, message))
        }
        Err(_) => {
            let message = format!(
                "The request body took longer than {} s to arrive.",
                limits::REQUEST_READ_TIMEOUT.as_secs()
            );
            Err(Error::new(ErrorCode::RequestTimeout, message))
        }
    }
}
