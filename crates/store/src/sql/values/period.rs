//! Days and months in UTC.

use everstream_core::calendar::{date, first_of};
use everstream_core::id::UnixMillis;

const DAY: u64 = 24 * 3_600_000;

/// When the day of `at` began.
pub const fn day_start(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 / DAY * DAY)
}

/// When the month of `at` began.
pub const fn month_start(at: UnixMillis) -> UnixMillis {
    let (year, month, _) = date(at.0 / DAY);
    UnixMillis(first_of(year, month) * DAY)
}

/// When the month after that of `at` begins.
pub const fn month_after(at: UnixMillis) -> UnixMillis {
    // No two months together are shorter than 59 days, so this is in the next one.
    month_start(UnixMillis(month_start(at).0 + 31 * DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_for_four_hundred_years() {
        let mut start = UnixMillis(0);
        for n in 0..4_800 {
            let next = month_after(start);
            assert!((28..=31).contains(&((next.0 - start.0) / DAY)), "month {n}");
            assert_eq!(month_start(UnixMillis(next.0 - 1)), start);
            assert_eq!(month_start(next), next);
            start = next;
        }
        // 2370-01-01, four centuries of 146,097 days on.
        assert_eq!(start.0, 146_097 * DAY);
    }
}
