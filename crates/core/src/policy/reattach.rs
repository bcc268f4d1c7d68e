//! How often, and how long, the provider's own stream of an answer is looked for after its connection
//! was cut. Looking costs nothing, as the provider runs the request once.

use std::ops::Range;
use std::time::Duration;

use super::attempt::{Failure, FailureKind};
use super::backoff::Backoff;

/// The most tries in a row that bring nothing new. Their pauses add up to half a minute at most, in
/// which a provider that is deployed anew is back.
pub const TRIES: u32 = 10;

/// The same before anything was heard of the answer, where somebody else can answer.
pub const TRIES_UNHEARD: u32 = 3;

/// The longest time for the head of the provider's answer: it has it already.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(250),
    most: Duration::from_secs(8),
};

/// Whether the run of an answer that this cut may be going on. One that was silent before its first
/// word is given up for another.
pub const fn may_run_on(cut: FailureKind, heard: bool) -> bool {
    match cut {
        FailureKind::Broken => true,
        FailureKind::Silent => heard,
        _ => false,
    }
}

/// The pause before the next try, after this failure of one, if there are `tries` left and it is made
/// within `left`. `random` is any number, evenly spread.
pub fn pause(
    failure: &Failure,
    tries: Range<u32>,
    left: Duration,
    random: u64,
) -> Option<Duration> {
    let passes = matches!(
        failure.kind,
        FailureKind::Unreachable
            | FailureKind::RateLimited
            | FailureKind::Overloaded
            | FailureKind::ServerError
            | FailureKind::Silent
            | FailureKind::Broken
    );
    let backoff = || PAUSES.pause(tries.start, random);
    let pause = failure.retry_after.unwrap_or_else(backoff);
    (passes && !tries.is_empty() && pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(2);

    const fn failure(kind: FailureKind, retry_after: Option<Duration>) -> Failure {
        Failure {
            kind,
            nothing_ran: true,
            retry_after,
        }
    }

    #[test]
    fn who_is_away_is_looked_for_a_bounded_time() {
        let away = failure(FailureKind::Unreachable, None);
        let pauses = (1..TRIES).map(|made| pause(&away, made..TRIES, LONG, u64::MAX));
        let pauses: Option<Vec<Duration>> = pauses.collect();
        let all: Duration = pauses.unwrap().iter().sum();
        assert!(all < Duration::from_mins(1), "{all:?}");
        assert_eq!(pause(&away, TRIES..TRIES, LONG, 0), None);
        assert_eq!(
            pause(&away, 9..TRIES, Duration::from_secs(1), u64::MAX),
            None
        );
    }

    #[test]
    fn who_says_that_it_has_nothing_is_asked_once() {
        for kind in [
            FailureKind::ModelMissing,
            FailureKind::KeyRefused,
            FailureKind::BadRequest,
            FailureKind::Invalid,
        ] {
            assert_eq!(pause(&failure(kind, None), 1..TRIES, LONG, 0), None);
        }
    }

    #[test]
    fn the_provider_says_when_to_come_back() {
        let wanted = Some(Duration::from_secs(30));
        let busy = failure(FailureKind::Overloaded, wanted);
        assert_eq!(pause(&busy, 1..TRIES, LONG, 0), wanted);
        assert_eq!(pause(&busy, 1..TRIES, Duration::from_secs(20), 0), None);
    }

    #[test]
    fn only_a_lost_connection_is_no_end() {
        assert!(may_run_on(FailureKind::Broken, false));
        assert!(may_run_on(FailureKind::Silent, true));
        assert!(!may_run_on(FailureKind::Silent, false));
        assert!(!may_run_on(FailureKind::ServerError, true));
        assert!(!may_run_on(FailureKind::Invalid, true));
    }
}
