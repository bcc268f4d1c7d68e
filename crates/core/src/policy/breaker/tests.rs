use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000;

fn at(millis: u64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + millis)
}

fn settings() -> BreakerSettings {
    BreakerSettings::default()
}

/// One request that begins and ends at once.
fn ask(breaker: &mut Breaker, millis: u64, verdict: Verdict) -> bool {
    let Ok(permit) = breaker.admit(at(millis)) else {
        return false;
    };
    breaker.report(at(millis), permit, verdict);
    true
}

fn opened(millis: u64) -> Breaker {
    let mut breaker = Breaker::new(settings());
    for _ in 0..settings().failures_in_a_row {
        assert!(ask(&mut breaker, millis, Verdict::Failure));
    }
    assert_eq!(breaker.state(at(millis)), BreakerState::Open);
    breaker
}

#[test]
fn failures_in_a_row_open_it() {
    let breaker = opened(0);
    assert_eq!(breaker.refuses_until(at(999)), Some(at(SECOND)));
    assert_eq!(breaker.refuses_until(at(SECOND)), None);
}

#[test]
fn a_success_between_them_counts() {
    let mut breaker = Breaker::new(settings());
    for millis in 0..4 {
        ask(&mut breaker, millis, Verdict::Failure);
    }
    ask(&mut breaker, 4, Verdict::Success);
    for millis in 5..8 {
        ask(&mut breaker, millis, Verdict::Failure);
    }
    assert_eq!(breaker.state(at(8)), BreakerState::Closed);
}

#[test]
fn half_of_many_failing_opens_it() {
    let mut breaker = Breaker::new(settings());
    for millis in 0..4 {
        ask(&mut breaker, millis, Verdict::Success);
        ask(&mut breaker, millis, Verdict::Failure);
    }
    assert_eq!(breaker.recent(at(5)), (4, 8));
    assert_eq!(breaker.state(at(5)), BreakerState::Closed);
    ask(&mut breaker, 5, Verdict::Success);
    ask(&mut breaker, 6, Verdict::Failure);
    assert_eq!(breaker.state(at(6)), BreakerState::Open);
}

#[test]
fn what_is_long_ago_does_not_count() {
    let mut breaker = Breaker::new(settings());
    for n in 0..40 {
        ask(&mut breaker, n * 10 * SECOND, Verdict::Failure);
        ask(&mut breaker, n * 10 * SECOND, Verdict::Success);
        assert_eq!(breaker.state(at(n * 10 * SECOND)), BreakerState::Closed);
    }
}

#[test]
fn a_stall_weighs_double_and_a_bad_request_nothing() {
    let mut breaker = Breaker::new(settings());
    for _ in 0..50 {
        ask(&mut breaker, 0, Verdict::Neutral);
    }
    assert_eq!(breaker.recent(at(0)), (0, 0));
    for _ in 0..2 {
        ask(&mut breaker, 0, Verdict::Stall);
    }
    assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    ask(&mut breaker, 0, Verdict::Stall);
    assert_eq!(breaker.state(at(0)), BreakerState::Open);
}

#[test]
fn probes_close_it_and_its_share_grows() {
    let mut breaker = opened(0);
    let first = breaker.admit(at(SECOND)).unwrap();
    let second = breaker.admit(at(SECOND)).unwrap();
    assert_eq!(breaker.state(at(SECOND)), BreakerState::HalfOpen);
    assert_eq!(breaker.admit(at(SECOND)), Err(at(31 * SECOND)));
    breaker.report(at(1_100), first, Verdict::Success);
    assert_eq!(breaker.admit(at(1_100)), Err(at(31 * SECOND)));
    breaker.report(at(1_200), second, Verdict::Success);
    assert_eq!(breaker.state(at(1_200)), BreakerState::Closed);
    assert_eq!(breaker.share(at(1_200)), 100);
    assert_eq!(breaker.share(at(6_200)), 550);
    assert_eq!(breaker.share(at(11_200)), 1_000);
}

#[test]
fn each_failed_probe_opens_it_for_longer_up_to_a_bound() {
    let mut breaker = opened(0);
    let mut millis = 0;
    for seconds in [1, 2, 4, 8, 15, 15, 15] {
        assert_eq!(
            breaker.admit(at(millis)),
            Err(at(millis + seconds * SECOND))
        );
        millis += seconds * SECOND;
        assert!(ask(&mut breaker, millis, Verdict::Failure));
        assert_eq!(breaker.state(at(millis)), BreakerState::Open);
    }
}

#[test]
fn a_neutral_probe_makes_room_for_another() {
    let mut breaker = opened(0);
    for _ in 0..10 {
        assert!(ask(&mut breaker, SECOND, Verdict::Neutral));
    }
    assert_eq!(breaker.state(at(SECOND)), BreakerState::HalfOpen);
}

#[test]
fn a_probe_that_never_ends_is_not_waited_for() {
    let mut breaker = opened(0);
    for _ in 0..settings().probes {
        let _lost = breaker.admit(at(SECOND)).unwrap();
    }
    assert!(breaker.refuses_until(at(30 * SECOND)).is_some());
    assert_eq!(breaker.refuses_until(at(31 * SECOND)), None);
    assert!(breaker.admit(at(31 * SECOND)).is_ok());
}

#[test]
fn what_began_before_it_opened_says_nothing_after() {
    let mut breaker = Breaker::new(settings());
    let old = breaker.admit(at(0)).unwrap();
    for _ in 0..5 {
        ask(&mut breaker, 0, Verdict::Failure);
    }
    breaker.report(at(500), old, Verdict::Failure);
    assert_eq!(breaker.refuses_until(at(SECOND)), None);
    let _probe = breaker.admit(at(SECOND)).unwrap();
    breaker.report(at(SECOND), old, Verdict::Success);
    assert_eq!(breaker.state(at(SECOND)), BreakerState::HalfOpen);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Admit,
    Report(usize, Verdict),
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![
        Just(Verdict::Success),
        Just(Verdict::Failure),
        Just(Verdict::Stall),
        Just(Verdict::Neutral),
    ];
    let step = prop_oneof![
        (0..40_000u64).prop_map(Step::Wait),
        Just(Step::Admit),
        (any::<usize>(), verdict).prop_map(|(which, verdict)| Step::Report(which, verdict)),
        any::<usize>().prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens, nobody is refused for longer than the bounds say, an open one lets nobody
    /// through, and a half open one no more than its probes.
    #[test]
    fn it_never_sticks(steps in steps()) {
        let settings = settings();
        let most = settings.open_for_most.max(settings.probe_patience);
        let mut breaker = Breaker::new(settings);
        let mut permits = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Admit => {
                    let state = breaker.state(at(now));
                    let refused = breaker.refuses_until(at(now));
                    match breaker.admit(at(now)) {
                        Ok(permit) => {
                            prop_assert!(refused.is_none() && state != BreakerState::Open);
                            permits.push(permit);
                        }
                        Err(until) => {
                            prop_assert!(refused == Some(until) && state != BreakerState::Closed);
                            prop_assert!(until > at(now) && until.since(at(now)) <= most);
                        }
                    }
                }
                Step::Report(which, verdict) if !permits.is_empty() => {
                    let permit = permits.swap_remove(which % permits.len());
                    breaker.report(at(now), permit, verdict);
                }
                Step::Forget(which) if !permits.is_empty() => {
                    let _ = permits.swap_remove(which % permits.len());
                }
                Step::Report(..) | Step::Forget(_) => {}
            }
            prop_assert!((100..=1_000).contains(&breaker.share(at(now))));
        }
        // From any state, a deployment that is well again is closed within seconds.
        let start = now;
        while breaker.state(at(now)) != BreakerState::Closed {
            ask(&mut breaker, now, Verdict::Success);
            now += 500;
            let waited = Duration::from_millis(now - start);
            prop_assert!(waited <= most + Duration::from_secs(2), "{waited:?}");
        }
    }
}
