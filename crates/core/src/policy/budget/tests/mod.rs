mod book;
mod price;

use proptest::prelude::*;

use super::*;
use crate::id::UnixMillis;

fn money(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

#[test]
fn amounts_are_read_exactly() {
    assert_eq!(money("2.50"), Money(2_500_000_000));
    assert_eq!(money("0.000000001"), Money(1));
    assert_eq!(money("18446744073.709551615"), Money(u64::MAX));
    for wrong in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1,5",
        "$1",
        " 1",
        "0.0000000001",
        "18446744073.709551616",
        "99999999999",
        "1.-5",
        "1.+5",
    ] {
        assert_eq!(wrong.parse::<Money>(), Err(MoneyError), "{wrong}");
    }
    assert_eq!(money("2.50").to_string(), "2.5");
    assert_eq!(money("100").to_string(), "100");
}

#[test]
fn days_and_months() {
    // 2026-11-23T01:05:16Z
    let now = UnixMillis(1_795_395_916_000);
    let (day, month) = (Period::of(Span::Day, now), Period::of(Span::Month, now));
    assert_eq!(day.to_string(), "2026-11-23");
    assert_eq!(month.to_string(), "2026-11");
    assert_eq!(day.start(), UnixMillis(1_795_392_000_000));
    assert_eq!(day.end(), UnixMillis(1_795_478_400_000));
    assert_eq!(month.end(), UnixMillis(1_796_083_200_000));
    for (millis, text) in [
        (0, "1970-01-01"),
        (951_782_400_000, "2000-02-29"),
        (951_868_800_000, "2000-03-01"),
        (1_709_164_800_000, "2024-02-29"),
        (1_767_225_599_999, "2025-12-31"),
        (1_767_225_600_000, "2026-01-01"),
        (4_107_542_400_000, "2100-03-01"),
    ] {
        assert_eq!(Period::of(Span::Day, UnixMillis(millis)).to_string(), text);
    }
}

proptest! {
    #[test]
    fn an_amount_round_trips(nanos: u64) {
        prop_assert_eq!(Money(nanos).to_string().parse(), Ok(Money(nanos)));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9.]{0,24}|\\PC{0,8}") {
        if let Ok(money) = text.parse::<Money>() {
            prop_assert_eq!(money.to_string().parse(), Ok(money));
        }
    }

    /// Periods follow each other without a gap, and each instant is in its own.
    #[test]
    fn periods_tile_time(at in 0u64..300_000_000_000_000) {
        let at = UnixMillis(at);
        for span in [Span::Day, Span::Month] {
            let period = Period::of(span, at);
            prop_assert!(period.start() <= at && at < period.end());
            prop_assert_eq!(Period::of(span, period.start()), period);
            let next = Period::of(span, period.end());
            prop_assert_eq!(next.start(), period.end());
            prop_assert!(next > period);
        }
        let month = Period::of(Span::Month, at);
        let days = (month.end().0 - month.start().0) / 86_400_000;
        prop_assert!((28..=31).contains(&days));
    }
}
