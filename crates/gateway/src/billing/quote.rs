use bytes::Bytes;
use everstream_core::config::BudgetsConfig;
use everstream_core::dialect::extent;
use everstream_core::error::{Error, ErrorCode};
use everstream_core::event::Surface;
use everstream_core::money::Money;
use everstream_core::policy::price::{Estimate, PriceTable};

/// What is asked of whom: what the worst case is reckoned from.
#[derive(Debug)]
pub struct Order<'a> {
    /// The API.
    pub surface: Surface,
    /// The request.
    pub body: &'a Bytes,
    /// How many choices an answer has.
    pub choices: u32,
    /// Who may answer.
    pub targets: Vec<Target<'a>>,
    /// How many may run beside each other.
    pub at_once: u64,
}

/// A model of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// The model's name there.
    pub model: &'a str,
    /// How many tokens it takes, if that is known.
    pub context_window: Option<u64>,
}

impl Order<'_> {
    /// The most that it may cost at the dearest who may answer.
    ///
    /// No token of a text is shorter than a byte, so a prompt has at most as many tokens as the
    /// request has bytes, and no more than the model takes. What a request only names (pictures by
    /// their address, files by their id, tools that the provider runs) is not in it, nor are further
    /// attempts at an answer that is cut.
    pub(super) fn worst_case(&self, prices: &PriceTable, policy: &BudgetsConfig) -> Money {
        let asked = extent(self.surface, self.body);
        let choices = u64::from(self.choices.max(1)).max(asked.made.unwrap_or(0));
        let output = asked.output.unwrap_or(policy.output_tokens);
        let most = self.targets.iter().filter_map(|target| {
            let price = prices.price(target.upstream, target.model)?;
            let window = target.context_window.unwrap_or(policy.input_tokens);
            Some(price.worst_case(&Estimate {
                input: (self.body.len() as u64).min(window),
                output: output.saturating_mul(choices),
                audio: asked.audio,
            }))
        });
        let most = most.max().unwrap_or_default();
        Money(most.0.saturating_mul(self.at_once.max(1)))
    }

    pub(super) fn require_prices(&self, prices: &PriceTable) -> Result<(), Error> {
        let priced = |target: &Target<'_>| prices.price(target.upstream, target.model).is_some();
        let Some(target) = self.targets.iter().find(|target| !priced(target)) else {
            return Ok(());
        };
        Err(unpriced(target.upstream, target.model))
    }
}

/// There is no price, and the operator wants one.
pub(super) fn unpriced(upstream: &str, model: &str) -> Error {
    let message = format!(
        "The model `{model}` of upstream `{upstream}` has no price here, and models without one are \
         refused (`budgets.unpriced`). Ask the operator to add it to `[[prices]]`."
    );
    Error::new(ErrorCode::ModelUnpriced, message).param("model")
}
