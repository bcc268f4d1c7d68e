//! Who did what, and when.

use everstream_core::error::Error;
use everstream_core::id::UnixMillis;
use everstream_store::sql::values::{AuditEntry, AuditQuery};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{List, Shown, page_size, refused};
use super::route::Ask;

/// A row of the audit log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(super) struct EntrySight {
    /// Its place: 1, 2, 3 ... without holes.
    number: u64,
    /// When.
    at: UnixMillis,
    /// Who: an operator, or a part of the program.
    who: String,
    /// What was done, as `key.revoke`.
    action: String,
    /// To what: its id.
    target: String,
    /// The rest, as JSON or plain text.
    detail: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Rows {
    /// Only what this one did.
    who: Option<String>,
    /// Only what was done to this.
    target: Option<String>,
    /// Only rows before this number: the `next` of the page before.
    after: Option<u64>,
    /// The most rows of the page.
    limit: Option<usize>,
}

pub(super) async fn list(ask: Ask<Rows>) -> Result<Shown<List<EntrySight>>, Error> {
    let Rows {
        who,
        target,
        after,
        limit,
    } = &ask.query;
    let limit = page_size(*limit)?;
    let query = AuditQuery {
        who: who.clone(),
        target: target.clone(),
        before: *after,
    };
    let found = ask
        .directory()?
        .catalog()
        .audit_log(&query, limit + 1)
        .await;
    let place = |entry: &AuditEntry| entry.number.to_string();
    Ok(List::of(found.map_err(refused)?, limit, place, Into::into))
}

impl From<AuditEntry> for EntrySight {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry {
            number,
            at,
            who,
            action,
            target,
            detail,
        } = entry;
        Self {
            number,
            at,
            who,
            action,
            target,
            detail,
        }
    }
}
