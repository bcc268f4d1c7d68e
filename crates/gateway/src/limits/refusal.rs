//! What a client is told that has reached a limit.

use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::limits::SLOT_RETRY_AFTER;
use everstream_core::policy::limit::fields::seconds;
use everstream_core::policy::limit::{Limit, Metric, Subject, rate};
use everstream_core::units::show_duration;
use everstream_store::counters::{Refusal, Take};

use super::permit::Told;
use super::rules::Due;

/// Which limit is reached: whose, and of what.
pub(super) fn culprit(due: &Due, refusal: Refusal) -> (Subject, &'static str) {
    match refusal {
        Refusal::Rate(rate::Refusal::Wait { charge, .. } | rate::Refusal::TooLarge { charge }) => {
            let (limit, _) = &due.rates[charge];
            (limit.subject, limit.metric.as_str())
        }
        Refusal::Slots(taken) => (due.slots[taken.seat].0, "concurrency"),
    }
}

/// The error of a refused wish.
pub(super) fn error(due: &Due, wish: &Take, refusal: Refusal, told: Told) -> Error {
    let mut fields = told.0;
    let (message, retry_after) = match refusal {
        Refusal::Rate(rate::Refusal::Wait { charge, wait }) => {
            let limit = due.rates[charge].0;
            let wait = seconds(wait).max(1);
            let message = format!(
                "{} may use {} in {}, and has not enough left for this request. Try again in {wait}s.",
                whose(limit.subject),
                amount(&limit),
                show_duration(limit.quota.window()),
            );
            (message, Some(Duration::from_secs(wait)))
        }
        Refusal::Rate(rate::Refusal::TooLarge { charge }) => {
            let limit = due.rates[charge].0;
            // As the same would be refused again.
            fields.push(("x-should-retry", "false".to_owned()));
            let message = format!(
                "The request is too large: it asks for {} output tokens, and {} may use {} in {}. \
                 Lower the most that it asks for.",
                wish.charges[charge].cost,
                whose(limit.subject).to_lowercase(),
                amount(&limit),
                show_duration(limit.quota.window()),
            );
            (message, None)
        }
        Refusal::Slots(taken) => {
            let (subject, _, limit) = &due.slots[taken.seat];
            let message = format!(
                "{} may have {limit} requests at once, and has them. Try again when one of them is over.",
                whose(*subject)
            );
            (message, Some(SLOT_RETRY_AFTER))
        }
    };
    Error {
        retry_after,
        fields,
        ..Error::new(ErrorCode::RateLimited, message)
    }
}

const fn whose(subject: Subject) -> &'static str {
    match subject {
        Subject::Address => "This address",
        Subject::Key => "This key",
        Subject::Project => "This project",
        Subject::Model => "All who use this model together",
    }
}

fn amount(limit: &Limit) -> String {
    let what = match limit.metric {
        Metric::Requests => "requests",
        Metric::InputTokens => "input tokens",
        Metric::OutputTokens => "output tokens",
    };
    format!("{} {what}", limit.quota.units())
}
