//! When an upstream says that it may be asked again.

use std::time::{Duration, UNIX_EPOCH};

use crate::id::UnixMillis;

/// The longest pause that is believed. Some providers name hours; nobody waits for that, and a
/// deployment that is left alone for longer is asked once in between.
pub const MOST: Duration = Duration::from_hours(1);

/// The pause that a response asks for: `retry-after-ms`, else `Retry-After`, which is a number of
/// seconds or a date (RFC 9110, section 10.2.3). What is neither says nothing.
pub fn retry_after(
    millis: Option<&str>,
    seconds_or_date: Option<&str>,
    now: UnixMillis,
) -> Option<Duration> {
    let millis = millis.and_then(|text| number(text, 1.0));
    let pause = millis.or_else(|| {
        let text = seconds_or_date?;
        number(text, 1_000.0).or_else(|| date(text, now))
    })?;
    Some(pause.min(MOST))
}

/// Some providers send fractions.
fn number(text: &str, millis: f64) -> Option<Duration> {
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(plain) {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? * millis / 1_000.0;
    Duration::try_from_secs_f64(seconds.min(MOST.as_secs_f64())).ok()
}

fn date(text: &str, now: UnixMillis) -> Option<Duration> {
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    let at = at.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_millis(now.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, a second before.
    const NOW: UnixMillis = UnixMillis(784_111_776_000);

    fn of(millis: Option<&str>, text: &str) -> Option<u128> {
        retry_after(millis, Some(text), NOW).map(|pause| pause.as_millis())
    }

    #[test]
    fn seconds_and_their_fractions() {
        assert_eq!(of(None, "2"), Some(2_000));
        assert_eq!(of(None, " 0.25 "), Some(250));
        assert_eq!(of(Some("17"), "2"), Some(17));
        assert_eq!(of(Some("soon"), "2"), Some(2_000));
    }

    #[test]
    fn dates_in_each_form_of_http() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(of(None, date), Some(1_000), "{date}");
        }
        assert_eq!(of(None, "Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    }

    #[test]
    fn what_is_neither_says_nothing() {
        for text in ["", "-1", "1e3", "soon", "0x10", "NaN", "1.2.3"] {
            assert_eq!(of(None, text), None, "{text}");
        }
    }

    #[test]
    fn nobody_is_believed_for_ever() {
        let most = Some(MOST.as_millis());
        assert_eq!(of(None, "99999999999999999999999999"), most);
        assert_eq!(of(None, "Fri, 31 Dec 9999 23:59:59 GMT"), most);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}", now: u64) {
            let pause = retry_after(Some(&text), Some(&text), UnixMillis(now));
            prop_assert!(pause.is_none_or(|pause| pause <= MOST));
        }
    }
}
