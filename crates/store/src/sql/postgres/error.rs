//! What the database's errors mean here.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::sql::CatalogError;

/// What `error` means. The server's own texts name tables, columns and users, and no values: details,
/// which have some, are left out.
pub(super) fn refused(error: &Error, patience: Duration) -> CatalogError {
    let Some(server) = error.as_db_error() else {
        return unreached(error);
    };
    let code = server.code();
    let text = format!("{} ({})", server.message(), code.code());
    if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        return CatalogError::Slow(patience);
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return CatalogError::ReadOnly(text);
    }
    if *code == SqlState::DISK_FULL {
        return CatalogError::Full(text);
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return CatalogError::Busy(format!(
            "the database takes no more connections ({text}): make the pool smaller or \
             max_connections larger"
        ));
    }
    // 08: connections; 28: who comes; 3D: no such database; 57P: shut down or starting.
    match code.code().get(..2) {
        Some("08" | "28" | "3D" | "57") => CatalogError::Unreachable(text),
        // 22: data that no column takes; 23: against a constraint.
        Some("22" | "23") => CatalogError::Invalid(text),
        Some("XX") => CatalogError::Damaged(text),
        Some("40" | "53") => CatalogError::Busy(format!("the database is overloaded: {text}")),
        _ => CatalogError::Failed(text),
    }
}

/// Whether the same transaction may succeed when it is run again.
pub(super) fn is_to_be_repeated(error: &Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
        || code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

fn unreached(error: &Error) -> CatalogError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    CatalogError::Unreachable(text)
}
