use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn at(seconds: u64) -> UnixMillis {
    UnixMillis(seconds * 1_000)
}

fn lent(seconds: u64) -> Life {
    Life::Lent {
        time: Duration::from_secs(seconds),
        renewable: true,
    }
}

fn held(now: UnixMillis, life: Life) -> Term {
    let mut term = Term::default();
    assert_eq!(term.next(now), Next::Replace);
    term.replaced(now, life);
    term
}

#[test]
fn what_is_lent_is_renewed_after_two_thirds_until_it_cannot_be() {
    let mut term = held(at(0), lent(300));
    assert_eq!(term.next(at(199)), Next::Wait(at(200)));
    assert_eq!(term.next(at(200)), Next::Renew);
    term.renewed(at(200), Duration::from_mins(5));
    assert_eq!(term.next(at(399)), Next::Wait(at(400)));
    // Its longest life is near: it gets less than it had.
    term.renewed(at(400), Duration::from_mins(2));
    assert_eq!(term.next(at(479)), Next::Wait(at(480)));
    assert_eq!(term.next(at(480)), Next::Replace);
    // Nobody renews what is over.
    let term = held(at(0), lent(300));
    assert_eq!(term.next(at(300)), Next::Replace);
    // Nor what cannot be.
    let life = Life::Lent {
        time: HOUR,
        renewable: false,
    };
    assert_eq!(held(at(0), life).next(at(2_400)), Next::Replace);
}

#[test]
fn what_is_watched_is_looked_at_again_and_what_has_no_end_is_not() {
    let term = held(at(5), Life::Watched(Duration::from_mins(1)));
    assert_eq!(term.next(at(64)), Next::Wait(at(65)));
    assert_eq!(term.next(at(65)), Next::Replace);
    let term = held(at(5), Life::Endless);
    assert!(matches!(term.next(at(1 << 40)), Next::Wait(_)));
}

#[test]
fn who_refuses_to_renew_is_asked_for_another_at_once_and_then_after_pauses() {
    let mut term = held(at(0), lent(300));
    term.failed(at(200), Failure::Refused, u64::MAX);
    assert_eq!(term.next(at(200)), Next::Replace);
    let mut pauses = Vec::new();
    let mut now = at(200);
    for _ in 0..7 {
        term.failed(now, Failure::Refused, u64::MAX);
        let Next::Wait(until) = term.next(now) else {
            panic!("no pause");
        };
        pauses.push(until.since(now).as_millis());
        now = until;
        assert_eq!(term.next(now), Next::Replace);
    }
    assert_eq!(pauses, [500, 500, 999, 1_999, 3_999, 7_999, 7_999]);
}

#[test]
fn without_an_answer_it_is_renewed_on_while_there_is_time() {
    let mut term = held(at(0), lent(300));
    term.failed(at(200), Failure::Unanswered, 0);
    assert_eq!(term.next(at(201)), Next::Renew);
    term.failed(at(299), Failure::Unanswered, 0);
    assert_eq!(term.next(at(300)), Next::Replace);
    // After a success the pauses are short again.
    for _ in 0..9 {
        term.failed(at(301), Failure::Unanswered, u64::MAX);
    }
    term.replaced(at(310), Life::Watched(HOUR));
    term.failed(at(320), Failure::Unanswered, u64::MAX);
    assert_eq!(term.next(at(321)), Next::Replace);
}

#[test]
fn a_hurry_is_one_at_a_time_and_rare() {
    let mut term = held(at(0), lent(300));
    assert_eq!(term.hurry(at(10)), Hurry::Begun);
    assert_eq!(term.next(at(10)), Next::Replace);
    assert_eq!(term.hurry(at(11)), Hurry::UnderWay);
    term.replaced(at(12), lent(300));
    assert_eq!(term.hurry(at(19)), Hurry::TooSoon);
    assert!(matches!(term.next(at(19)), Next::Wait(_)));
    assert_eq!(term.hurry(at(20)), Hurry::Begun);
    term.failed(at(20), Failure::Unanswered, 0);
    assert_eq!(term.hurry(at(21)), Hurry::TooSoon);
    assert_eq!(term.hurry(at(30)), Hurry::Begun);
}

proptest! {
    /// Whatever happens, something is done before the end of what is lent, if its time is no shorter
    /// than the shortest pause allows, and never twice within the least time but for a clear no.
    #[test]
    fn it_neither_forgets_nor_spins(steps in proptest::collection::vec((0..5u8, 1..10_000u64, any::<u64>()), 1..60)) {
        let mut now = at(1);
        let mut term = Term::default();
        let mut ends_at = None;
        for (kind, seconds, random) in steps {
            if let Next::Wait(until) = term.next(now) {
                prop_assert!(until > now);
                if let Some(end) = ends_at {
                    prop_assert!(until <= end);
                }
                now = until;
            }
            let next = term.next(now);
            prop_assert_ne!(next, Next::Wait(now));
            let time = Duration::from_secs(seconds);
            ends_at = None;
            match (kind, next) {
                (0, Next::Replace) | (1, _) => {
                    term.replaced(now, lent(seconds));
                    ends_at = Some(now.plus(time));
                }
                (0, Next::Renew) => {
                    term.renewed(now, time);
                    ends_at = Some(now.plus(time));
                }
                (2, _) => {
                    term.failed(now, Failure::Unanswered, random);
                    prop_assert!(matches!(term.next(now), Next::Wait(until) if until.since(now) >= SECRET_RENEW_LEAST));
                }
                (3, renewing) => {
                    term.failed(now, Failure::Refused, random);
                    prop_assert!(renewing == Next::Renew || matches!(term.next(now), Next::Wait(_)));
                }
                _ => {
                    let _ = term.hurry(now);
                }
            }
        }
    }
}
