//! What a request took.

use std::sync::Arc;

use everstream_core::event::Usage;
use everstream_core::id::StreamId;
use everstream_core::policy::limit::rate::Standing;
use everstream_core::policy::limit::{Metric, fields};
use everstream_store::counters::{Charge, Correction, Settle};
use http::{HeaderName, HeaderValue, Response};

use super::Limits;
use super::rules::Due;

/// What a request took of its limits. The default is nothing, of no limits.
///
/// Dropped before it [began](Self::begin), all of it is given back. Dropped after that, the slots are;
/// what was reserved counts as used, unless it was [settled](Self::settle).
#[derive(Debug, Default)]
pub struct Permit(Option<Box<Held>>);

/// Where it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Local,
    Shared,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) limits: Arc<Limits>,
    pub(super) way: Way,
    pub(super) holder: StreamId,
    pub(super) charges: Vec<Charge>,
    /// What each charge counts.
    pub(super) metrics: Vec<Metric>,
    /// The keys of the slots.
    pub(super) seats: Vec<String>,
    pub(super) told: Told,
    pub(super) began: bool,
}

impl Permit {
    pub(super) fn new(held: Held) -> Self {
        Self(Some(Box::new(held)))
    }

    /// From now on something may be used: requests count, and tokens as they were reserved.
    pub fn begin(&mut self) {
        if let Some(held) = &mut self.0 {
            held.began = true;
        }
    }

    /// It is over, and this was used. Once; more often changes nothing.
    pub fn settle(&mut self, used: &Usage) {
        if let Some(held) = self.0.take() {
            held.end(Some(used));
        }
    }

    /// What the client is told of it. Once: after that, nothing.
    pub fn told(&mut self) -> Told {
        let held = self.0.as_mut();
        held.map(|held| std::mem::take(&mut held.told))
            .unwrap_or_default()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.end(None);
        }
    }
}

impl Held {
    fn end(self, used: Option<&Usage>) {
        let corrections = self.charges.into_iter().zip(self.metrics);
        let corrections = corrections.filter_map(|(charge, metric)| {
            let Charge { key, quota, cost } = charge;
            let actual = match (used, metric) {
                (Some(_), Metric::Requests) => cost,
                (Some(used), Metric::InputTokens) => used.input_tokens,
                (Some(used), Metric::OutputTokens) => used.output_tokens,
                (None, _) if self.began => cost,
                (None, _) => 0,
            };
            (actual != cost).then_some(Correction {
                key,
                quota,
                reserved: cost,
                actual,
            })
        });
        let corrections: Vec<_> = corrections.collect();
        if corrections.is_empty() && self.seats.is_empty() {
            return;
        }
        let end = Settle {
            holder: self.holder,
            corrections,
            seats: self.seats,
            now: self.limits.clock.now(),
        };
        self.limits.settle(self.way, end);
    }
}

/// The header fields that tell a client of its limits.
#[derive(Debug, Default)]
pub struct Told(pub(super) Vec<(&'static str, String)>);

impl Told {
    pub(super) fn new(due: &Due, standings: &[Standing]) -> Self {
        let shown = due.rates.iter().zip(standings);
        let shown = shown.map(|((limit, _), standing)| fields::Shown {
            limit: *limit,
            standing: *standing,
        });
        let shown: Vec<_> = shown.collect();
        if shown.is_empty() {
            return Self::default();
        }
        let mut told = fields::openai(&shown);
        told.push(("ratelimit-policy", fields::policy(&shown)));
        told.push(("ratelimit", fields::standing(&shown)));
        Self(told)
    }

    /// The response with them in its head.
    #[must_use]
    pub fn on<B>(self, mut response: Response<B>) -> Response<B> {
        for (name, value) in self.0 {
            if let Ok(value) = HeaderValue::try_from(value) {
                let headers = response.headers_mut();
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
