//! What clients are told of their limits: `RateLimit` and `RateLimit-Policy` of
//! draft-ietf-httpapi-ratelimit-headers-11 (May 2026), and the `x-ratelimit-*` fields that clients of
//! OpenAI's API read.

use std::fmt::Write as _;
use std::time::Duration;

use super::rate::Standing;
use super::{Limit, Metric};

/// A limit and what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The limit.
    pub limit: Limit,
    /// What there is.
    pub standing: Standing,
}

/// The value of `RateLimit-Policy` (section 3), as in
/// `"key-requests-60s";q=100;w=60, "key-output-tokens-60s";q=9000;qu="tokens";w=60`.
///
/// The draft has no unit for tokens yet; without one they would pass for requests.
pub fn policy(shown: &[Shown]) -> String {
    list(shown, |item, Shown { limit, .. }| {
        let unit = match limit.metric {
            Metric::Requests => "",
            Metric::InputTokens | Metric::OutputTokens => ";qu=\"tokens\"",
        };
        let (units, window) = (limit.quota.units(), limit.quota.window().as_secs());
        write!(item, "\"{limit}\";q={}{unit};w={window}", integer(units))
    })
}

/// The value of `RateLimit` (section 4), as in `"key-requests-60s";r=50;t=30`: what there is, and in
/// how many seconds there is all of it again.
pub fn standing(shown: &[Shown]) -> String {
    list(shown, |item, Shown { limit, standing }| {
        let (remaining, reset) = (integer(standing.remaining), seconds(standing.reset));
        write!(item, "\"{limit}\";r={remaining};t={reset}")
    })
}

/// The `x-ratelimit-*` fields: of the limits on requests and on tokens, the one that there is least
/// of.
pub fn openai(shown: &[Shown]) -> Vec<(&'static str, String)> {
    let least = |requests: bool| {
        let kind = move |shown: &&Shown| (shown.limit.metric == Metric::Requests) == requests;
        shown
            .iter()
            .filter(kind)
            .min_by_key(|shown| shown.standing.remaining)
    };
    let mut fields = Vec::new();
    if let Some(Shown { limit, standing }) = least(true) {
        fields.push((
            "x-ratelimit-limit-requests",
            limit.quota.units().to_string(),
        ));
        fields.push((
            "x-ratelimit-remaining-requests",
            standing.remaining.to_string(),
        ));
        fields.push(("x-ratelimit-reset-requests", clock(standing.reset)));
    }
    if let Some(Shown { limit, standing }) = least(false) {
        fields.push(("x-ratelimit-limit-tokens", limit.quota.units().to_string()));
        fields.push((
            "x-ratelimit-remaining-tokens",
            standing.remaining.to_string(),
        ));
        fields.push(("x-ratelimit-reset-tokens", clock(standing.reset)));
    }
    fields
}

/// Whole seconds for `Retry-After` and `t`, rounded up: who comes that late is not too early.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A duration as OpenAI writes it: `17ms`, `1.5s`, `6m0s`, `1h0m0s`.
fn clock(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    if seconds == 0 {
        return format!("{millis}ms");
    }
    let mut text = String::new();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _ = match (hours, minutes) {
        (0, 0) => Ok(()),
        (0, _) => write!(text, "{minutes}m"),
        _ => write!(text, "{hours}h{minutes}m"),
    };
    let _ = write!(text, "{}", seconds % 60);
    if millis > 0 {
        let fraction = format!(".{millis:03}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// The largest integer of a structured field (RFC 9651, 3.3.1) stands for all larger ones.
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

fn list(shown: &[Shown], each: impl Fn(&mut String, &Shown) -> std::fmt::Result) -> String {
    let mut value = String::new();
    for shown in shown {
        if !value.is_empty() {
            value.push_str(", ");
        }
        let _ = each(&mut value, shown);
    }
    value
}
