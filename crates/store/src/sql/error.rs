//! What the catalogue refuses, and why.

use std::time::Duration;

/// Why an operation failed. Texts name what to do; none holds a secret or a value of a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The id is taken.
    #[error("there is a {what} `{id}` already: choose another id")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A value that the catalogue does not take.
    #[error("{0}")]
    Invalid(String),
    /// The database cannot be reached, or broke off. What was asked for may have happened.
    #[error("the database cannot be reached ({0}): check that it runs and its address is right")]
    Unreachable(String),
    /// The database did not answer in time. What was asked for may have happened.
    #[error("the database did not answer within {0:?}: check its load, its disk and the network")]
    Slow(Duration),
    /// All connections are in use, or too many operations wait. Nothing happened.
    #[error("{0}")]
    Busy(String),
    /// The database takes no writes. Nothing happened.
    #[error("the database is read-only ({0}): point `database` at the primary, or free its disk")]
    ReadOnly(String),
    /// The disk of the database is full. Nothing happened.
    #[error("the database's disk is full ({0}): free some space")]
    Full(String),
    /// The database was made by a newer program.
    #[error(
        "the database has schema {found}, and this program knows {known}: run the newer program, or restore the database from before its upgrade"
    )]
    Newer {
        /// The schema of the database.
        found: i64,
        /// The newest one that this program knows.
        known: i64,
    },
    /// The database holds what no version of the program has written.
    #[error("the database is damaged ({0}): restore it from a backup")]
    Damaged(String),
    /// The database refused what no caller can do anything about.
    #[error("the database refused an operation ({0}): this is a mistake of the program")]
    Failed(String),
    /// The catalogue was closed.
    #[error("the database was closed")]
    Closed,
}

impl CatalogError {
    /// Whether the same operation may succeed later, without anybody changing it.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Slow(_)
            | Self::Busy(_)
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::Newer { .. }
            | Self::Damaged(_)
            | Self::Closed => true,
            Self::NotFound { .. } | Self::Exists { .. } | Self::Invalid(_) | Self::Failed(_) => {
                false
            }
        }
    }
}
