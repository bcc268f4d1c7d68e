use super::*;
use crate::id::{Seq, UnixMillis};
use crate::policy::price::Price;
use crate::record::{Abandoned, Seam};

fn money(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

/// A dollar for a token at `dear`, a cent at `cheap`, and 10 dollars for each request.
fn prices() -> PriceTable {
    let price = |token: &str| Price {
        input: money(token),
        output: money(token),
        request: money("10"),
        ..Price::default()
    };
    PriceTable::new([
        ("dear/*".to_owned(), price("1000000")),
        ("cheap/m".to_owned(), price("10000")),
    ])
}

fn dialled(attempt: u32, upstream: &str) -> Record {
    Record::Dialled(Dialled {
        attempt,
        upstream: upstream.to_owned(),
        model: "m".to_owned(),
    })
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage {
        input_tokens: input,
        output_tokens: output,
        ..Usage::default()
    }
}

fn abandoned(attempt: u32, upstream: &str, usage: Option<Usage>) -> Record {
    Record::Abandoned(Abandoned {
        attempt,
        upstream: upstream.to_owned(),
        reason: "hedge_lost".to_owned(),
        http_status: None,
        nothing_ran: usage.is_none(),
        usage,
        instead: None,
    })
}

fn seam(attempt: u32, upstream: &str, kind: SeamKind, usage: Usage) -> Record {
    Record::Seam(Seam {
        attempt,
        upstream: upstream.to_owned(),
        reason: "broken".to_owned(),
        kind,
        seq: Seq::new(3),
        usage,
    })
}

fn end(status: Status, upstream: &str, usage: Usage) -> End {
    End {
        status,
        reason: None,
        http_status: None,
        retry_after: None,
        upstream: Some(upstream.to_owned()),
        usage,
        release_claim: false,
        at: UnixMillis(0),
    }
}

fn charge(records: &[Record], end: &End) -> (Usage, Money) {
    let mut bill = Bill::default();
    records.iter().for_each(|record| bill.push(record));
    let Charge { usage, cost } = bill.charge(end, &prices());
    (usage, cost)
}

#[test]
fn an_answer_costs_what_it_used_where_it_came_from() {
    let ended = end(Status::Completed, "cheap", tokens(3, 4));
    let records = [dialled(1, "dear"), dialled(2, "cheap")];
    assert_eq!(charge(&records, &ended), (tokens(3, 4), money("10.07")));
}

#[test]
fn what_did_not_run_costs_nothing() {
    let failed = end(Status::Failed, "dear", Usage::default());
    assert_eq!(charge(&[dialled(1, "dear")], &failed).1, Money::ZERO);
    let never = end(Status::Completed, "nowhere", tokens(1, 1));
    assert_eq!(charge(&[dialled(1, "dear")], &never).1, Money::ZERO);
    let records = [
        dialled(1, "dear"),
        abandoned(1, "dear", None),
        dialled(2, "cheap"),
    ];
    let ended = end(Status::Completed, "cheap", tokens(1, 0));
    assert_eq!(charge(&records, &ended).1, money("10.01"));
}

#[test]
fn who_lost_the_race_is_paid_too() {
    let records = [
        dialled(1, "dear"),
        dialled(2, "cheap"),
        abandoned(1, "dear", Some(tokens(5, 1))),
    ];
    let ended = end(Status::Completed, "cheap", tokens(5, 2));
    assert_eq!(charge(&records, &ended), (tokens(10, 3), money("26.07")));
}

#[test]
fn each_part_of_an_answer_that_went_on_costs_what_it_costs_there() {
    let records = [
        dialled(1, "dear"),
        seam(1, "dear", SeamKind::Continued, tokens(5, 2)),
        dialled(2, "cheap"),
        seam(2, "cheap", SeamKind::Reattached, Usage::default()),
    ];
    let ended = end(Status::Completed, "cheap", tokens(12, 6));
    assert_eq!(charge(&records, &ended), (tokens(12, 6), money("27.11")));
}

#[test]
fn the_running_cost_is_that_of_the_end_so_far() {
    let mut bill = Bill::default();
    bill.push(&dialled(1, "dear"));
    let so_far = bill.so_far(1, &tokens(2, 1), &prices());
    assert_eq!(so_far.cost, money("13"));
    bill.push(&seam(1, "dear", SeamKind::Continued, tokens(2, 1)));
    bill.push(&dialled(2, "cheap"));
    let so_far = bill.so_far(2, &tokens(3, 0), &prices());
    assert_eq!(so_far.cost, money("23.03"));
}
