//! Several processes on one database.

use super::{HOUR, Instance, acme, at, budget, by, entry, is_held, project, reserve, stream};
use everstream_core::sign::nonce::NonceId;

use crate::sql::values::{AuditQuery, Cursor, Reserved, Scope};

const PROCESSES: u64 = 4;
const ROUNDS: u64 = 12;
const LIMIT: u64 = 100;
const AMOUNT: u64 = 10;

/// Of all who claim a nonce at once, one gets it, until it is forgotten.
pub(super) async fn nonces(instance: &dyn Instance) {
    let nonce = |n: u64| NonceId::new("key00001", &n.to_string());
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..PROCESSES {
        let catalog = instance.catalog();
        processes.spawn(async move {
            let mut claimed = 0;
            for n in 0..ROUNDS {
                let first = catalog.claim_nonce(nonce(n), at(n)).await;
                claimed += u64::from(first.expect("asked"));
            }
            claimed
        });
    }
    let claimed = processes.join_all().await;
    assert_eq!(claimed.into_iter().sum::<u64>(), ROUNDS);
    let catalog = instance.catalog();
    assert_eq!(catalog.prune_nonces(at(2)).await.expect("pruned"), 2);
    for (n, is_free) in [(0, true), (1, true), (2, false), (0, false)] {
        let first = catalog.claim_nonce(nonce(n), at(HOUR)).await;
        assert_eq!(first.expect("asked"), is_free, "{n}");
    }
}

/// All reserve, settle and release at once; whatever the order, the limit is overrun by one reserve
/// at most, and in the end the sums are right.
pub(super) async fn many_at_once(instance: &dyn Instance) {
    let first = instance.catalog();
    let payer = acme(&*first).await;
    for (id, scope) in [
        ("acme", Scope::Organisation(project("acme"))),
        ("web", Scope::Project(project("web"))),
    ] {
        first
            .put_budget(&by(at(0)), &budget(id, scope, LIMIT))
            .await
            .expect("made");
    }
    let mut processes = tokio::task::JoinSet::new();
    for process in 0..PROCESSES {
        let (catalog, payer) = (instance.catalog(), payer.clone());
        processes.spawn(async move {
            let mut spent = 0;
            for round in 0..ROUNDS {
                let n = process * 1_000 + round;
                let asked = reserve(n, &payer, AMOUNT, at(n));
                let reserved = catalog.reserve(&asked).await.expect("asked");
                if let Reserved::Held(held) = &reserved {
                    for held in held {
                        let used = held.spent + held.reserved;
                        assert!(used < LIMIT + AMOUNT, "{used} of {LIMIT} are used");
                    }
                }
                if !is_held(&reserved) {
                    continue;
                }
                if round % 3 == 0 {
                    catalog.release(stream(n)).await.expect("released");
                } else {
                    let entry = entry(n, &payer, AMOUNT - 1, at(n));
                    for _ in 0..2 {
                        let entry = std::slice::from_ref(&entry);
                        catalog.settle(entry).await.expect("settled");
                    }
                    spent += AMOUNT - 1;
                }
                let name = format!("p-{n}");
                let made = catalog
                    .create_project(&by(at(n)), &project("acme"), &project(&name), &name)
                    .await;
                made.expect("created");
            }
            spent
        });
    }
    let spent: u64 = processes.join_all().await.iter().sum();
    assert!(spent >= LIMIT - AMOUNT, "only {spent} were spent");
    for state in first.budgets(None, None, 9, at(0)).await.expect("listed") {
        assert_eq!(
            (state.spent, state.reserved),
            (spent, 0),
            "{}",
            state.budget.id
        );
    }
    // Numbers have no holes, whoever wrote them.
    let changes = first.changes(Cursor(0), 9_999).await.expect("asked");
    let numbers = changes.list.iter().map(|change| change.number);
    assert!(numbers.eq(1..=changes.cursor.0));
    let log = first
        .audit_log(&AuditQuery::default(), 9_999)
        .await
        .expect("read");
    let numbers = log.iter().rev().map(|entry| entry.number);
    assert!(numbers.eq(1..=changes.cursor.0));
}
