//! What changes in the catalogue, as it becomes known here: a key that was revoked is refused within a
//! second.

use std::sync::Arc;
use std::time::Duration;

use everstream_core::limits;
use everstream_core::policy::bloom::KnownKeys;
use everstream_store::sql::CatalogError;
use everstream_store::sql::values::{ChangeKind, Changes, Cursor, KeyId};
use tokio_util::sync::CancellationToken;

use super::Directory;
use crate::random;

/// How long a database that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys, or changes, that are read at once.
const PAGE: usize = 1_000;

/// Follows what changes after `cursor`, until `stop`; without one, all ids are read first.
pub async fn follow(
    directory: Arc<Directory>,
    mut cursor: Option<Cursor>,
    stop: CancellationToken,
) {
    let following = async {
        loop {
            if let Err(error) = go_on(&directory, &mut cursor).await {
                tracing::warn!(%error, "changes of keys are not seen just now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    stop.run_until_cancelled(following).await;
}

async fn go_on(directory: &Directory, cursor: &mut Option<Cursor>) -> Result<(), CatalogError> {
    let after = match *cursor {
        Some(after) => {
            directory.catalog().wait().await;
            after
        }
        None => read_all(directory).await?,
    };
    let changes = directory.catalog().changes(after, PAGE).await?;
    *cursor = Some(changes.cursor);
    if apply(directory, &changes) {
        *cursor = None;
    }
    Ok(())
}

/// Forgets what changed. True if that is not enough, and all has to be read again.
fn apply(directory: &Directory, changes: &Changes) -> bool {
    for change in &changes.list {
        match change.kind {
            ChangeKind::Key => directory.changed(&change.id),
            // All keys of it, which are not known by it.
            ChangeKind::Organisation | ChangeKind::Project => directory.forget(),
            ChangeKind::Budget => directory.budgets().notify_one(),
        }
    }
    if changes.has_gap {
        directory.forget();
        directory.budgets().notify_one();
    }
    changes.has_gap
}

/// Reads the ids of all keys. Those that come meanwhile are among the changes after the cursor.
pub async fn read_all(directory: &Directory) -> Result<Cursor, CatalogError> {
    let from = directory.catalog().cursor().await?;
    let mut ids: Vec<KeyId> = Vec::new();
    loop {
        let after = ids.last();
        let page = directory.catalog().keys(None, after, PAGE).await?;
        let last = page.len() < PAGE;
        ids.extend(page.into_iter().map(|key| key.id));
        if last {
            break;
        }
    }
    let seed = random::u64().map_err(|error| CatalogError::Invalid(error.to_string()));
    let seed = u128::from(seed?) << 64 | u128::from(limits::KEY_CACHE as u64);
    let filter = KnownKeys::of(ids.iter().map(KeyId::as_str), seed);
    directory.replace(filter, ids.len());
    Ok(from)
}
