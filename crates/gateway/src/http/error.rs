//! The one place where an error becomes a response.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use everstream_core::dialect::problem;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Surface;
use http::{HeaderValue, StatusCode, header};

/// An error and the shape its reader expects.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    shape: Shape,
}

/// The shape of an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {...}}`, as OpenAI's SDKs read it.
    OpenAi,
    /// `{"type": "error", "error": {...}}`, as Anthropic's SDKs read it.
    Anthropic,
    /// `{"error": {"code": ..., "status": ...}}`, as Google's SDKs read it.
    Gemini,
    /// `application/problem+json`, on Everstream's own paths.
    Problem,
}

impl Shape {
    /// The shape that goes with a path.
    pub fn of(path: &str) -> Self {
        let own = ["/v1/streams", "/v1/ws"];
        let is_own = own.iter().any(|prefix| path.starts_with(prefix));
        if path.starts_with("/v1/messages") {
            Self::Anthropic
        } else if path.starts_with("/v1beta/") {
            Self::Gemini
        } else if path.starts_with("/v1/") && !is_own {
            Self::OpenAi
        } else {
            Self::Problem
        }
    }

    /// The shape of a surface.
    pub const fn of_surface(surface: Surface) -> Self {
        match surface {
            Surface::ChatCompletions
            | Surface::Completions
            | Surface::Embeddings
            | Surface::Responses => Self::OpenAi,
            Surface::Messages => Self::Anthropic,
            Surface::GenerateContent => Self::Gemini,
        }
    }

    /// `error` in this shape.
    pub fn failure(self, error: Error) -> Failure {
        Failure { error, shape: self }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { error, shape } = self;
        let (body, kind) = match shape {
            Shape::OpenAi => (
                Surface::ChatCompletions.error_body(&error),
                "application/json",
            ),
            Shape::Anthropic => (Surface::Messages.error_body(&error), "application/json"),
            Shape::Gemini => (
                Surface::GenerateContent.error_body(&error),
                "application/json",
            ),
            Shape::Problem => (problem::problem_body(&error), "application/problem+json"),
        };
        let status = StatusCode::from_u16(error.code.status());
        let mut response =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(after) = error.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if let Some(stream) = error.stream {
            super::respond::name_stream(headers, stream);
        }
        for (name, value) in error.fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        if error.code.status() == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if error.retry_after.is_none() && must_not_retry(error.code) {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

/// Whether an SDK must not repeat the request by itself: the provider may have been charged, or
/// the answer would be the same.
pub fn must_not_retry(code: ErrorCode) -> bool {
    let same_again = matches!(
        code,
        ErrorCode::CursorAhead | ErrorCode::IdempotencyMismatch | ErrorCode::InsufficientQuota
    );
    same_again || !code.no_side_effects()
}

/// An error body for a generation that ended before its response head went out: the event that
/// readers of the stream get, as a document of its own.
pub fn from_event(data: Bytes, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, data).into_response()
}
