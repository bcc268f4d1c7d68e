//! The audit log, and changes.

use std::time::{Duration, Instant};

use super::{Instance, acme, at, by, key_id, project};
use crate::sql::values::{Actor, AuditQuery, Change, ChangeKind, Cursor, Tenant};
use crate::sql::{Catalog, CatalogError};

pub(super) async fn audit(instance: &dyn Instance) {
    let catalog = instance.catalog();
    acme(&*catalog).await;
    let eve = Actor {
        who: "eve".to_owned(),
        at: at(50),
    };
    catalog
        .revoke_key(&eve, &key_id("key00001"))
        .await
        .expect("revoked");
    let detail = "{\"status\":\"cancelled\"}";
    catalog
        .audit(&eve, "stream.delete", "0000000000001", detail)
        .await
        .expect("written");
    // What fails leaves nothing.
    let failed = catalog.revoke_key(&eve, &key_id("unknown1")).await;
    assert!(failed.is_err());
    let lie = catalog.audit(&eve, "a\nb", "x", "").await;
    assert!(matches!(lie, Err(CatalogError::Invalid(_))));

    let all = catalog
        .audit_log(&AuditQuery::default(), 99)
        .await
        .expect("read");
    let actions: Vec<_> = all.iter().map(|entry| entry.action.as_str()).collect();
    let expected = [
        "stream.delete",
        "key.revoke",
        "key.create",
        "project.create",
        "project.create",
        "organisation.create",
    ];
    assert_eq!(actions, expected);
    let numbers: Vec<_> = all.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    assert_eq!((all[0].who.as_str(), all[0].at), ("eve", at(50)));
    assert_eq!(
        (all[0].target.as_str(), all[0].detail.as_str()),
        ("0000000000001", detail)
    );

    let read = async |query: AuditQuery, limit| {
        let rows = catalog.audit_log(&query, limit).await.expect("read");
        rows.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    let who = Some("ada".to_owned());
    let query = AuditQuery {
        who,
        ..AuditQuery::default()
    };
    assert_eq!(read(query, 2).await, [4, 3]);
    let target = Some("key00001".to_owned());
    let query = AuditQuery {
        target,
        ..AuditQuery::default()
    };
    assert_eq!(read(query.clone(), 9).await, [5, 4]);
    let query = AuditQuery {
        before: Some(5),
        ..query
    };
    assert_eq!(read(query, 9).await, [4]);
}

pub(super) async fn changes(instance: &dyn Instance) {
    let catalog = instance.catalog();
    assert_eq!(catalog.cursor().await.expect("asked"), Cursor(0));
    acme(&*catalog).await;
    let all = catalog.changes(Cursor(0), 99).await.expect("asked");
    assert_eq!((all.cursor, all.has_gap), (Cursor(4), false));
    let expected = [
        (1, ChangeKind::Organisation, "acme"),
        (2, ChangeKind::Project, "web"),
        (3, ChangeKind::Project, "app"),
        (4, ChangeKind::Key, "key00001"),
    ];
    let expected = expected.map(|(number, kind, id)| {
        let id = id.to_owned();
        Change { number, kind, id }
    });
    assert_eq!(all.list, expected);
    let page = catalog.changes(Cursor(1), 2).await.expect("asked");
    assert_eq!((&page.list[..], page.cursor), (&expected[1..3], Cursor(3)));
    let none = catalog.changes(Cursor(4), 9).await.expect("asked");
    assert_eq!(
        (none.list.len(), none.cursor, none.has_gap),
        (0, Cursor(4), false)
    );

    // Who was away for too long is told so, and so is who knows more than the database.
    catalog
        .revoke_key(&by(at(9_000)), &key_id("key00001"))
        .await
        .expect("revoked");
    assert_eq!(catalog.prune_changes(at(9_000)).await.expect("pruned"), 4);
    assert_eq!(catalog.prune_changes(at(99_000)).await.expect("pruned"), 0);
    let gap = catalog.changes(Cursor(2), 9).await.expect("asked");
    assert_eq!(
        (gap.list.len(), gap.cursor, gap.has_gap),
        (1, Cursor(5), true)
    );
    let fine = catalog.changes(Cursor(4), 9).await.expect("asked");
    assert_eq!(
        (fine.list.len(), fine.cursor, fine.has_gap),
        (1, Cursor(5), false)
    );
    let ahead = catalog.changes(Cursor(77), 9).await.expect("asked");
    assert_eq!(
        (ahead.list.len(), ahead.cursor, ahead.has_gap),
        (0, Cursor(5), true)
    );
}

/// Follows changes as a process does, until there is one of this thing.
async fn follow(catalog: &dyn Catalog, mut cursor: Cursor, id: &str) {
    let since = Instant::now();
    loop {
        let changes = catalog.changes(cursor, 99).await.expect("asked");
        if changes.list.iter().any(|change| change.id == id) {
            return;
        }
        cursor = changes.cursor;
        catalog.wait().await;
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "no change of {id} is seen"
        );
    }
}

pub(super) async fn changes_of_others(instance: &dyn Instance) {
    let (here, there) = (instance.catalog(), instance.catalog());
    acme(&*here).await;
    let cursor = here.cursor().await.expect("asked");
    for (catalog, id) in [(&there, "web"), (&here, "app")] {
        let (tenant, by) = (Tenant::Project(project(id)), by(at(1)));
        let change = async {
            // The follower is to wait, as it would; if it doesn't yet the test is easier.
            tokio::task::yield_now().await;
            catalog.suspend(&by, &tenant, true).await
        };
        let ((), done) = tokio::join!(follow(&*here, cursor, id), change);
        done.expect("suspended");
    }
}
