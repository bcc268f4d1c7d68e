//! What operators send: bodies and queries, of which every field is known.

use axum::extract::Query;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::suggest::nearest;
use http::Uri;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A body or a query.
pub(super) trait Input: DeserializeOwned + JsonSchema + Send + 'static {}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Input for T {}

/// The fields of an input.
pub(super) struct Shape(pub(super) Schema);

impl Shape {
    /// What a type reads.
    pub(super) fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let settings = settings.with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        Self(settings.into_generator().into_root_schema_for::<T>())
    }

    /// Its fields, each with its schema.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.0.get("properties").and_then(Value::as_object);
        let fields = fields.into_iter().flatten();
        fields.map(|(name, schema)| (name.as_str(), schema))
    }

    /// Whether a field has to be there.
    pub(super) fn needs(&self, name: &str) -> bool {
        let needed = self.0.get("required").and_then(Value::as_array);
        needed.is_some_and(|all| all.iter().any(|one| one == name))
    }

    /// Refuses fields that there are not, and the absence of those that have to be there.
    fn check<'a>(&self, names: impl Iterator<Item = &'a str>, what: &str) -> Result<(), Error> {
        let mut missing: Vec<&str> = self.fields().map(|(name, _)| name).collect();
        missing.retain(|name| self.needs(name));
        for name in names {
            if !self.fields().any(|(known, _)| known == name) {
                return Err(self.unknown(name, what));
            }
            missing.retain(|missing| *missing != name);
        }
        let Some(name) = missing.first() else {
            return Ok(());
        };
        let message = format!("The {what} has no `{name}`.");
        Err(Error::new(ErrorCode::MissingField, message).param(*name))
    }

    fn unknown(&self, name: &str, what: &str) -> Error {
        let known: Vec<&str> = self.fields().map(|(name, _)| name).collect();
        let near = nearest(name, known.iter().copied(), 1);
        let hint = match near.first() {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "nothing is taken there.".to_owned(),
            None => format!("there are `{}`.", known.join("`, `")),
        };
        let shown: String = name.chars().take(64).collect();
        let message = format!(
            "The {what} of this path has no `{}`: {hint}",
            shown.escape_debug()
        );
        Error::new(ErrorCode::InvalidValue, message).param(shown)
    }
}

/// The body: one JSON object; nothing at all is one without fields.
pub(super) fn body<T: Input>(text: &[u8]) -> Result<T, Error> {
    let text = if text.is_empty() { b"{}" } else { text };
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|error| {
        let message = format!("The body is no JSON object: {error}.");
        Error::new(ErrorCode::InvalidJson, message)
    })?;
    Shape::of::<T>().check(object.keys().map(String::as_str), "body")?;
    // Of the text, so that a field that is there twice is refused.
    let mut reader = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let why = plain(&error.into_inner());
        Error::new(
            ErrorCode::InvalidValue,
            format!("`{field}` is wrong: {why}."),
        )
        .param(field)
    })
}

/// The query.
pub(super) fn query<T: Input>(uri: &Uri) -> Result<T, Error> {
    let unreadable = || Error::new(ErrorCode::InvalidValue, "The query string cannot be read.");
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| unreadable())?;
    Shape::of::<T>().check(pairs.iter().map(|(name, _)| name.as_str()), "query")?;
    let query = Query::<T>::try_from_uri(uri).map_err(|rejection| {
        let why = std::error::Error::source(&rejection).map(ToString::to_string);
        let message = why.map(|why| format!("The query string cannot be read: {why}."));
        message.map_or_else(unreadable, |message| {
            Error::new(ErrorCode::InvalidValue, message)
        })
    })?;
    Ok(query.0)
}

/// What was wrong, without the place in the line, as the field is named.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
