//! Days and months, in UTC.

use std::fmt;

use crate::id::UnixMillis;

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// From midnight to midnight, UTC.
    Day,
    /// From the first of a month to the first of the next, UTC.
    Month,
}

/// A certain day or month. Its text is `2026-11-23` or `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    span: Span,
    /// Days since 1970-01-01, or months since January 1970.
    index: u64,
}

const DAY: u64 = 24 * 3_600_000;

impl Period {
    /// The day or month of an instant.
    pub fn of(span: Span, at: UnixMillis) -> Self {
        let days = at.0 / DAY;
        let index = match span {
            Span::Day => days,
            Span::Month => {
                let (year, month, _) = date(days);
                (year - 1970) * 12 + month - 1
            }
        };
        Self { span, index }
    }

    /// Day or month.
    pub const fn span(self) -> Span {
        self.span
    }

    /// Its first instant.
    pub fn start(self) -> UnixMillis {
        let days = match self.span {
            Span::Day => self.index,
            Span::Month => days(self.index / 12 + 1970, self.index % 12 + 1),
        };
        UnixMillis(days.saturating_mul(DAY))
    }

    /// The first instant after it: when what was spent in it counts no more.
    pub fn end(self) -> UnixMillis {
        let index = self.index + 1;
        Self { index, ..self }.start()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.start().0 / DAY);
        match self.span {
            Span::Day => write!(f, "{year:04}-{month:02}-{day:02}"),
            Span::Month => write!(f, "{year:04}-{month:02}"),
        }
    }
}

/// Days of 400 years of the Gregorian calendar, after which it repeats.
const CYCLE: u64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970. Years that begin in March have the leap day
/// at their end, which makes the months regular.
const EPOCH: u64 = 719_468;

/// Year, month and day of a day since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let leaps = day / 1_460 + day / (CYCLE - 1) - day / 36_524;
    let year = (day - leaps) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days, again and again.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (next, month) = if month < 10 {
        (0, month + 3)
    } else {
        (1, month - 9)
    };
    (cycle * 400 + year + next, month, day)
}

/// The first of a month, as days since 1970.
fn days(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (cycle, year) = (year / 400, year % 400);
    let day = (153 * month + 2) / 5;
    (cycle * CYCLE + year * 365 + year / 4 - year / 100 + day) - EPOCH
}
