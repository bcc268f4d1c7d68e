//! What models cost.

use std::collections::BTreeMap;

use crate::event::Usage;
use crate::money::Money;

/// What a model costs. Prices are for a million tokens; one that is not given is that of input or
/// output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Tokens of the prompt.
    pub input: Money,
    /// Tokens of the answer.
    pub output: Money,
    /// Tokens of the prompt that came from the provider's cache.
    pub cached: Option<Money>,
    /// Tokens of the prompt that were written to the provider's cache.
    pub cache_write: Option<Money>,
    /// Tokens of the prompt that were sound.
    pub audio_input: Option<Money>,
    /// Tokens of the answer that were reasoning.
    pub reasoning: Option<Money>,
    /// Tokens of the answer that were sound.
    pub audio_output: Option<Money>,
    /// Each request, whatever its size.
    pub request: Money,
}

/// What a request used. The details are parts of the two totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt.
    pub input: u64,
    /// All of the answer.
    pub output: u64,
    /// See [`Price::cached`].
    pub cached: u64,
    /// See [`Price::cache_write`].
    pub cache_write: u64,
    /// See [`Price::audio_input`].
    pub audio_input: u64,
    /// See [`Price::reasoning`].
    pub reasoning: u64,
    /// See [`Price::audio_output`].
    pub audio_output: u64,
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        Self {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cached: usage.cached_tokens,
            cache_write: usage.cache_write_tokens,
            audio_input: usage.audio_input_tokens,
            reasoning: usage.reasoning_tokens,
            audio_output: usage.audio_output_tokens,
        }
    }
}

/// The most that a request may use, as far as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of its prompt.
    pub input: u64,
    /// Tokens of its answer, all choices together: its own limit, or the model's.
    pub output: u64,
    /// Whether sound goes in or comes out.
    pub audio: bool,
}

impl Price {
    /// What `used` costs, rounded up to a whole nano-dollar.
    pub fn cost(&self, used: &Tokens) -> Money {
        let Tokens { input, output, .. } = *used;
        let input_parts = [
            (used.cached, self.cached),
            (used.cache_write, self.cache_write),
            (used.audio_input, self.audio_input),
        ];
        let output_parts = [
            (used.reasoning, self.reasoning),
            (used.audio_output, self.audio_output),
        ];
        let tokens = side(input, self.input, &input_parts).saturating_add(side(
            output,
            self.output,
            &output_parts,
        ));
        self.request.plus(round_up(tokens))
    }

    /// The most that a request may cost, wherever its tokens come from and go to.
    pub fn worst_case(&self, estimate: &Estimate) -> Money {
        let audio = |price: Option<Money>| price.filter(|_| estimate.audio);
        let most = |price: Money, others: &[Option<Money>]| {
            others
                .iter()
                .flatten()
                .fold(price, |most, &other| most.max(other))
        };
        let input = [self.cached, self.cache_write, audio(self.audio_input)];
        let output = [self.reasoning, audio(self.audio_output)];
        let tokens = exact(estimate.input, most(self.input, &input))
            .saturating_add(exact(estimate.output, most(self.output, &output)));
        self.request.plus(round_up(tokens))
    }
}

/// Millionths of a nano-dollar in one.
const MILLION: u128 = 1_000_000;

/// In millionths of a nano-dollar: what one side costs, of which some parts have a price of their
/// own. A provider that counts more in the parts than in the total is taken at its word for the
/// parts.
fn side(total: u64, price: Money, parts: &[(u64, Option<Money>)]) -> u128 {
    let rest = parts
        .iter()
        .fold(total, |rest, &(part, _)| rest.saturating_sub(part));
    let parts = parts
        .iter()
        .map(|&(part, own)| exact(part, own.unwrap_or(price)));
    parts.fold(exact(rest, price), u128::saturating_add)
}

/// In millionths of a nano-dollar.
fn exact(tokens: u64, per_million: Money) -> u128 {
    u128::from(tokens) * u128::from(per_million.0)
}

fn round_up(exact: u128) -> Money {
    Money(u64::try_from(exact.div_ceil(MILLION)).unwrap_or(u64::MAX))
}

/// The prices of all models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    exact: BTreeMap<String, Price>,
    /// By the text before the `*`.
    prefixes: BTreeMap<String, Price>,
}

impl PriceTable {
    /// A table of names and their prices. A name is `model`, or `upstream/model` for what it costs
    /// there; with a `*` at its end it stands for all names that begin so.
    pub fn new(prices: impl IntoIterator<Item = (String, Price)>) -> Self {
        let mut table = Self::default();
        for (name, price) in prices {
            match name.strip_suffix('*') {
                Some(prefix) => table.prefixes.insert(prefix.to_owned(), price),
                None => table.exact.insert(name, price),
            };
        }
        table
    }

    /// The price of `model` at `upstream`: the first there is of `upstream/model`, the longest
    /// beginning of it, `model`, and the longest beginning of that.
    pub fn price(&self, upstream: &str, model: &str) -> Option<Price> {
        let full = format!("{upstream}/{model}");
        let at_least = upstream.len() + 1;
        self.exact
            .get(&full)
            .or_else(|| self.longest_prefix(&full, at_least))
            .or_else(|| self.exact.get(model))
            .or_else(|| self.longest_prefix(model, 0))
            .copied()
    }

    fn longest_prefix(&self, name: &str, at_least: usize) -> Option<&Price> {
        let mut ends = (at_least..=name.len()).rev();
        ends.find_map(|end| self.prefixes.get(name.get(..end)?))
    }
}

#[cfg(test)]
mod tests;
