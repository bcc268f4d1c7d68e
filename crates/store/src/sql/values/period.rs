//! Hours, days and months in UTC.

use everstream_core::id::UnixMillis;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// When the hour of `at` began.
pub const fn hour_start(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 / HOUR * HOUR)
}

/// When the day of `at` began.
pub const fn day_start(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 / DAY * DAY)
}

/// When the month of `at` began.
pub const fn month_start(at: UnixMillis) -> UnixMillis {
    let (_, _, day_of_month) = civil(at.0 / DAY);
    UnixMillis((at.0 / DAY - (day_of_month - 1)) * DAY)
}

/// When the month after that of `at` begins.
pub const fn month_after(at: UnixMillis) -> UnixMillis {
    // No two months together are shorter than 59 days, so this is in the next one.
    month_start(UnixMillis(month_start(at).0 + 31 * DAY))
}

/// Year, month and day of the month of a day counted from 1970-01-01: the proleptic Gregorian
/// calendar in eras of 400 years that begin in March.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // `date -u -d @N`: 1970-01-01, 2000-02-29, 2024-12-31, 2100-03-01.
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (1_735_603_200, (2024, 12, 31)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(civil(seconds * 1000 / DAY), date);
        }
    }

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
