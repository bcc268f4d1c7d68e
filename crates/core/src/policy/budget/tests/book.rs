use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};

use super::*;
use crate::id::StreamId;

const NOW: UnixMillis = UnixMillis(1_795_395_916_000);

fn at(millis: u64) -> UnixMillis {
    UnixMillis(NOW.0 + millis)
}

fn stream(n: u64) -> StreamId {
    StreamId::from_bits(n)
}

fn account(payer: Payer, span: Span) -> AccountId {
    AccountId {
        period: Period::of(span, NOW),
        payer,
        name: Arc::from("a"),
    }
}

fn wish(payer: Payer, limit: u64, stop: Option<u64>) -> Wish {
    Wish {
        account: account(payer, Span::Day),
        rule: Rule {
            limit: Money(limit),
            stop: stop.map(Money),
            alerts: vec![50, 80, 100],
        },
    }
}

fn standing(book: &Book, payer: Payer) -> (u64, u64) {
    let account = book.account(&account(payer, Span::Day));
    account.map_or((0, 0), |account| (account.spent.0, account.reserved.0))
}

#[test]
fn a_request_holds_and_is_settled() {
    let mut book = Book::default();
    let wishes = [
        wish(Payer::Key, 100, None),
        wish(Payer::Project, 1_000, None),
    ];
    let grant = book.reserve(stream(1), &wishes, Money(60), at(9)).unwrap();
    assert_eq!(grant.allowance, None);
    assert_eq!(standing(&book, Payer::Key), (0, 60));
    assert!(book.reserve(stream(1), &wishes, Money(60), at(9)).is_ok());
    assert_eq!(standing(&book, Payer::Project), (0, 60));
    assert!(book.reserve(stream(2), &wishes, Money(60), at(9)).is_ok());
    let refused = book.reserve(stream(3), &wishes, Money(1), at(9));
    assert_eq!(refused, Err(Exhausted { wish: 0 }));
    assert_eq!(standing(&book, Payer::Project), (0, 120));
    assert!(book.reserve(stream(3), &wishes, Money(0), at(9)).is_ok());
    assert_eq!(book.settle(stream(1), Money(10)), Ok(vec![]));
    assert_eq!(standing(&book, Payer::Key), (10, 60));
    assert_eq!(book.settle(stream(1), Money(10)), Err(NotSettled::Already));
    assert_eq!(book.settle(stream(9), Money(10)), Err(NotSettled::Unknown));
    assert_eq!(standing(&book, Payer::Key), (10, 60));
}

#[test]
fn what_was_released_or_lapsed_can_still_be_settled_once() {
    let mut book = Book::default();
    let wishes = [wish(Payer::Key, 100, None)];
    for n in 1..=2 {
        book.reserve(stream(n), &wishes, Money(40), at(10)).unwrap();
    }
    book.release(stream(1));
    book.release(stream(1));
    assert_eq!(standing(&book, Payer::Key), (0, 40));
    book.expire(at(9));
    assert_eq!(standing(&book, Payer::Key), (0, 40));
    book.expire(at(10));
    assert_eq!(standing(&book, Payer::Key), (0, 0));
    assert!(book.settle(stream(2), Money(45)).is_ok());
    assert!(book.settle(stream(1), Money(7)).is_ok());
    book.renew(stream(1), at(99));
    assert_eq!(standing(&book, Payer::Key), (52, 0));
    assert_eq!(book.settle(stream(2), Money(45)), Err(NotSettled::Already));
}

#[test]
fn a_stream_that_lives_keeps_its_hold() {
    let mut book = Book::default();
    let wishes = [wish(Payer::Key, 100, None)];
    book.reserve(stream(1), &wishes, Money(40), at(10)).unwrap();
    book.renew(stream(1), at(20));
    book.expire(at(15));
    assert_eq!(standing(&book, Payer::Key), (0, 40));
    book.expire(at(25));
    assert_eq!(standing(&book, Payer::Key), (0, 0));
    book.renew(stream(1), at(40));
    book.renew(stream(1), at(50));
    assert_eq!(standing(&book, Payer::Key), (0, 40));
}

#[test]
fn thresholds_are_crossed_once() {
    let mut book = Book::default();
    let wishes = [wish(Payer::Key, 100, None), wish(Payer::Project, 160, None)];
    let mut settle = |n, cost| {
        book.reserve(stream(n), &wishes, Money(1), at(10)).unwrap();
        let crossed = book.settle(stream(n), Money(cost)).unwrap();
        let crossed = crossed.iter().map(|c| (c.account.payer, c.percent));
        crossed.collect::<Vec<_>>()
    };
    assert_eq!(settle(1, 49), []);
    assert_eq!(settle(2, 1), [(Payer::Key, 50)]);
    assert_eq!(settle(3, 10), []);
    let both = [(Payer::Key, 80), (Payer::Project, 50)];
    assert_eq!(settle(4, 20), both);
    assert_eq!(settle(5, 0), []);
    assert_eq!(settle(6, 20), [(Payer::Key, 100)]);
}

#[test]
fn a_stop_grants_no_more_than_there_is() {
    let mut book = Book::default();
    let wishes = [
        wish(Payer::Key, 100, Some(100)),
        wish(Payer::Project, 1_000, None),
    ];
    let reserve = |book: &mut Book, n| {
        book.reserve(stream(n), &wishes, Money(60), at(10))
            .map(|grant| grant.allowance)
    };
    assert_eq!(reserve(&mut book, 1), Ok(Some(Money(60))));
    assert_eq!(reserve(&mut book, 2), Ok(Some(Money(40))));
    assert_eq!(reserve(&mut book, 3), Err(Exhausted { wish: 0 }));
    assert_eq!(book.extend(stream(2), Money(20)), Money(0));
    book.settle(stream(1), Money(10)).unwrap();
    assert_eq!(book.extend(stream(2), Money(20)), Money(20));
    assert_eq!(standing(&book, Payer::Key), (10, 60));
    assert_eq!(book.extend(stream(2), Money(50)), Money(30));
    assert_eq!(standing(&book, Payer::Key), (10, 90));
    assert_eq!(book.extend(stream(2), Money(1)), Money(0));
    book.settle(stream(2), Money(90)).unwrap();
    assert_eq!(standing(&book, Payer::Key), (100, 0));
    assert_eq!(standing(&book, Payer::Project), (100, 0));
    assert_eq!(book.extend(stream(2), Money(1)), Money(0));
    assert_eq!(book.extend(stream(9), Money(1)), Money(0));
}

#[test]
fn a_stream_counts_where_it_was_accepted() {
    let mut book = Book::default();
    let yesterday = wish(Payer::Key, 100, None);
    book.reserve(
        stream(1),
        std::slice::from_ref(&yesterday),
        Money(100),
        at(10),
    )
    .unwrap();
    let end = yesterday.account.period.end();
    let mut today = yesterday.clone();
    today.account.period = Period::of(Span::Day, end);
    book.reserve(
        stream(2),
        &[today.clone()],
        Money(5),
        end.plus(std::time::Duration::from_hours(48)),
    )
    .unwrap();
    book.settle(stream(1), Money(90)).unwrap();
    assert_eq!(book.account(&yesterday.account).unwrap().spent, Money(90));
    assert_eq!(book.account(&today.account).unwrap().spent, Money(0));
    let later = UnixMillis(end.0 + 1);
    book.expire(later);
    book.forget(later);
    assert_eq!(book.account(&yesterday.account), None);
    assert_eq!(book.settle(stream(1), Money(90)), Err(NotSettled::Unknown));
    assert_eq!(book.account(&today.account).unwrap().reserved, Money(5));
}

#[test]
fn an_account_goes_on_from_what_was_stored() {
    let mut book = Book::default();
    let wishes = [wish(Payer::Key, 100, None)];
    let stored = Account {
        spent: Money(100),
        ..Account::default()
    };
    book.open(wishes[0].account.clone(), stored);
    let refused = book.reserve(stream(1), &wishes, Money(1), at(10));
    assert_eq!(refused, Err(Exhausted { wish: 0 }));
    let raised = [wish(Payer::Key, 101, None)];
    assert!(book.reserve(stream(1), &raised, Money(1), at(10)).is_ok());
}

#[test]
fn threads_do_not_overrun_a_budget() {
    let book = Mutex::new(Book::default());
    let wishes = [wish(Payer::Key, 10_000, None)];
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (book, wishes) = (&book, &wishes);
            scope.spawn(move || {
                for n in 0..200 {
                    let stream = stream(thread * 1_000 + n);
                    let accepted = book
                        .lock()
                        .unwrap()
                        .reserve(stream, wishes, Money(50), at(10));
                    if accepted.is_ok() && n % 7 != 0 {
                        book.lock().unwrap().settle(stream, Money(n % 51)).unwrap();
                    }
                }
            });
        }
    });
    let mut book = book.into_inner().unwrap();
    let (spent, reserved) = standing(&book, Payer::Key);
    assert!(
        (10_000..10_050).contains(&(spent + reserved)),
        "{spent} and {reserved}"
    );
    book.expire(at(10));
    assert_eq!(standing(&book, Payer::Key), (spent, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u64, u64),
    Settle(u64, u64),
    Release(u64),
    Renew(u64),
    Extend(u64, u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 0u64..12;
    prop_oneof![
        6 => (stream(), 0u64..40).prop_map(|(s, amount)| Step::Reserve(s, amount)),
        4 => (stream(), 0u64..40).prop_map(|(s, cost)| Step::Settle(s, cost)),
        1 => stream().prop_map(Step::Release),
        2 => stream().prop_map(Step::Renew),
        2 => (stream(), 0u64..20).prop_map(|(s, more)| Step::Extend(s, more)),
        2 => (1u64..30).prop_map(Step::Pass),
    ]
}

/// What the model knows of a stream: no running sums, everything is counted anew each time.
#[derive(Clone, Copy)]
struct Known {
    amount: u64,
    allowance: Option<u64>,
    until: u64,
    live: bool,
    cost: Option<u64>,
}

fn sums(known: &BTreeMap<u64, Known>) -> (u64, u64) {
    let spent = known.values().filter_map(|known| known.cost).sum();
    let held = known.values().filter(|known| known.live);
    (spent, held.map(|known| known.amount).sum())
}

proptest! {
    #[test]
    fn the_book_agrees_with_the_model(
        limit in 0u64..150,
        stopped: bool,
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut book = Book::default();
        let stop = stopped.then_some(limit);
        let wishes = [wish(Payer::Key, limit, stop), wish(Payer::Organisation, 1_000_000, None)];
        let mut known: BTreeMap<u64, Known> = BTreeMap::new();
        let (mut now, mut crossed) = (0u64, Vec::new());
        for step in steps {
            let (spent, held) = sums(&known);
            match step {
                Step::Reserve(s, amount) => {
                    let got = book.reserve(stream(s), &wishes, Money(amount), at(now + 20));
                    match known.entry(s) {
                        Entry::Occupied(_) => prop_assert!(got.is_ok()),
                        Entry::Vacant(_) if amount > 0 && spent + held >= limit => {
                            prop_assert_eq!(got, Err(Exhausted { wish: 0 }));
                        }
                        Entry::Vacant(known) => {
                            let room = limit.saturating_sub(spent + held);
                            let allowance = stopped.then_some(amount.min(room));
                            prop_assert_eq!(got.unwrap().allowance, allowance.map(Money));
                            let until = now + 20;
                            known.insert(Known { amount, allowance, until, live: true, cost: None });
                        }
                    }
                }
                Step::Settle(s, cost) => {
                    let entry = known.get_mut(&s);
                    // A stream with an allowance obeys it, and no other costs more than it holds.
                    let most = entry.as_ref().map_or(0, |known| known.allowance.unwrap_or(known.amount));
                    let cost = cost.min(most);
                    let got = book.settle(stream(s), Money(cost));
                    match entry {
                        None => prop_assert_eq!(got, Err(NotSettled::Unknown)),
                        Some(Known { cost: Some(_), .. }) => prop_assert_eq!(got, Err(NotSettled::Already)),
                        Some(known) => {
                            known.live = false;
                            known.cost = Some(cost);
                            let key = got.unwrap().into_iter().filter(|c| c.account.payer == Payer::Key);
                            crossed.extend(key.map(|c| c.percent));
                        }
                    }
                }
                Step::Release(s) => {
                    book.release(stream(s));
                    if let Some(known) = known.get_mut(&s) {
                        known.live = false;
                    }
                }
                Step::Renew(s) => {
                    book.renew(stream(s), at(now + 20));
                    if let Some(known) = known.get_mut(&s).filter(|known| known.cost.is_none()) {
                        known.live = true;
                        known.until = now + 20;
                    }
                }
                Step::Extend(s, more) => {
                    let got = book.extend(stream(s), Money(more)).0;
                    match known.get_mut(&s).filter(|known| known.live) {
                        None => prop_assert_eq!(got, 0),
                        Some(known) => {
                            let others = spent + held - known.amount;
                            let used = known.allowance.unwrap_or(known.amount);
                            let room = if stopped { limit.saturating_sub(others + used) } else { more };
                            prop_assert_eq!(got, more.min(room));
                            known.allowance = known.allowance.map(|allowance| allowance + got);
                            known.amount = known.amount.max(used + got);
                        }
                    }
                }
                Step::Pass(millis) => {
                    now += millis;
                    book.expire(at(now));
                    for known in known.values_mut().filter(|known| known.until <= now) {
                        known.live = false;
                    }
                }
            }
            let expected = sums(&known);
            prop_assert_eq!(standing(&book, Payer::Key), expected);
            prop_assert_eq!(standing(&book, Payer::Organisation), expected);
        }
        let (spent, _) = sums(&known);
        let due = |percent: &u8| limit > 0 && spent * 100 >= limit * u64::from(*percent);
        let due: Vec<u8> = [50, 80, 100].into_iter().filter(due).collect();
        crossed.sort_unstable();
        prop_assert_eq!(crossed, due);
    }

    /// However requests run beside each other, a budget is overrun by less than one reserve, and
    /// with a stop not at all.
    #[test]
    fn a_budget_is_overrun_by_less_than_one_reserve(
        limit in 1u64..300,
        stopped: bool,
        steps in proptest::collection::vec((0usize..30, 1u64..40, 0u64..40), 1..120),
    ) {
        let mut book = Book::default();
        let wishes = [wish(Payer::Key, limit, stopped.then_some(limit))];
        let (mut running, mut next, mut largest) = (Vec::new(), 0, 0);
        for (which, amount, cost) in steps {
            if which < 15 && which < running.len() {
                let (stream, most) = running.swap_remove(which);
                book.settle(stream, Money(cost.min(most))).unwrap();
            } else {
                next += 1;
                let got = book.reserve(stream(next), &wishes, Money(amount), at(10));
                if let Ok(grant) = got {
                    largest = largest.max(amount);
                    running.push((stream(next), grant.allowance.map_or(amount, |most| most.0)));
                }
            }
            let (spent, reserved) = standing(&book, Payer::Key);
            prop_assert!(spent + reserved < limit + largest);
        }
        for (stream, most) in running {
            book.settle(stream, Money(most)).unwrap();
        }
        let (spent, reserved) = standing(&book, Payer::Key);
        prop_assert_eq!(reserved, 0);
        prop_assert!(spent < limit + largest);
        prop_assert!(!stopped || spent <= limit);
    }
}
