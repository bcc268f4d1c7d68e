//! Durations and sizes as people write them: `15s`, `64MiB`.

use std::time::Duration;

/// Longest duration that is accepted, 100 years: any clock can still be moved on by it.
pub const MAX_DURATION: Duration = Duration::from_hours(36_500 * 24);

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// The unit in which somebody wrote a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationUnit(&'static str, u64);

impl DurationUnit {
    /// Writes a duration in this unit, without what is less than one.
    pub fn show(self, duration: Duration) -> String {
        let Self(name, unit) = self;
        format!("{}{name}", millis(duration) / unit)
    }
}

/// Reads a whole number with one of the units `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (duration, _) = parse_duration_in(text)?;
    Ok(duration)
}

/// The same, and in which unit it is.
pub fn parse_duration_in(text: &str) -> Result<(Duration, DurationUnit), UnitError> {
    let (number, unit) = split(text).ok_or(UnitError("not a duration"))?;
    let (name, unit) = find(&DURATION_UNITS, unit).ok_or(match unit {
        "" => UnitError("a duration needs a unit: ms, s, m, h or d"),
        _ => UnitError("a duration has one of the units ms, s, m, h, d"),
    })?;
    let duration = number.checked_mul(unit).map(Duration::from_millis);
    duration
        .filter(|&duration| duration <= MAX_DURATION)
        .map(|duration| (duration, DurationUnit(name, unit)))
        .ok_or(UnitError("a duration is at most 36500d"))
}

/// Writes a duration, to the millisecond, as [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let millis = millis(duration);
    // Minutes and more only from two on, so that the habitual "60s" and "24h" stay as they are.
    let least = |unit: u64| if unit > 1_000 { 2 * unit } else { unit };
    let fits = |&&(_, unit): &&(&str, u64)| millis.is_multiple_of(unit) && millis >= least(unit);
    let (name, unit) = DURATION_UNITS.iter().find(fits).unwrap_or(&("s", 1_000));
    format!("{}{name}", millis / unit)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a whole number of bytes, plain or with one of the units `B`, `KiB`, `MiB`, `GiB`, `TiB`.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError("not a size"))?;
    let (_, bytes) = match unit {
        "" => ("B", 1),
        "K" | "M" | "G" | "T" | "k" | "KB" | "kB" | "MB" | "GB" | "TB" => {
            return Err(UnitError(
                "a size counts in powers of 1024: KiB, MiB, GiB, TiB",
            ));
        }
        _ => find(&SIZE_UNITS, unit).ok_or(UnitError(
            "a size has one of the units B, KiB, MiB, GiB, TiB",
        ))?,
    };
    number
        .checked_mul(bytes)
        .ok_or(UnitError("a size has at most 64 bits"))
}

/// Writes a size as [`parse_size`] reads it.
pub fn show_size(bytes: u64) -> String {
    let fits = |&&(_, unit): &&(&str, u64)| bytes.is_multiple_of(unit) && bytes >= unit;
    let (name, unit) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit)?;
    Some((number.parse().ok()?, unit))
}

fn find(units: &[(&'static str, u64)], name: &str) -> Option<(&'static str, u64)> {
    units.iter().copied().find(|&(unit, _)| unit == name)
}

/// Text that is not the quantity it was taken for. The message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(&'static str);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_round_trips(millis in 0u64..=3_153_600_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_size_round_trips(bytes: u64, shift in 0u32..64) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[0-9]{0,25}\\PC{0,4}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }

    #[test]
    fn durations_are_shown_as_people_write_them() {
        for text in [
            "0s", "1ms", "50ms", "1s", "60s", "90s", "10m", "60m", "24h", "7d", "36500d",
        ] {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), Ok(text));
        }
        for wrong in [
            "",
            "s",
            "15",
            "1.5s",
            "-1s",
            "1s1",
            "36501d",
            " 1s",
            "1 s",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_as_people_write_them() {
        for text in ["0B", "1B", "1023B", "1KiB", "64MiB", "10GiB", "2TiB"] {
            assert_eq!(parse_size(text).map(show_size).as_deref(), Ok(text));
        }
        assert_eq!(parse_size("1024"), Ok(1024));
        for wrong in ["", "MiB", "1MB", "1.5GiB", "-1", "20000000TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
