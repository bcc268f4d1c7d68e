//! What is used of limits: in memory and in `PostgreSQL`, against a model that reckons in another way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::limit::Quota;
use everstream_core::policy::limit::rate;
use everstream_core::policy::limit::slots::SlotsTaken;
use everstream_store::counters::{
    Charge, Correction, Counters, Hold, MemoryCounters, Refusal, Seat, Settle, Take, Taken,
};
use everstream_store::sql::postgres::open;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::postgres::Server;

#[test]
fn memory_decides_as_the_model_does() {
    let runtime = runtime();
    check(256, |n, steps| {
        runtime.block_on(replay(&MemoryCounters::default(), n, &steps));
    });
}

#[test]
#[ignore = "needs a server: scripts/postgres.sh"]
fn postgres_decides_as_the_model_does() {
    let runtime = runtime();
    let database = Server::database();
    let _within = runtime.enter();
    let (catalog, _) = open(&database.config()).unwrap();
    let counters = catalog.counters().expect("it holds counters");
    check(64, |n, steps| runtime.block_on(replay(counters, n, &steps)));
    // All of it is idle in the end, and forgotten.
    runtime
        .block_on(counters.sweep(UnixMillis(1 << 50)))
        .unwrap();
    let rows = "SELECT (SELECT count(*) FROM limit_levels) + (SELECT count(*) FROM limit_slots)";
    let left = runtime.block_on(Server::tell(&database.0, rows));
    assert_eq!(left, ["0"]);
    runtime.block_on(catalog.close());
}

/// Two processes' worth of pools, and many who ask at once.
#[test]
#[ignore = "needs a server: scripts/postgres.sh"]
fn who_come_at_once_never_get_more_than_there_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = Server::database();
    runtime.block_on(async {
        let catalogs = [0, 1].map(|_| open(&database.config()).unwrap().0);
        let mut asking = Vec::new();
        for n in 0..200 {
            let catalog = Arc::clone(&catalogs[n % 2]);
            // In different orders, which must not matter.
            let mut charges = vec![charge("a", 20, 60, 1), charge("b", 25, 60, 1)];
            if n % 3 == 0 {
                charges.reverse();
            }
            let wish = Take {
                charges,
                seats: vec![seat("c", 30)],
                ..wish(n as u64, 0)
            };
            asking.push(tokio::spawn(async move {
                let counters = catalog.counters().expect("it holds counters");
                one(counters, &wish).await.refusal.is_none()
            }));
        }
        let mut let_in = 0;
        for one in asking {
            let_in += usize::from(one.await.unwrap());
        }
        assert_eq!(let_in, 20);
        // Those that were refused took nothing of what they would have got.
        let counters = catalogs[1].counters().expect("it holds counters");
        let rest = Take {
            charges: vec![charge("b", 25, 60, 5)],
            ..wish(1_000, 0)
        };
        assert_eq!(one(counters, &rest).await.refusal, None);
        for n in 0..10 {
            let seats = Take {
                seats: vec![seat("c", 30)],
                ..wish(2_000 + n, 0)
            };
            assert_eq!(one(counters, &seats).await.refusal, None);
        }
        // Several in one round trip are granted one after the other.
        let several = [3, 4, 2, 1].map(|cost| Take {
            charges: vec![charge("d", 6, 60, cost)],
            ..wish(3_000 + cost, 0)
        });
        let taken = counters.take(&several).await.unwrap();
        let granted: Vec<_> = taken.iter().map(|one| one.refusal.is_none()).collect();
        assert_eq!(granted, [true, false, true, true]);
        let left: Vec<_> = taken.iter().map(|one| one.standings[0].remaining).collect();
        assert_eq!(left, [3, 3, 1, 0]);
        for catalog in catalogs {
            catalog.close().await;
        }
    });
}

/// What comes of a wish.
async fn one(counters: &dyn Counters, wish: &Take) -> Taken {
    let mut taken = counters.take(std::slice::from_ref(wish)).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0)
}

fn charge(key: &str, units: u64, seconds: u64, cost: u64) -> Charge {
    Charge {
        key: key.to_owned(),
        quota: Quota::new(units, Duration::from_secs(seconds)).unwrap(),
        cost,
    }
}

fn seat(key: &str, limit: u32) -> Seat {
    let key = key.to_owned();
    Seat { key, limit }
}

fn wish(holder: u64, now: u64) -> Take {
    Take {
        holder: StreamId::from_bits(holder),
        charges: Vec::new(),
        seats: Vec::new(),
        now: UnixMillis(now),
        until: UnixMillis(now + 1_000),
    }
}

/// One step; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Take {
        holder: u64,
        costs: BTreeMap<usize, u64>,
        seats: BTreeSet<usize>,
    },
    Settle {
        which: usize,
        actual: u64,
    },
    Renew {
        which: usize,
    },
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let take = (
        0..6u64,
        prop::collection::btree_map(0..QUOTAS.len(), 0..13u64, 0..3),
        prop::collection::btree_set(0..SEATS.len(), 0..3),
    );
    let step = prop_oneof![
        2 => (0..1_500u64).prop_map(Step::Pass),
        6 => take.prop_map(|(holder, costs, seats)| Step::Take { holder, costs, seats }),
        3 => (0..8usize, 0..20u64).prop_map(|(which, actual)| Step::Settle { which, actual }),
        1 => (0..8usize).prop_map(|which| Step::Renew { which }),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..40)
}

/// Units and seconds.
const QUOTAS: [(u64, u64); 3] = [(10, 1), (7, 3), (12, 60)];
const SEATS: [u32; 2] = [1, 3];
const LEASE: u64 = 1_000;

fn check(cases: u32, replay: impl Fn(u64, Vec<Step>)) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let steps = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        replay(number.get(), steps);
        Ok(())
    });
    steps.unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// What was taken and is not settled.
struct Given {
    holder: u64,
    costs: BTreeMap<usize, u64>,
    seats: BTreeSet<usize>,
}

/// Exact fractions, in units times milliseconds, and plain lists.
#[derive(Default)]
struct Model {
    now: u64,
    debts: BTreeMap<usize, i128>,
    leases: BTreeMap<(usize, u64), u64>,
}

impl Model {
    fn pass(&mut self, time: u64) {
        self.now += time;
        for (place, debt) in &mut self.debts {
            let paid = i128::from(time) * i128::from(QUOTAS[*place].0);
            *debt = (*debt - paid).max(0);
        }
    }

    fn debt(&mut self, place: usize) -> &mut i128 {
        self.debts.entry(place).or_default()
    }

    fn span(place: usize) -> i128 {
        i128::from(QUOTAS[place].1) * 1_000
    }

    fn fits(&mut self, place: usize, cost: u64) -> bool {
        let capacity = i128::from(QUOTAS[place].0) * Self::span(place);
        *self.debt(place) + i128::from(cost) * Self::span(place) <= capacity
    }

    fn has_room(&self, place: usize, holder: u64) -> bool {
        let live =
            |(at, who): (usize, u64), until: u64| (at == place && until > self.now).then_some(who);
        let mut holders = self
            .leases
            .iter()
            .filter_map(|(&at, &until)| live(at, until));
        let count = holders.clone().count();
        count < SEATS[place] as usize || holders.any(|who| who == holder)
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
/// Does the steps to both, and compares each answer. `n` makes the keys new ones.
async fn replay(counters: &dyn Counters, n: u64, steps: &[Step]) {
    // Where a run before did not stop, and not at the beginning of time.
    let start = 1_000_000;
    let (mut model, mut given) = (Model::default(), Vec::<Given>::new());
    for step in steps {
        let at = |model: &Model| UnixMillis(start + model.now);
        match step.clone() {
            Step::Pass(time) => model.pass(time),
            Step::Sweep => counters.sweep(at(&model)).await.unwrap(),
            Step::Take {
                holder,
                costs,
                seats,
            } => {
                // A holder has each slot once.
                if given.iter().any(|one| one.holder == holder) {
                    continue;
                }
                let wish = Take {
                    charges: costs
                        .iter()
                        .map(|(&at, &cost)| named(n, at, cost))
                        .collect(),
                    seats: seats
                        .iter()
                        .map(|&at| seat(&slot(n, at), SEATS[at]))
                        .collect(),
                    until: at(&model).plus(Duration::from_millis(LEASE)),
                    ..wish(holder, start + model.now)
                };
                let taken = one(counters, &wish).await;
                judge(&mut model, &costs, (holder, &seats), &taken);
                if taken.refusal.is_none() {
                    given.push(Given {
                        holder,
                        costs,
                        seats,
                    });
                }
                let places = wish.charges.iter().zip(&taken.standings);
                for ((place, _), (charge, standing)) in step_costs(step).iter().zip(places) {
                    let debt = *model.debt(*place);
                    let left =
                        (i128::from(charge.quota.units()) * Model::span(*place) - debt).max(0);
                    assert_eq!(i128::from(standing.remaining), left / Model::span(*place));
                }
            }
            Step::Settle { which, actual } if which < given.len() => {
                let one = given.remove(which);
                let corrections = one.costs.iter().map(|(&place, &reserved)| {
                    let debt = model.debt(place);
                    let change = i128::from(actual) - i128::from(reserved);
                    *debt = (*debt + change * Model::span(place)).max(0);
                    let Charge { key, quota, .. } = named(n, place, 0);
                    Correction {
                        key,
                        quota,
                        reserved,
                        actual,
                    }
                });
                let corrections = corrections.collect();
                let seats = one.seats.iter().map(|&place| {
                    model.leases.remove(&(place, one.holder));
                    slot(n, place)
                });
                let end = Settle {
                    holder: StreamId::from_bits(one.holder),
                    corrections,
                    seats: seats.collect(),
                    now: UnixMillis(start + model.now),
                };
                counters.settle(&[end]).await.unwrap();
            }
            Step::Renew { which } if which < given.len() => {
                let one = &given[which];
                let until = model.now + LEASE;
                let holds = one.seats.iter().map(|&place| {
                    model.leases.insert((place, one.holder), until);
                    Hold {
                        holder: StreamId::from_bits(one.holder),
                        key: slot(n, place),
                    }
                });
                let holds: Vec<_> = holds.collect();
                let until = UnixMillis(start + until);
                counters.renew(&holds, until).await.unwrap();
            }
            Step::Settle { .. } | Step::Renew { .. } => {}
        }
    }
}

fn step_costs(step: &Step) -> &BTreeMap<usize, u64> {
    let Step::Take { costs, .. } = step else {
        panic!("a step that takes");
    };
    costs
}

/// What the model says to it; it takes what was taken.
fn judge(
    model: &mut Model,
    costs: &BTreeMap<usize, u64>,
    (holder, seats): (u64, &BTreeSet<usize>),
    taken: &Taken,
) {
    let too_large = costs.iter().position(|(&at, &cost)| cost > QUOTAS[at].0);
    let all_fit = costs.iter().all(|(&at, &cost)| model.fits(at, cost));
    let full = seats.iter().position(|&at| !model.has_room(at, holder));
    match taken.refusal {
        Some(Refusal::Rate(rate::Refusal::TooLarge { charge })) => {
            assert_eq!(Some(charge), too_large);
        }
        Some(Refusal::Rate(rate::Refusal::Wait { charge, wait })) => {
            assert!(!all_fit && too_large.is_none());
            // At that time, and not a millisecond before, there is enough of it.
            let (&place, &cost) = costs.iter().nth(charge).expect("one of them");
            let (units, _) = QUOTAS[place];
            let capacity = i128::from(units) * Model::span(place);
            let lacking = *model.debt(place) + i128::from(cost) * Model::span(place) - capacity;
            let paid = |millis: u128| i128::try_from(millis).unwrap() * i128::from(units);
            assert!(paid(wait.as_millis()) >= lacking && paid(wait.as_millis() - 1) < lacking);
        }
        Some(Refusal::Slots(SlotsTaken { seat })) => {
            assert!(all_fit);
            assert_eq!(Some(seat), full);
        }
        None => {
            assert!(all_fit && full.is_none());
            for (&place, &cost) in costs {
                *model.debt(place) += i128::from(cost) * Model::span(place);
            }
            for &place in seats {
                model.leases.insert((place, holder), model.now + LEASE);
            }
        }
    }
}

fn named(n: u64, place: usize, cost: u64) -> Charge {
    let (units, seconds) = QUOTAS[place];
    charge(&format!("{n}:rate:{place}"), units, seconds, cost)
}

fn slot(n: u64, place: usize) -> String {
    format!("{n}:slots:{place}")
}
