use std::sync::Arc;

use everstream_core::config::Otherwise;
use everstream_core::error::Error;
use everstream_core::event::Usage;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::policy::bill::Charge;
use everstream_core::policy::price::Tokens;
use everstream_store::sql::values::{LedgerEntry, Payer};

use super::{Billing, Hold, full, quote};

/// A request that passes through, or a realtime session. No log has it: what it cost is written when
/// it ends, and a process that is killed before takes it along.
#[derive(Debug)]
pub struct Passed {
    billing: Arc<Billing>,
    stream: StreamId,
    payer: Payer,
    model: String,
    upstream: String,
    at: UnixMillis,
    hold: Option<Hold>,
}

impl Billing {
    /// Reserves what is configured for what passes through, if a budget covers the payer.
    ///
    /// # Errors
    /// As for [`reserve`](Self::reserve).
    pub async fn pass(
        self: &Arc<Self>,
        payer: Payer,
        (upstream, model): (&str, &str),
        stream: StreamId,
    ) -> Result<Passed, Error> {
        let needs_price = self.policy.unpriced == Otherwise::Refuse;
        if needs_price && self.prices.price(upstream, model).is_none() {
            return Err(quote::unpriced(upstream, model));
        }
        let at = self.clock.now();
        let mut hold = None;
        if let Some(books) = &self.books {
            if books.is_full() {
                return Err(full());
            }
            if books.covers(&payer) {
                let amount = self.policy.passed_through;
                let held = self.hold(books, payer.clone(), amount, stream).await?;
                hold = Some(held);
            }
        }
        Ok(Passed {
            billing: Arc::clone(self),
            stream,
            payer,
            model: model.to_owned(),
            upstream: upstream.to_owned(),
            at,
            hold,
        })
    }
}

impl Passed {
    /// It is under way, so that it may cost.
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.hold = self.hold.map(Hold::begun);
        self
    }

    /// It has ended, and used that.
    pub fn used(self, usage: &Usage) {
        let Self {
            billing,
            stream,
            payer,
            model,
            upstream,
            at,
            hold,
        } = self;
        let price = billing.prices.price(&upstream, &model).unwrap_or_default();
        let cost = price.cost(&Tokens::from(usage));
        let charge = Charge {
            usage: usage.clone(),
            cost,
        };
        billing.metrics.charged(Some(&upstream), &charge);
        drop(hold);
        if let Some(books) = &billing.books {
            let entry = LedgerEntry {
                stream,
                payer,
                model,
                upstream,
                at,
                usage: usage.clone(),
                cost,
            };
            books.write(entry, None);
        }
    }
}
