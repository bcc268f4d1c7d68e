//! The ledger, and sums over it.

use everstream_core::id::UnixMillis;
use everstream_core::money::Money;

use super::{HOUR, Instance, acme, at, budget, by, entry, project, stream};
use crate::sql::Catalog;
use crate::sql::values::{
    Bucket, GroupBy, LedgerEntry, Payer, Scope, UsageFilter, UsageQuery, UsageRow,
};

pub(super) async fn settlement(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let payer = acme(&*catalog).await;
    let scope = Scope::Project(project("web"));
    catalog
        .put_budget(&by(at(0)), &budget("web", scope, 100))
        .await
        .expect("made");
    // A project of the configuration has no organisation, and its key is not the catalogue's.
    let loner = Payer {
        organisation: None,
        project: project("loner"),
        key: None,
    };
    let odd = LedgerEntry {
        model: "a\0b 名".to_owned(),
        ..entry(3, &loner, 5, at(2))
    };
    let entries = [
        entry(1, &payer, 30, at(0)),
        entry(2, &payer, 30, at(1)),
        odd.clone(),
    ];
    let done = catalog.settle(&entries).await.expect("settled");
    assert_eq!((done.settled, done.repeated), (3, 0));
    let alerts: Vec<_> = done
        .alerts
        .iter()
        .map(|a| (a.percent, a.spent, a.since))
        .collect();
    assert_eq!(alerts, [(50, 60, at(0))]);
    // Twice is once, also within one settlement, also with another cost.
    let again = [
        entry(1, &payer, 99, at(0)),
        entry(4, &payer, 1, at(3)),
        entry(4, &payer, 1, at(3)),
    ];
    let done = catalog.settle(&again).await.expect("settled");
    assert_eq!((done.settled, done.repeated, done.alerts.len()), (1, 2, 0));
    let state = catalog
        .budgets(Some(&payer), None, 9, at(0))
        .await
        .expect("listed");
    assert_eq!(state[0].spent, 61);
    assert_eq!(
        catalog.ledger_entry(stream(1)).await.expect("asked"),
        Some(entries[0].clone())
    );
    let kept = catalog
        .ledger_entry(stream(3))
        .await
        .expect("asked")
        .expect("there");
    assert_eq!(
        kept,
        LedgerEntry {
            model: "a\u{fffd}b 名".to_owned(),
            ..odd
        }
    );
    assert_eq!(catalog.ledger_entry(stream(9)).await.expect("asked"), None);
    assert_eq!(catalog.settle(&[]).await.expect("settled").settled, 0);
    let largest = LedgerEntry {
        cost: Money(u64::MAX),
        ..entry(5, &loner, 0, at(0))
    };
    catalog
        .settle(std::slice::from_ref(&largest))
        .await
        .expect("settled");
    assert_eq!(
        catalog.ledger_entry(stream(5)).await.expect("asked"),
        // The ledger adds costs up, and has a bound for each that leaves room for that.
        Some(LedgerEntry {
            cost: Money(1_000_000_000_000_000),
            ..largest
        })
    );
}

pub(super) async fn usage(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let web = acme(&*catalog).await;
    let app = Payer {
        project: project("app"),
        key: None,
        ..web.clone()
    };
    let month = 30 * 24 * HOUR;
    let mut entries = vec![
        entry(1, &web, 1, at(0)),
        entry(2, &web, 10, at(HOUR - 1)),
        entry(3, &web, 100, at(HOUR)),
        entry(4, &app, 1_000, at(24 * HOUR)),
        entry(5, &app, 10_000, at(month)),
    ];
    "large".clone_into(&mut entries[2].model);
    catalog.settle(&entries).await.expect("settled");
    let everything = UsageQuery {
        from: UnixMillis(0),
        to: at(2 * month),
        bucket: Bucket::Whole,
        group_by: GroupBy::default(),
        filter: UsageFilter::default(),
    };
    let ask = async |query: &UsageQuery| catalog.usage(query).await.expect("asked");
    let whole = UsageRow {
        requests: 5,
        input_tokens: 50,
        output_tokens: 100,
        cached_tokens: 15,
        cache_write_tokens: 10,
        audio_input_tokens: 5,
        audio_output_tokens: 25,
        reasoning_tokens: 20,
        cost: 11_111,
        ..UsageRow::default()
    };
    assert_eq!(ask(&everything).await, [whole]);
    by_time(&*catalog, &everything).await;
    let group_by = GroupBy {
        organisation: true,
        project: true,
        key: true,
        model: true,
    };
    let rows = ask(&UsageQuery {
        group_by,
        ..everything.clone()
    })
    .await;
    let who: Vec<_> = rows
        .iter()
        .map(|row| [&row.organisation, &row.project, &row.key, &row.model].map(String::as_str))
        .collect();
    let expected = [
        ["acme", "app", "", "small"],
        ["acme", "web", "key00001", "large"],
        ["acme", "web", "key00001", "small"],
    ];
    assert_eq!(who, expected);
    by_filter(&*catalog, &web, &everything).await;
    let hour = UsageQuery {
        from: at(HOUR - 1),
        to: at(HOUR),
        ..everything.clone()
    };
    assert_eq!(ask(&hour).await[0].cost, 10);
    let never = UsageQuery {
        to: UnixMillis(0),
        ..everything
    };
    assert_eq!(ask(&never).await, []);
}

async fn by_time(catalog: &dyn Catalog, everything: &UsageQuery) {
    let month = 30 * 24 * HOUR;
    let ask = async |query: UsageQuery| catalog.usage(&query).await.expect("asked");
    let costs = |rows: &[UsageRow]| {
        let row = |row: &UsageRow| (row.since.0.saturating_sub(at(0).0), row.cost);
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let by_hour = UsageQuery {
        bucket: Bucket::Hour,
        ..everything.clone()
    };
    let hours = [(0, 11), (HOUR, 100), (24 * HOUR, 1_000), (month, 10_000)];
    assert_eq!(costs(&ask(by_hour).await), hours);
    let by_day = UsageQuery {
        bucket: Bucket::Day,
        ..everything.clone()
    };
    let days = [(0, 111), (24 * HOUR, 1_000), (month, 10_000)];
    assert_eq!(costs(&ask(by_day).await), days);
    // 2026-11-01 and 2026-12-01.
    let by_month = UsageQuery {
        bucket: Bucket::Month,
        ..everything.clone()
    };
    let rows = ask(by_month).await;
    let months: Vec<_> = rows.iter().map(|row| (row.since.0, row.cost)).collect();
    assert_eq!(
        months,
        [(1_793_491_200_000, 1_111), (1_796_083_200_000, 10_000)]
    );
}

async fn by_filter(catalog: &dyn Catalog, web: &Payer, everything: &UsageQuery) {
    let ask = async |query: &UsageQuery| catalog.usage(query).await.expect("asked");
    let filters = [
        (
            UsageFilter {
                organisation: Some(project("acme")),
                ..UsageFilter::default()
            },
            11_111,
        ),
        (
            UsageFilter {
                project: Some(project("app")),
                ..UsageFilter::default()
            },
            11_000,
        ),
        (
            UsageFilter {
                key: web.key.clone(),
                ..UsageFilter::default()
            },
            111,
        ),
        (
            UsageFilter {
                model: Some("large".to_owned()),
                ..UsageFilter::default()
            },
            100,
        ),
    ];
    for (filter, cost) in filters {
        let rows = ask(&UsageQuery {
            filter,
            ..everything.clone()
        })
        .await;
        assert_eq!(rows[0].cost, cost);
    }
}
