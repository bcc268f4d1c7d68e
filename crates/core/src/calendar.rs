//! Dates and times of day in UTC.

use std::fmt;

use crate::id::UnixMillis;

/// An instant as people write it, in UTC and the proleptic Gregorian calendar. Its text is that of RFC
/// 3339: `2015-08-30T12:36:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// From 1970 on.
    pub year: u64,
    /// From 1 to 12.
    pub month: u64,
    /// From 1 to 31.
    pub day: u64,
    /// From 0 to 23.
    pub hour: u64,
    /// From 0 to 59.
    pub minute: u64,
    /// From 0 to 59.
    pub second: u64,
}

impl From<UnixMillis> for DateTime {
    fn from(at: UnixMillis) -> Self {
        let seconds = at.0 / 1000;
        let (days, time) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }
}

impl DateTime {
    /// The basic form of ISO 8601: `20150830T123600Z`.
    pub fn basic(&self) -> String {
        self.to_string().replace(['-', ':'], "")
    }

    /// Its day: `2015-08-30`.
    pub fn date(&self) -> String {
        let Self {
            year, month, day, ..
        } = self;
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Its time of day: `12:36:00`.
    pub fn time(&self) -> String {
        let Self {
            hour,
            minute,
            second,
            ..
        } = self;
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}Z", self.date(), self.time())
    }
}

/// Year, month and day of a day since 1970, by counting from the first of March of the year 0, so that
/// the leap day is a year's last.
pub const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

/// The first of a month, as days since 1970.
pub const fn first_of(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year) = (year / 400, year % 400);
    let day = (153 * month + 2) / 5;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

/// The day that a text such as `2026-11-23` names, as days since 1970.
pub fn day_of(text: &str) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let [year, month, day] = match text.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] if (year.len(), month.len(), day.len()) == (4, 2, 2) => {
            [year, month, day]
        }
        _ => return None,
    };
    let number = |text: &str| digits(text).then(|| text.parse::<u64>().ok()).flatten();
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let known = year >= 1970 && (1..=12).contains(&month) && day > 0;
    let days = known.then(|| first_of(year, month) + day - 1)?;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_in_each_form() {
        let at = DateTime::from(UnixMillis(1_440_938_160_999));
        assert_eq!(at.to_string(), "2015-08-30T12:36:00Z");
        assert_eq!(at.basic(), "20150830T123600Z");
        assert_eq!((&*at.date(), &*at.time()), ("2015-08-30", "12:36:00"));
        let first = DateTime::from(UnixMillis(0));
        assert_eq!(first.to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_day_is_read_as_it_is_written() {
        assert_eq!(day_of("1970-01-01"), Some(0));
        assert_eq!(day_of("2024-02-29"), Some(19_782));
        for wrong in [
            "2023-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-01",
            "1969-12-31",
            "2026-01-01-",
            "+026-01-01",
            "",
        ] {
            assert_eq!(day_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn days_have_their_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_782, (2024, 2, 29)),
            (20_780, (2026, 11, 23)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected);
        }
    }
}
