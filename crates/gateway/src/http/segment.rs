//! A parameter in a path.

use axum::extract::{FromRequestParts, Path};
use everstream_core::error::{Error, ErrorCode};
use http::request::Parts;

use super::error::{Failure, Shape};

/// The only parameter of a path, decoded.
pub(super) struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Self(segment)).map_err(|_| {
            let message = "The path, its percent encoding decoded, is not UTF-8.";
            Shape::of(parts.uri.path()).failure(Error::new(ErrorCode::InvalidValue, message))
        })
    }
}
