//! The query string of a path.

use axum::extract::{FromRequestParts, Query};
use everstream_core::error::{Error, ErrorCode};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::{Failure, Shape};

/// Query parameters. One that cannot be read is refused in the shape that goes with the path.
pub(super) struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection| {
            let why = std::error::Error::source(&rejection).map(ToString::to_string);
            let message = format!(
                "The query string cannot be read: {}.",
                why.unwrap_or_else(|| rejection.body_text())
            );
            Shape::of(parts.uri.path()).failure(Error::new(ErrorCode::InvalidValue, message))
        })
    }
}
