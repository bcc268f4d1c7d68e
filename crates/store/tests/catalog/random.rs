//! Random operations on money, against the model.

use std::sync::Arc;

use everstream_core::id::UnixMillis;
use everstream_store::sql::Catalog;
use everstream_store::sql::conformance::model::Model;
use everstream_store::sql::conformance::{
    HOUR, Instance, at, budget, budget_id, by, entry, key_id, project, reserve, stream,
};
use everstream_store::sql::values::{Budget, Payer, Period, Scope};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u64),
    Delete(u8),
    Reserve(u64, u8, u64),
    Renew(u64),
    Release(u64),
    Settle(u64, u8, u64),
    Sweep,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (stream, who, cost) = (0..8u64, 0..4u8, 0..60u64);
    prop_oneof![
        1 => (0..6u8, 0..200u64).prop_map(|(n, limit)| Step::Put(n, limit)),
        1 => (0..6u8).prop_map(Step::Delete),
        6 => (stream.clone(), who.clone(), cost.clone()).prop_map(|(s, w, c)| Step::Reserve(s, w, c)),
        2 => stream.clone().prop_map(Step::Renew),
        2 => stream.clone().prop_map(Step::Release),
        3 => (stream, who, cost).prop_map(|(s, w, c)| Step::Settle(s, w, c)),
        1 => Just(Step::Sweep),
        2 => prop_oneof![0..50_000u64, Just(13 * HOUR)].prop_map(Step::Pass),
    ]
}

fn payer(n: u8) -> Payer {
    Payer {
        organisation: (n != 0).then(|| project("acme")),
        project: project(if n < 2 { "web" } else { "app" }),
        key: (n == 3).then(|| key_id("key00001")),
    }
}

fn some_budget(n: u8, limit: u64) -> Budget {
    let scope = match n % 3 {
        0 => Scope::Organisation(project("acme")),
        1 => Scope::Project(project("web")),
        _ => Scope::Key(key_id("key00001")),
    };
    let period = if n < 3 { Period::Day } else { Period::Month };
    Budget {
        period,
        ..budget(&format!("b{n}"), scope, limit)
    }
}

/// What the catalogue answers and holds is what the model does, whatever is asked.
pub(crate) fn equals_the_model(cases: u32, open: impl Fn() -> Box<dyn Instance>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = proptest::collection::vec(step(), 1..40);
    let run = TestRunner::new(config).run(&steps, |steps| {
        let instance = open();
        runtime.block_on(async { follow(instance.catalog(), &steps).await });
        Ok(())
    });
    run.unwrap();
}

async fn follow(catalog: Arc<dyn Catalog>, steps: &[Step]) {
    let mut model = Model::default();
    let mut now = at(0);
    for step in steps {
        match *step {
            Step::Put(n, limit) => {
                let budget = some_budget(n, limit);
                catalog.put_budget(&by(now), &budget).await.unwrap();
                model.put_budget(budget);
            }
            Step::Delete(n) => {
                let id = budget_id(&format!("b{n}"));
                let deleted = catalog.delete_budget(&by(now), &id).await;
                assert_eq!(deleted.is_ok(), model.delete_budget(&id));
            }
            Step::Reserve(n, who, nanos) => {
                let asked = reserve(n, &payer(who), nanos, now);
                let reserved = catalog.reserve(&asked).await.unwrap();
                assert_eq!(reserved, model.reserve(&asked));
            }
            Step::Renew(n) => {
                let until = UnixMillis(now.0 + 60_000);
                let renewed = catalog.renew(&[stream(n)], now, until).await.unwrap();
                assert_eq!(!renewed.is_empty(), model.renew(stream(n), now, until));
            }
            Step::Release(n) => {
                catalog.release(stream(n)).await.unwrap();
                model.release(stream(n));
            }
            Step::Settle(n, who, nanos) => {
                let at = model.settled_at(stream(n)).unwrap_or(now);
                let entry = entry(n, &payer(who), nanos, at);
                let done = catalog.settle(std::slice::from_ref(&entry)).await.unwrap();
                assert_eq!(done.settled == 1, model.settle(&entry));
            }
            Step::Sweep => {
                catalog.sweep(now).await.unwrap();
                model.sweep(now);
            }
            Step::Pass(millis) => now = UnixMillis(now.0 + millis),
        }
        let states = catalog.budgets(None, None, 99, now).await.unwrap();
        assert_eq!(states, model.budgets(now), "after {step:?}");
    }
    catalog.close().await;
}
