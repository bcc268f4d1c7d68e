//! Parameters and columns.

use everstream_core::id::{ProjectId, UnixMillis};

use crate::sql::CatalogError;

/// What stands in a column.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::sql) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&ProjectId> for Value {
    fn from(id: &ProjectId) -> Self {
        id.as_str().into()
    }
}

impl From<UnixMillis> for Value {
    /// A time that no clock shows is the last that fits.
    fn from(at: UnixMillis) -> Self {
        Self::Int(i64::try_from(at.0).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(some: Option<T>) -> Self {
        some.map_or(Self::Null, Into::into)
    }
}

/// A row. Columns are read from the left, by their place in the statement.
pub(in crate::sql) struct Row(pub(in crate::sql) Vec<Value>);

impl Row {
    pub(in crate::sql) fn int(&self, column: usize) -> Result<i64, CatalogError> {
        match self.0.get(column) {
            Some(Value::Int(n)) => Ok(*n),
            _ => Err(damaged(column, "a number")),
        }
    }

    /// A number that is never negative.
    pub(in crate::sql) fn count(&self, column: usize) -> Result<u64, CatalogError> {
        u64::try_from(self.int(column)?).map_err(|_| damaged(column, "a count"))
    }

    pub(in crate::sql) fn flag(&self, column: usize) -> Result<bool, CatalogError> {
        Ok(self.int(column)? != 0)
    }

    pub(in crate::sql) fn time(&self, column: usize) -> Result<UnixMillis, CatalogError> {
        self.count(column).map(UnixMillis)
    }

    pub(in crate::sql) fn text(&self, column: usize) -> Result<&str, CatalogError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(damaged(column, "a text")),
        }
    }

    pub(in crate::sql) fn bytes(&self, column: usize) -> Result<&[u8], CatalogError> {
        match self.0.get(column) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(damaged(column, "bytes")),
        }
    }

    /// A text that is the name of something.
    pub(in crate::sql) fn parse<T: std::str::FromStr>(
        &self,
        column: usize,
    ) -> Result<T, CatalogError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| damaged(column, "a name"))
    }

    pub(in crate::sql) fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Value::Null))
    }

    /// What `read` finds in a column that is not null.
    pub(in crate::sql) fn maybe<T>(
        &self,
        column: usize,
        read: impl FnOnce(&Self, usize) -> Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        if self.is_null(column) {
            Ok(None)
        } else {
            read(self, column).map(Some)
        }
    }
}

fn damaged(column: usize, wanted: &str) -> CatalogError {
    CatalogError::Damaged(format!("column {column} of a row is not {wanted}"))
}
