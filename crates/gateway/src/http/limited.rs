//! How requests that generate nothing here come to what limits them.

use std::net::IpAddr;

use everstream_core::dialect::figures::tokens;
use everstream_core::error::Error;
use serde_json::Value;

use crate::access::Caller;
use crate::app::App;
use crate::billing::Passed;
use crate::limits::{Asks, Permit, Tokens, Told};

/// What a request that passes through took of its limits, and what its payer's budgets hold for it.
pub(super) struct Dues {
    permit: Permit,
    /// For the ledger, if it asks a model.
    passed: Option<Passed>,
}

/// For what passes through to an upstream and a model of its, empty for none. How many tokens it takes is
/// known when it is over, if ever; whether it `costs`, now.
pub(super) async fn pass(
    app: &App,
    caller: &Caller,
    address: Option<IpAddr>,
    (upstream, model): (&str, &str),
    costs: bool,
) -> Result<Dues, Error> {
    let nothing = || Tokens {
        input: 0,
        output: Some(0),
    };
    let asks = Asks {
        caller,
        address,
        model: &|| model.to_owned(),
        tokens: &nothing,
    };
    let mut permit = app.limits.enter(&asks).await?;
    let generator = &app.generator;
    let passed = if costs {
        let asked = (upstream, model);
        let passed = generator
            .billing
            .pass(caller.payer(), asked, generator.draw_id()?);
        Some(passed.await?)
    } else {
        None
    };
    permit.begin();
    Ok(Dues { permit, passed })
}

impl Dues {
    /// What the client is told of its limits.
    pub(super) fn told(&mut self) -> Told {
        self.permit.told()
    }

    /// It is under way, so that it may cost.
    #[must_use]
    pub(super) fn begun(mut self) -> Self {
        self.answered(true);
        self
    }

    /// The upstream has taken it, or has refused it, which costs nothing.
    pub(super) fn answered(&mut self, is_taken: bool) {
        let passed = self.passed.take().filter(|_| is_taken);
        self.passed = passed.map(Passed::begun);
    }

    /// It is over, and this was used, as far as somebody said so.
    pub(super) fn settle(&mut self, figures: Option<&Value>) {
        let used = figures.map(tokens).unwrap_or_default();
        self.permit.settle(&used);
        if let Some(passed) = self.passed.take() {
            passed.used(&used);
        }
    }
}
