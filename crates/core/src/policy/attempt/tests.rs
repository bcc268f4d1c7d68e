use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);
const PAUSE: Duration = Duration::from_millis(300);

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        nothing_ran: false,
        retry_after: None,
    }
}

fn not_run(kind: FailureKind) -> Failure {
    Failure {
        nothing_ran: true,
        ..failure(kind)
    }
}

fn alone() -> Standing {
    Standing {
        made: 1,
        made_here: 1,
        others: false,
        larger: false,
        other_key: false,
        in_budget: true,
        backoff: PAUSE,
        deadline: None,
    }
}

fn decide(failure: Failure, standing: Standing) -> Next {
    AttemptPolicy::default().decide(NOW, failure, &standing)
}

#[test]
fn another_deployment_comes_first() {
    let standing = Standing {
        others: true,
        ..alone()
    };
    for kind in FailureKind::ALL {
        let expected = match kind {
            FailureKind::ContextLength | FailureKind::ContentFilter | FailureKind::BadRequest => {
                Next::GiveUp
            }
            _ => Next::Other,
        };
        assert_eq!(decide(failure(kind), standing), expected, "{kind:?}");
    }
}

#[test]
fn another_key_comes_before_another_deployment() {
    let standing = Standing {
        others: true,
        other_key: true,
        in_budget: false,
        made_here: 3,
        ..alone()
    };
    for kind in FailureKind::ALL {
        let next = decide(not_run(kind), standing);
        let blames_key = matches!(kind, FailureKind::RateLimited | FailureKind::KeyRefused);
        assert_eq!(next == Next::OtherKey, blames_key, "{kind:?}");
    }
    let limited = FailureKind::RateLimited;
    // Said after it may have begun to run.
    assert_eq!(decide(failure(limited), standing), Next::Other);
    let used_up = Standing {
        made: 4,
        ..standing
    };
    assert_eq!(decide(not_run(limited), used_up), Next::GiveUp);
}

#[test]
fn a_long_request_goes_only_to_who_takes_it() {
    let standing = Standing {
        others: true,
        larger: true,
        ..alone()
    };
    assert_eq!(
        decide(failure(FailureKind::ContextLength), standing),
        Next::Larger
    );
}

#[test]
fn the_same_deployment_is_asked_again_only_when_nothing_ran() {
    for kind in FailureKind::ALL {
        assert_eq!(decide(failure(kind), alone()), Next::GiveUp, "{kind:?}");
    }
    for kind in [
        FailureKind::Unreachable,
        FailureKind::RateLimited,
        FailureKind::Overloaded,
    ] {
        assert_eq!(
            decide(not_run(kind), alone()),
            Next::Again(PAUSE),
            "{kind:?}"
        );
    }
    for kind in [FailureKind::Silent, FailureKind::KeyRefused] {
        assert_eq!(decide(not_run(kind), alone()), Next::GiveUp, "{kind:?}");
    }
}

#[test]
fn time_is_left_for_others() {
    let policy = AttemptPolicy::default();
    let deadline = Some(NOW.plus(Duration::from_secs(8)));
    let half = Some(NOW.plus(Duration::from_secs(4)));
    assert_eq!(policy.share(NOW, deadline, 1, 2), half);
    assert_eq!(policy.share(NOW, deadline, 1, 0), None);
    assert_eq!(policy.share(NOW, deadline, policy.attempts, 2), None);
    assert_eq!(policy.share(NOW, None, 1, 2), None);
    let late = NOW.plus(Duration::from_secs(9));
    assert_eq!(policy.share(late, deadline, 1, 2), Some(late));
}

#[test]
fn what_may_run_twice_is_asked_again() {
    let policy = AttemptPolicy {
        idempotent: true,
        ..AttemptPolicy::default()
    };
    let decide = |kind| policy.decide(NOW, failure(kind), &alone());
    assert_eq!(decide(FailureKind::ServerError), Next::Again(PAUSE));
    assert_eq!(decide(FailureKind::Broken), Next::Again(PAUSE));
    assert_eq!(decide(FailureKind::Silent), Next::GiveUp);
    assert_eq!(decide(FailureKind::BadRequest), Next::GiveUp);
}

#[test]
fn a_providers_word_is_kept_if_somebody_waits_that_long() {
    let limited = |seconds| Failure {
        retry_after: Some(Duration::from_secs(seconds)),
        ..not_run(FailureKind::RateLimited)
    };
    let again = Next::Again(Duration::from_secs(7));
    assert_eq!(decide(limited(7), alone()), again);
    assert_eq!(decide(limited(21), alone()), Next::GiveUp);
    let hurried = Standing {
        deadline: Some(NOW.plus(Duration::from_secs(7))),
        ..alone()
    };
    assert_eq!(decide(limited(7), hurried), Next::GiveUp);
}

proptest! {
    /// However the world answers, the number of requests is bounded, and none is repeated that
    /// may have run.
    #[test]
    fn attempts_are_bounded(
        failures in proptest::collection::vec((0..12usize, any::<[bool; 3]>()), 40),
        deployments in 1..6u32,
    ) {
        let policy = AttemptPolicy::default();
        let (mut made, mut made_here, mut asked) = (1, 1, 1);
        for (kind, [nothing_ran, in_budget, other_key]) in failures {
            let kind = FailureKind::ALL[kind];
            let others = asked < deployments;
            let standing = Standing { made, made_here, others, larger: others, other_key, in_budget, ..alone() };
            match policy.decide(NOW, Failure { nothing_ran, ..failure(kind) }, &standing) {
                Next::GiveUp => break,
                Next::Other | Next::Larger => {
                    prop_assert!(others);
                    asked += 1;
                    made_here = 1;
                }
                Next::OtherKey => prop_assert!(nothing_ran && other_key),
                Next::Again(_) => {
                    prop_assert!(nothing_ran && in_budget);
                    made_here += 1;
                }
            }
            made += 1;
            prop_assert!(made <= policy.attempts && made_here <= policy.attempts_each);
        }
    }
}
