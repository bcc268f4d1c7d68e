//! Budgets.

use everstream_core::id::UnixMillis;
use everstream_core::money::Money;

use super::{
    HOUR, Instance, acme, at, budget, budget_id, by, entry, is_held, key_id, project, reserve,
    stream,
};
use crate::sql::values::{Budget, Payer, Period, Refusal, Reserved, Scope};
use crate::sql::{Catalog, CatalogError};

async fn state(catalog: &dyn Catalog, id: &str, now: UnixMillis) -> (u64, u64) {
    let all = catalog.budgets(None, None, 99, now).await.expect("listed");
    let state = all.iter().find(|state| state.budget.id.as_str() == id);
    let state = state.expect("the budget is there");
    (state.spent, state.reserved)
}

pub(super) async fn reserves(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let payer = acme(&*catalog).await;
    let free = catalog
        .reserve(&reserve(1, &payer, 10, at(0)))
        .await
        .expect("asked");
    assert_eq!(free, Reserved::Held(Vec::new()));
    let by = by(at(0));
    for (id, scope, nanos) in [
        ("of-acme", Scope::Organisation(project("acme")), 1_000),
        ("of-web", Scope::Project(project("web")), 100),
        ("of-key", Scope::Key(key_id("key00001")), 500),
        ("of-app", Scope::Project(project("app")), 1),
    ] {
        catalog
            .put_budget(&by, &budget(id, scope, nanos))
            .await
            .expect("made");
    }
    let asked = reserve(2, &payer, 60, at(0));
    let Reserved::Held(held) = catalog.reserve(&asked).await.expect("asked") else {
        panic!("the first reserve is refused");
    };
    let ids: Vec<_> = held.iter().map(|held| held.budget.as_str()).collect();
    assert_eq!(ids, ["of-acme", "of-key", "of-web"]);
    assert!(
        held.iter()
            .all(|held| (held.spent, held.reserved) == (0, 60))
    );
    // Again changes nothing; another fits, as the limit is not reached; a third does not.
    assert!(is_held(&catalog.reserve(&asked).await.expect("asked")));
    assert_eq!(state(&*catalog, "of-web", at(0)).await, (0, 60));
    let second = catalog
        .reserve(&reserve(3, &payer, 60, at(0)))
        .await
        .expect("asked");
    assert!(is_held(&second));
    let refused = catalog
        .reserve(&reserve(4, &payer, 1, at(0)))
        .await
        .expect("asked");
    let expected = Refusal {
        budget: budget_id("of-web"),
        limit: Money(100),
        spent: 0,
        reserved: 120,
        resets_at: at(24 * HOUR),
    };
    assert_eq!(refused, Reserved::Refused(expected));
    // What is refused uses up nothing, anywhere.
    assert_eq!(state(&*catalog, "of-acme", at(0)).await, (0, 120));
    assert_eq!(state(&*catalog, "of-key", at(0)).await, (0, 120));
    assert_eq!(state(&*catalog, "of-app", at(0)).await, (0, 0));
    // Another project of the organisation goes on.
    let other = Payer {
        project: project("elsewhere"),
        key: None,
        ..payer.clone()
    };
    assert!(is_held(
        &catalog
            .reserve(&reserve(5, &other, 1, at(0)))
            .await
            .expect("asked")
    ));

    frees(&*catalog, &payer).await;
}

/// Goes on from there: stream 2 and 3 hold 60 each, and stream 5 holds 1 elsewhere.
async fn frees(catalog: &dyn Catalog, payer: &Payer) {
    catalog.release(stream(3)).await.expect("released");
    catalog.release(stream(3)).await.expect("released");
    assert_eq!(state(catalog, "of-web", at(0)).await, (0, 60));
    let settled = catalog
        .settle(&[entry(2, payer, 20, at(0))])
        .await
        .expect("settled");
    assert_eq!((settled.settled, settled.alerts.len()), (1, 0));
    assert_eq!(state(catalog, "of-web", at(0)).await, (20, 0));
    assert_eq!(state(catalog, "of-acme", at(0)).await, (20, 1));
    // Tomorrow is another day.
    assert_eq!(state(catalog, "of-web", at(24 * HOUR)).await, (0, 0));
    let covering = catalog
        .budgets(Some(payer), None, 99, at(0))
        .await
        .expect("listed");
    assert_eq!(covering.len(), 3);
    assert_eq!(
        (covering[0].since, covering[0].until),
        (at(0), at(24 * HOUR))
    );
}

pub(super) async fn leases(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let payer = acme(&*catalog).await;
    let scope = Scope::Project(project("web"));
    catalog
        .put_budget(&by(at(0)), &budget("web", scope, 100))
        .await
        .expect("made");
    for n in 1..=40 {
        let asked = reserve(n, &payer, 2, at(n));
        assert!(
            is_held(&catalog.reserve(&asked).await.expect("asked")),
            "{n}"
        );
    }
    let all: Vec<_> = (1..=40).map(stream).collect();
    let renewed = catalog
        .renew(&all[..20], at(60_010), at(90_000))
        .await
        .expect("renewed");
    // The leases of the first ten ended before, that of the tenth just now.
    assert_eq!(renewed, all[10..20]);
    assert_eq!(state(&*catalog, "web", at(60_010)).await, (0, 60));
    assert_eq!(state(&*catalog, "web", at(60_040)).await, (0, 20));
    // Lapsed reserves make room, without a sweep.
    let asked = reserve(50, &payer, 200, at(60_040));
    let Reserved::Held(held) = catalog.reserve(&asked).await.expect("asked") else {
        panic!("lapsed reserves count");
    };
    assert_eq!(held[0].reserved, 220);
    assert_eq!(catalog.sweep(at(90_000)).await.expect("swept"), 10);
    assert_eq!(catalog.sweep(at(90_000)).await.expect("swept"), 0);
    assert_eq!(state(&*catalog, "web", at(90_000)).await, (0, 200));
    // One that lapsed may be reserved anew, and one that lapsed is settled all the same.
    assert!(!is_held(
        &catalog
            .reserve(&reserve(1, &payer, 1, at(90_000)))
            .await
            .expect("asked")
    ));
    let later = at(130_000);
    assert!(is_held(
        &catalog
            .reserve(&reserve(50, &payer, 5, later))
            .await
            .expect("asked")
    ));
    assert_eq!(state(&*catalog, "web", later).await, (0, 5));
    let done = catalog
        .settle(&[entry(7, &payer, 9, at(0))])
        .await
        .expect("settled");
    assert_eq!(done.settled, 1);
    assert_eq!(state(&*catalog, "web", later).await, (9, 5));
}

pub(super) async fn come_and_go(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let payer = acme(&*catalog).await;
    let by = by(at(0));
    let month = UnixMillis(at(0).0 - 22 * 24 * HOUR);
    let last_month = UnixMillis(month.0 - 1);
    let entries = [
        entry(1, &payer, 1, last_month),
        entry(2, &payer, 10, month),
        entry(3, &payer, 100, at(0)),
        entry(4, &payer, 1_000, at(24 * HOUR)),
    ];
    catalog.settle(&entries).await.expect("settled");
    // What was spent before a budget is made counts, in each kind.
    let scopes = [
        Scope::Organisation(project("acme")),
        Scope::Project(project("web")),
        Scope::Key(key_id("key00001")),
    ];
    for (n, scope) in scopes.iter().enumerate() {
        let daily = budget(&format!("day-{n}"), scope.clone(), 500);
        let monthly = Budget {
            id: budget_id(&format!("month-{n}")),
            period: Period::Month,
            ..daily.clone()
        };
        for budget in [&daily, &monthly] {
            catalog.put_budget(&by, budget).await.expect("made");
        }
        assert_eq!(state(&*catalog, daily.id.as_str(), at(1)).await, (100, 0));
        assert_eq!(
            state(&*catalog, monthly.id.as_str(), at(1)).await,
            (1_110, 0)
        );
    }
    let Reserved::Refused(refusal) = catalog
        .reserve(&reserve(9, &payer, 1, at(1)))
        .await
        .expect("asked")
    else {
        panic!("a used-up budget takes a reserve");
    };
    // 2026-12-01T00:00:00Z
    let december = at(8 * 24 * HOUR);
    assert_eq!(
        (refusal.budget, refusal.resets_at),
        (budget_id("month-0"), december)
    );
    change(&*catalog, &payer, &scopes).await;
}

/// Goes on from there.
async fn change(catalog: &dyn Catalog, payer: &Payer, scopes: &[Scope]) {
    let by = by(at(0));
    // A higher limit lets in at once; another scope or period is another budget.
    for (n, scope) in scopes.iter().enumerate() {
        let higher = Budget {
            period: Period::Month,
            ..budget(&format!("month-{n}"), scope.clone(), 5_000)
        };
        catalog.put_budget(&by, &higher).await.expect("changed");
    }
    let turned = budget("month-0", scopes[0].clone(), 5_000);
    let refused = catalog.put_budget(&by, &turned).await;
    assert!(matches!(refused, Err(CatalogError::Invalid(_))));
    let odd = Budget {
        alert_at: vec![0],
        ..turned
    };
    assert!(matches!(
        catalog.put_budget(&by, &odd).await,
        Err(CatalogError::Invalid(_))
    ));
    assert!(is_held(
        &catalog
            .reserve(&reserve(9, payer, 7, at(1)))
            .await
            .expect("asked")
    ));
    assert_eq!(state(catalog, "month-1", at(1)).await, (1_110, 7));
    catalog
        .delete_budget(&by, &budget_id("month-1"))
        .await
        .expect("deleted");
    let gone = catalog.delete_budget(&by, &budget_id("month-1")).await;
    assert!(matches!(
        gone,
        Err(CatalogError::NotFound { what: "budget", .. })
    ));
    catalog.release(stream(9)).await.expect("released");
    assert_eq!(state(catalog, "month-2", at(1)).await, (1_110, 0));
}
