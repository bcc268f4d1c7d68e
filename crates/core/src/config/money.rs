//! `[[prices]]` and `[budgets]`: what models cost, and what is done about it.

use std::collections::BTreeSet;

use super::check::require_upstream;
use super::describe::{choices, settings};
use super::kinds::{choice, flag, whole};
use super::mistake::Fault;
use super::read::Reader;
use super::{Config, values};
use crate::limits;
use crate::money::Money;
use crate::policy::price::{Price, PriceTable};
use crate::policy::select::Strategy;

settings! {
    /// `[[prices]]`: what a model costs, in dollars for a million tokens, as text: `"2.50"`. What has
    /// no price of its own has that of `input` or `output`. Which price counts: that of the
    /// `upstream` before one without, the full name of the model before its beginning, the longer
    /// beginning before the shorter.
    pub struct PriceConfig {
        /// The model's name at its upstream; `gpt-4o*` stands for all names that begin so.
        model: String = values::model().example("gpt-4o-mini");
        /// The upstream at which it costs that; at all if absent.
        upstream: Option<String> = values::name().example("openai").optional();
        /// Tokens of the prompt.
        input: Money = values::money().or(Money::ZERO);
        /// Tokens of the answer.
        output: Money = values::money().or(Money::ZERO);
        /// Tokens of the prompt that came from the provider's cache.
        cached: Option<Money> = values::money().example("0.075").optional();
        /// Tokens of the prompt that were written to the provider's cache.
        cache_write: Option<Money> = values::money().example("3.75").optional();
        /// Tokens of the prompt that were sound.
        audio_input: Option<Money> = values::money().example("40").optional();
        /// Tokens of the answer that were reasoning.
        reasoning: Option<Money> = values::money().example("10").optional();
        /// Tokens of the answer that were sound.
        audio_output: Option<Money> = values::money().example("80").optional();
        /// Each request, whatever its size: not for a million of them, for one.
        request: Money = values::money().or(Money::ZERO);
    }
}

settings! {
    /// `[budgets]`: how budgets are kept (docs/budgets.md).
    pub struct BudgetsConfig {
        /// Whether models without a price may be asked; they cost nothing then.
        unpriced: Otherwise = choice().or(Otherwise::Allow);
        /// Whether callers with a budget are served while the database does not answer. What they
        /// use is settled when it is back.
        when_unavailable: Otherwise = choice().or(Otherwise::Allow);
        /// Whether an answer that streams is ended when it has used up its reserve and its budgets
        /// have nothing left: as one that reached its limit of tokens.
        hard_stop: bool = flag().or(false);
        /// The most tokens of a prompt that are reserved: one for each byte of the request up to
        /// this, or up to the `context_window` of the deployment.
        input_tokens: u64 = whole(1..=1_000_000_000).or(limits::RESERVE_INPUT_TOKENS);
        /// How many tokens are reserved for an answer whose request sets no limit.
        output_tokens: u64 = whole(1..=1_000_000_000).or(limits::RESERVE_OUTPUT_TOKENS);
        /// What is reserved for a request that passes through (images, audio, files), and for each
        /// realtime session, of which nobody knows before what it costs.
        passed_through: Money = values::money().or(Money::ZERO);
    }
}

choices! {
    /// What is done where it is not known what is right.
    pub enum Otherwise {
        /// Go on.
        Allow = "allow",
        /// Stop.
        Refuse = "refuse",
    }
}

impl PriceConfig {
    /// As in [`PriceTable::new`].
    fn name(&self) -> String {
        match &self.upstream {
            Some(upstream) => format!("{upstream}/{}", self.model),
            None => self.model.clone(),
        }
    }

    const fn price(&self) -> Price {
        Price {
            input: self.input,
            output: self.output,
            cached: self.cached,
            cache_write: self.cache_write,
            audio_input: self.audio_input,
            reasoning: self.reasoning,
            audio_output: self.audio_output,
            request: self.request,
        }
    }
}

impl Config {
    /// What models cost.
    pub fn price_table(&self) -> PriceTable {
        let prices = self.prices.iter();
        PriceTable::new(prices.map(|price| (price.name(), price.price())))
    }
}

/// Checks that prices are for something, and that routes that go by them have them.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    if reader.is_torn() || reader.doubtful("prices") {
        return;
    }
    let mut names = BTreeSet::new();
    for (index, price) in config.prices.iter().enumerate() {
        let section = format!("prices[{index}]");
        if let Some(upstream) = &price.upstream {
            let problem = "there is no upstream of this name";
            require_upstream(upstream, problem, &format!("{section}.upstream"), reader);
        }
        if !names.insert(price.name()) {
            let fault = Fault::from("this model has a price already");
            reader.note_at(&section, fault);
        }
    }
    if !reader.doubtful("routes") {
        cheapest(config, reader);
    }
}

/// Of deployments without a price nobody knows which is the cheapest.
fn cheapest(config: &Config, reader: &mut Reader<'_>) {
    let prices = config.price_table();
    for (index, route) in config.routes.iter().enumerate() {
        if route.strategy != Strategy::Cheapest {
            continue;
        }
        for (place, at) in route.deployments.iter().enumerate() {
            let model = at.model.as_ref().unwrap_or(&route.model);
            if at.shadow > 0 || prices.price(&at.upstream, model).is_some() {
                continue;
            }
            let fault = Fault::from("the route asks the cheapest first, and this has no price")
                .hint("add `[[prices]]` for its model, be it with `input = \"0\"`");
            let section = format!("routes[{index}].deployments[{place}].upstream");
            reader.note_at(&section, fault);
        }
    }
}
