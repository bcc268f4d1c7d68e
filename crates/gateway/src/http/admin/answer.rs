//! What operators are answered with.

use axum::Json;
use axum::response::{IntoResponse, Response};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits;
use everstream_store::sql::CatalogError;
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

/// A kind of body, and what it holds.
pub(super) type Media = (&'static str, Schema);

/// An answer, of which is known beforehand what it looks like.
pub(super) trait Answer: Send {
    /// Its status.
    const STATUS: u16;

    /// Its bodies; none if it has none.
    fn media(schemas: &mut SchemaGenerator) -> Vec<Media>;

    /// As it is sent.
    fn response(self) -> Response;
}

/// What was asked for.
pub(super) struct Shown<T>(pub(super) T);

/// What was made.
pub(super) struct Made<T>(pub(super) T);

/// It is done, and there is nothing to say.
pub(super) struct Done;

impl<T: Serialize + JsonSchema + Send> Answer for Shown<T> {
    const STATUS: u16 = 200;

    fn media(schemas: &mut SchemaGenerator) -> Vec<Media> {
        vec![("application/json", schemas.subschema_for::<T>())]
    }

    fn response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: Serialize + JsonSchema + Send> Answer for Made<T> {
    const STATUS: u16 = 201;

    fn media(schemas: &mut SchemaGenerator) -> Vec<Media> {
        Shown::<T>::media(schemas)
    }

    fn response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl Answer for Done {
    const STATUS: u16 = 204;

    fn media(_: &mut SchemaGenerator) -> Vec<Media> {
        Vec::new()
    }

    fn response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub(super) struct List<T> {
    /// The entries of this page.
    data: Vec<T>,
    /// What `after` is to be for the next page; null on the last one.
    next: Option<String>,
}

/// A number of entries that somebody wishes for.
pub(super) fn page_size(wish: Option<usize>) -> Result<usize, Error> {
    let most = limits::ADMIN_PAGE_MAX;
    match wish.unwrap_or(limits::ADMIN_PAGE) {
        size if (1..=most).contains(&size) => Ok(size),
        _ => {
            let message = format!("`limit` is a number from 1 to {most}.");
            Err(Error::new(ErrorCode::InvalidValue, message).param("limit"))
        }
    }
}

impl<T> List<T> {
    /// A page of at most `limit` of `found`, of which one more was asked for.
    pub(super) fn of<F>(
        mut found: Vec<F>,
        limit: usize,
        place: impl Fn(&F) -> String,
        show: impl Fn(F) -> T,
    ) -> Shown<Self> {
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(place);
        let data = found.into_iter().map(show).collect();
        Shown(Self { data, next })
    }
}

/// What the catalogue refuses, as operators are told.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn refused(error: CatalogError) -> Error {
    let code = match &error {
        CatalogError::NotFound { .. } => ErrorCode::NotFound,
        CatalogError::Exists { .. } => ErrorCode::AlreadyExists,
        CatalogError::Invalid(_) => ErrorCode::Unprocessable,
        CatalogError::Failed(_) => ErrorCode::Internal,
        _ => ErrorCode::CatalogUnavailable,
    };
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let message = first.into_iter().chain(letters).chain(['.']);
    Error::new(code, message.collect::<String>())
}
