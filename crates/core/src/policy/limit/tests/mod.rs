mod bound;
mod fields;
mod rate;
mod slots;

use super::*;

fn quota(units: u64, seconds: u64) -> Quota {
    Quota::new(units, Duration::from_secs(seconds)).unwrap()
}

#[test]
fn a_quota_is_checked() {
    let new = |units, millis| Quota::new(units, Duration::from_millis(millis));
    assert!(new(1, 1_000).is_ok());
    assert!(new(1 << 31, 2_147_483_000).is_ok());
    assert_eq!(new(0, 1_000), Err(QuotaError::Units));
    assert_eq!(new(u64::MAX, 1_000), Err(QuotaError::Units));
    assert_eq!(new(1 << 53, 1_000), Err(QuotaError::Units));
    assert_eq!(new(1, 0), Err(QuotaError::Window));
    assert_eq!(new(1, 1_500), Err(QuotaError::Window));
    assert_eq!(new(1, 32 * 24 * 3_600_000), Err(QuotaError::Window));
}

#[test]
fn names_and_keys() {
    let limit = Limit {
        subject: Subject::Project,
        metric: Metric::OutputTokens,
        quota: quota(9_000, 60),
    };
    assert_eq!(limit.to_string(), "project-output-tokens-60s");
    let key = limit.store_key("web");
    assert_eq!(key, "everstream:limit:{project:web}:output-tokens:60");
    let slots = super::slots::store_key(Subject::Key, "ak-1");
    assert_eq!(slots, "everstream:slots:{key:ak-1}");
}
