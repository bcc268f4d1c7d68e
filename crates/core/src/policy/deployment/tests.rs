use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn failed(kind: FailureKind) -> Report {
    Report {
        verdict: kind.verdict(),
        failure: Some(kind),
        retry_after: None,
        first_content: None,
        streamed: true,
    }
}

const SERVED: Report = Report {
    verdict: Verdict::Success,
    failure: None,
    retry_after: None,
    first_content: Some(Duration::from_millis(80)),
    streamed: true,
};

fn state(ceiling: Ceiling) -> DeploymentState {
    let settings = DeploymentSettings {
        ceiling,
        ..DeploymentSettings::default()
    };
    DeploymentState::new(settings, NOW)
}

fn ask(state: &mut DeploymentState, now: UnixMillis, report: Report) {
    let admitted = state.admit(now, false).unwrap();
    state.finish(now, admitted, report);
}

#[test]
fn a_rate_limit_is_kept_and_breaks_nothing() {
    let mut state = state(Ceiling::None);
    let limited = Report {
        retry_after: Some(Duration::from_secs(3)),
        ..failed(FailureKind::RateLimited)
    };
    ask(&mut state, NOW, limited);
    let until = NOW.plus(Duration::from_secs(3));
    assert_eq!(state.closed(NOW), Some(Closed::Limited(until)));
    assert_eq!(state.closed(until), None);
    ask(&mut state, until, failed(FailureKind::RateLimited));
    assert_eq!(
        state.closed(until),
        Some(Closed::Limited(until.plus(LIMITED_FOR)))
    );
    assert_eq!(state.sight(until).breaker, BreakerState::Closed);
}

#[test]
fn keys_rest_alone_and_only_all_of_them_close_it() {
    let settings = DeploymentSettings {
        keys: 3,
        ..DeploymentSettings::default()
    };
    let mut state = DeploymentState::new(settings, NOW);
    let limited = Report {
        retry_after: Some(Duration::from_secs(3)),
        ..failed(FailureKind::RateLimited)
    };
    ask(&mut state, NOW, limited);
    assert_eq!((state.keys(NOW), state.closed(NOW)), ((3, 2), None));
    ask(&mut state, NOW, failed(FailureKind::KeyRefused));
    assert_eq!((state.keys(NOW), state.closed(NOW)), ((3, 1), None));
    // One that was refused says nothing of the others' health.
    assert_eq!(state.sight(NOW).recent, (0, 0));
    for _ in 0..2 {
        let admitted = state.admit(NOW, false).unwrap();
        assert_eq!(admitted.key(), 2);
        state.finish(NOW, admitted, SERVED);
    }
    ask(&mut state, NOW, failed(FailureKind::KeyRefused));
    let until = NOW.plus(Duration::from_secs(3));
    assert_eq!(state.closed(NOW), Some(Closed::Limited(until)));
    assert_eq!(state.keys(until), (3, 1));
    assert_eq!(state.admit(until, false).unwrap().key(), 0);
    assert_eq!(state.keys(NOW.plus(REFUSED_FOR)), (3, 3));
}

#[test]
fn the_only_key_is_used_on_when_it_was_refused() {
    let mut state = state(Ceiling::None);
    ask(&mut state, NOW, failed(FailureKind::KeyRefused));
    assert_eq!(state.closed(NOW), None);
    assert_eq!(state.sight(NOW).recent, (1, 1));
}

#[test]
fn a_rate_limit_can_be_left_to_the_deployment_itself() {
    let settings = DeploymentSettings {
        heeds_limits: false,
        ..DeploymentSettings::default()
    };
    let mut state = DeploymentState::new(settings, NOW);
    ask(&mut state, NOW, failed(FailureKind::RateLimited));
    assert_eq!(state.closed(NOW), None);
}

#[test]
fn failures_break_it_and_are_counted() {
    let mut state = state(Ceiling::None);
    ask(&mut state, NOW, SERVED);
    for _ in 0..5 {
        ask(&mut state, NOW, failed(FailureKind::Overloaded));
    }
    let sight = state.sight(NOW);
    assert_eq!(sight.breaker, BreakerState::Open);
    let until = NOW.plus(Duration::from_secs(1));
    assert_eq!(sight.closed, Some(Closed::Broken(until)));
    assert_eq!(
        (sight.outcomes.succeeded, sight.latency_micros),
        (1, 80_000)
    );
    assert_eq!(sight.outcomes.failed.iter().sum::<u64>(), 5);
    assert_eq!(sight.last_failure, Some((FailureKind::Overloaded, NOW)));
    assert!(matches!(state.admit(NOW, false), Err(Closed::Broken(_))));
    assert!(state.admit(until, false).is_ok());
}

#[test]
fn it_is_full_until_one_leaves() {
    let mut state = state(Ceiling::Fixed(1));
    let admitted = state.admit(NOW, false).unwrap();
    assert_eq!(state.admit(NOW, false).unwrap_err(), Closed::Full);
    state.finish(NOW, admitted, SERVED);
    assert_eq!(state.closed(NOW), None);
}

#[test]
fn only_what_is_streamed_says_when_a_first_content_is_late() {
    let p90 = HedgeAfter::Percentile(90);
    let mut state = state(Ceiling::None);
    for _ in 0..20 {
        ask(&mut state, NOW, SERVED);
    }
    for _ in 0..20 {
        let whole = Report {
            first_content: Some(Duration::from_secs(9)),
            streamed: false,
            ..SERVED
        };
        ask(&mut state, NOW, whole);
    }
    let late = state.hedge_after(NOW, p90);
    assert_eq!(late, Some(Duration::from_millis(88)));
}

#[test]
fn probes_open_it_and_close_it_again_and_count_as_no_attempt() {
    let mut state = state(Ceiling::Fixed(1));
    for _ in 0..4 {
        state.probed(NOW, false);
        state.probed(NOW, true);
    }
    assert_eq!(state.sight(NOW).breaker, BreakerState::Closed);
    state.probed(NOW, false);
    assert_eq!(state.sight(NOW).breaker, BreakerState::Open);
    state.probed(NOW, true);
    let later = NOW.plus(Duration::from_secs(1));
    assert_eq!(state.sight(later).breaker, BreakerState::HalfOpen);
    state.probed(later, false);
    assert_eq!(state.sight(later).breaker, BreakerState::Open);
    let later = later.plus(Duration::from_secs(2));
    state.probed(later, true);
    assert_eq!(state.sight(later).breaker, BreakerState::HalfOpen);
    state.probed(later, true);
    let sight = state.sight(later);
    assert_eq!(
        (sight.breaker, sight.share, sight.in_flight),
        (BreakerState::Closed, 100, 0)
    );
    assert_eq!((sight.outcomes, sight.last_failure), Default::default());
}

#[test]
fn an_operator_takes_it_out_and_back_in() {
    let mut state = state(Ceiling::None);
    state.drain(true);
    assert_eq!(state.closed(NOW), Some(Closed::Drained));
    state.drain(false);
    ask(&mut state, NOW, SERVED);
}
