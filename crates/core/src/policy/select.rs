//! In which order the deployments of a model are asked.
//!
//! Nothing is left out: who cannot take a request just now comes last, so that the caller sees the
//! whole route and why it is as it is.

use crate::id::UnixMillis;

mod latency;
mod random;

pub use latency::PeakEwma;
use random::Random;

/// How one is preferred among deployments of the same priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The order of the configuration.
    #[default]
    Priority,
    /// By chance, each according to its weight.
    Weighted,
    /// The one with the fewest answers under way, for its weight.
    LeastBusy,
    /// Of two drawn by chance, the one that is quicker and less busy.
    Latency,
    /// The cheapest.
    Cheapest,
    /// The same one for the same key, for as long as it is there: providers cache what prompts begin
    /// with.
    Sticky,
}

impl Strategy {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Priority,
        Self::Weighted,
        Self::LeastBusy,
        Self::Latency,
        Self::Cheapest,
        Self::Sticky,
    ];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Weighted => "weighted",
            Self::LeastBusy => "least_busy",
            Self::Latency => "latency",
            Self::Cheapest => "cheapest",
            Self::Sticky => "sticky",
        }
    }
}

/// A deployment as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub struct Deployment<'a> {
    /// Its name, by which sticky requests find it whatever else changes.
    pub name: &'a str,
    /// Lower is asked first; the strategy decides between equals.
    pub priority: u32,
    /// Its share of the traffic, against those of the others. Zero: only when nobody else is left.
    pub weight: u32,
    /// What a million tokens cost, in any unit, half of them in and half of them out.
    pub price: u64,
    /// Answers under way.
    pub in_flight: u32,
    /// How long it took to say something, of late; see [`PeakEwma`].
    pub latency_micros: u64,
    /// The thousandths of its weight that it may have: see
    /// [`Breaker::share`](crate::policy::breaker::Breaker::share).
    pub share: u32,
    /// It takes no request just now.
    pub unavailable: bool,
    /// Whether it is on trial, and tried with this request.
    pub trial: Trial,
}

/// Whether a deployment is asked before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trial {
    /// It is on trial, and this is one of the requests that it is tried with: it comes first.
    Drawn,
    /// It is not on trial.
    #[default]
    None,
    /// It is on trial, and tried with others: it comes after all that are not.
    PassedOver,
}

/// The place of the share, in percent, that a request falls into, if it falls into one. The same
/// session falls into the same, and stays in a share that grows. Without a session `seed` decides,
/// which is any number, evenly spread. `name` tells one decision from another.
pub fn draw(
    name: &str,
    shares: impl IntoIterator<Item = u32>,
    session: Option<u64>,
    seed: u64,
) -> Option<usize> {
    let drawn = Random::of(session.unwrap_or(seed), name).below(100);
    let mut end = 0;
    shares.into_iter().position(|share| {
        end += u64::from(share);
        drawn < end
    })
}

/// The places of `deployments` in the order in which they are asked. `seed` is any number, evenly
/// spread; `key` is what sticky requests have in common.
pub fn order(
    strategy: Strategy,
    deployments: &[Deployment<'_>],
    key: u64,
    seed: u64,
) -> Vec<usize> {
    let mut random = Random::new(seed);
    let mut ranked: Vec<(Rank, usize)> = deployments
        .iter()
        .enumerate()
        .map(|(place, deployment)| {
            // One that has just come back gets a part of what it would get.
            let held_back = random.below(1_000) >= u64::from(deployment.share);
            let rank = Rank {
                unavailable: deployment.unavailable,
                trial: deployment.trial,
                priority: deployment.priority,
                held_back: held_back || deployment.weight == 0,
                score: score(strategy, deployment, key, &mut random),
                tie: random.next(),
            };
            (rank, place)
        })
        .collect();
    if strategy == Strategy::Latency {
        prefer_better_of_two(&mut ranked, &mut random);
    }
    if matches!(strategy, Strategy::Priority) {
        ranked.iter_mut().for_each(|(rank, _)| rank.tie = 0);
    }
    ranked.sort_by(|(a, _), (b, _)| a.compare(b));
    ranked.into_iter().map(|(_, place)| place).collect()
}

/// Who is asked first has the smallest.
#[derive(Clone, Copy, Debug)]
struct Rank {
    unavailable: bool,
    trial: Trial,
    priority: u32,
    held_back: bool,
    score: f64,
    tie: u64,
}

impl Rank {
    /// What stands above every strategy.
    const fn coarse(&self) -> (bool, Trial, u32, bool) {
        (self.unavailable, self.trial, self.priority, self.held_back)
    }

    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        self.coarse()
            .cmp(&other.coarse())
            .then(self.score.total_cmp(&other.score))
            .then(self.tie.cmp(&other.tie))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "scores are compared, not counted"
)]
fn score(strategy: Strategy, deployment: &Deployment<'_>, key: u64, random: &mut Random) -> f64 {
    let weight = f64::from(deployment.weight.max(1));
    let busy = f64::from(deployment.in_flight) + 1.0;
    match strategy {
        Strategy::Priority => 0.0,
        // The smallest of exponentially distributed numbers is drawn in proportion to their rates.
        Strategy::Weighted => -random.unit().ln() / weight,
        Strategy::LeastBusy => busy / weight,
        Strategy::Latency => deployment.latency_micros as f64 * busy,
        Strategy::Cheapest => deployment.price as f64,
        // The same with a number that is always the same for this key and this deployment, so that
        // what comes or goes moves no other requests.
        Strategy::Sticky => -Random::of(key, deployment.name).unit().ln() / weight,
    }
}

/// Puts the better of two in front: all requests of a moment would else go to the best one. Only
/// those of the first rank are drawn.
fn prefer_better_of_two(ranked: &mut [(Rank, usize)], random: &mut Random) {
    let Some(first) = ranked.iter().map(|(rank, _)| rank.coarse()).min() else {
        return;
    };
    let mut eligible: Vec<usize> = (0..ranked.len())
        .filter(|&at| ranked[at].0.coarse() == first)
        .collect();
    if eligible.len() < 3 {
        return;
    }
    let mut draw = || eligible.swap_remove(random.index(eligible.len()));
    let (one, other) = (draw(), draw());
    let better = if ranked[one].0.score <= ranked[other].0.score {
        one
    } else {
        other
    };
    ranked[better].0.score = -1.0;
}

#[cfg(test)]
mod tests;
