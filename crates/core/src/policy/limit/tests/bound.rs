use proptest::prelude::*;

use super::super::bound::{Bound, BoundError};
use super::*;

#[test]
fn bounds_are_read_and_shown_as_people_write_them() {
    for text in [
        "requests=1/1s",
        "requests=1/1000ms",
        "requests=60/60s",
        "requests=60/1m",
        "input-tokens=100000/24h",
        "input-tokens=100000/1d",
        "output-tokens=5000/31d",
        "concurrency=5",
    ] {
        assert_eq!(
            text.parse::<Bound>().map(|b| b.to_string()),
            Ok(text.to_owned())
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let fails = |text: &str| text.parse::<Bound>().expect_err(text);
    for text in ["", "requests", "tokens=5/1m", "Requests=5/1m", "=1/1s"] {
        assert_eq!(fails(text), BoundError::Form, "{text}");
    }
    for text in [
        "requests=60",
        "requests=/1m",
        "requests=-1/1m",
        "requests=x/1m",
    ] {
        assert_eq!(fails(text), BoundError::Rate, "{text}");
    }
    for text in [
        "concurrency=0",
        "concurrency=5/1m",
        "concurrency=4294967295",
    ] {
        assert_eq!(fails(text), BoundError::Concurrency, "{text}");
    }
    assert_eq!(fails("requests=0/1m"), BoundError::Quota(QuotaError::Units));
    assert_eq!(
        fails("requests=1/32d"),
        BoundError::Quota(QuotaError::Window)
    );
    let message = fails("requests=1/1").to_string();
    assert_eq!(message, "a duration needs a unit: ms, s, m, h or d");
}

proptest! {
    #[test]
    fn every_bound_round_trips(
        metric in "requests|input-tokens|output-tokens",
        units in 1u64..1 << 30,
        window in "[1-9][0-9]{0,3}s|[1-9][0-9]{0,2}m|[1-9][0-9]?h|[1-9]d",
    ) {
        let text = format!("{metric}={units}/{window}");
        let bound: Bound = text.parse().unwrap();
        let json = serde_json::to_string(&bound).unwrap();
        prop_assert_eq!(&json, &format!("\"{text}\""));
        prop_assert_eq!(serde_json::from_str::<Bound>(&json).unwrap(), bound);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "(requests|concurrency)?=?[0-9]{0,25}/?\\PC{0,4}") {
        let _ = text.parse::<Bound>();
    }
}
