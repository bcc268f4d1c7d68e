use super::*;
use everstream_core::policy::attempt::FailureKind;
use everstream_core::policy::overload::Ceiling;

fn one_at_a_time() -> Arc<Health> {
    let settings = DeploymentSettings {
        ceiling: Ceiling::Fixed(1),
        ..DeploymentSettings::default()
    };
    Health::new("u/m".to_owned(), settings, Clock::start(), Arc::default())
}

#[test]
fn leave_is_given_back_however_the_attempt_ends() {
    let health = one_at_a_time();
    let leave = health.admit(false).expect("room");
    let refused = health.admit(false).expect_err("none left");
    assert_eq!(refused.breakage("u").code, ErrorCode::UpstreamUnavailable);
    assert!(refused.breakage("u").nothing_ran);
    drop(leave);
    let health_of_task = Arc::clone(&health);
    let died = std::thread::spawn(move || {
        let _leave = health_of_task.admit(false).expect("room again");
        panic!("the task died");
    });
    assert!(died.join().is_err());
    let sight = health.sight();
    assert_eq!((sight.in_flight, sight.outcomes.other), (0, 2));
}

#[test]
fn what_a_rate_limit_says_is_told_on() {
    let health = one_at_a_time();
    let kind = FailureKind::RateLimited;
    health.admit(false).expect("room").finish(Report {
        verdict: kind.verdict(),
        failure: Some(kind),
        retry_after: Some(Duration::from_mins(1)),
        first_content: None,
        streamed: false,
    });
    let refused = health.refused().expect("it wants to be left alone");
    let told = refused.breakage("u");
    assert_eq!(told.code, ErrorCode::UpstreamLimited);
    let after = told.retry_after.expect("a time");
    assert!(after > Duration::from_secs(50) && after <= Duration::from_mins(1));
}

#[test]
fn made_up_names_cost_no_more_memory_than_the_bound() {
    let healths = Healths::new();
    let settings = DeploymentSettings::default();
    let kept = healths.of("u", "kept", settings);
    for name in 0..3 * DEPLOYMENTS {
        healths.of("u", &name.to_string(), settings);
    }
    assert!(healths.lock().known.len() <= DEPLOYMENTS);
    assert!(Arc::ptr_eq(&kept, &healths.of("u", "kept", settings)));
}
