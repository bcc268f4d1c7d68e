//! The load generator of the benchmarks. It asks for the answers of bench models
//! ([`bench::Bench`]), so that no token can be lost or doubled on the way without a failed run, and
//! each one's delay is known.
//!
//! It plays the provider too, in the same thread: so the program between the two has a core of its
//! own, and the provider can know what has arrived.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

mod ask;
mod beside;
mod check;
mod faulty;
mod flood;
mod loops;
mod process;
pub mod report;
mod slow;
mod whole;

#[cfg(test)]
mod tests;

pub use flood::Flood;
pub use process::Process;

use crate::monotonic::now_nanos;
use crate::provider::{Flights, Traffic, accept, bench};

/// What is measured: a provider itself, or a program in front of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Sent as `Authorization: Bearer`.
    pub key: Option<String>,
    /// Sent as `Everstream-On-Disconnect`.
    pub on_disconnect: Option<String>,
    /// Whether its events have ids `<stream>.<seq>`, which then must be dense.
    pub has_ids: bool,
    /// The program, for its CPU time and memory.
    pub process: Option<Process>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Scenario {
    /// The time to the first token, one request after the other.
    FirstToken {
        /// How many requests.
        #[arg(long)]
        requests: u64,
    },
    /// Streams as fast as they go.
    Blast {
        /// How many at once.
        #[arg(long, default_value_t = 64)]
        streams: u32,
        /// Tokens of each.
        #[arg(long)]
        tokens: u64,
        /// Events in one write of the provider.
        #[arg(long, default_value_t = 1)]
        per_write: u64,
        /// Writes of each stream that may be on their way at once; 0 for what the buffers hold.
        #[arg(long, default_value_t = 1)]
        window: u64,
    },
    /// Many streams with a token every 300 to 500 ms.
    Slow {
        /// How many at once.
        #[arg(long)]
        streams: u32,
        /// How many are opened in a second.
        #[arg(long, default_value_t = 2000)]
        opened_per_second: u32,
        /// Seconds measured, once all are open.
        #[arg(long)]
        seconds: u64,
    },
    /// Streamed answers of five events, one after the other.
    Short {
        /// How many clients.
        #[arg(long, default_value_t = 64)]
        clients: u32,
        /// For so long.
        #[arg(long)]
        seconds: f64,
    },
    /// Answers that are not streamed, one after the other.
    Plain {
        /// How many clients.
        #[arg(long)]
        clients: u32,
        /// For so long.
        #[arg(long)]
        seconds: f64,
    },
    /// Streamed answers of a route of ten upstreams, of which some fail each time.
    Faulty {
        /// How many of them.
        #[arg(long)]
        upstreams: u32,
        /// How many clients.
        #[arg(long, default_value_t = 16)]
        clients: u32,
        /// For so long.
        #[arg(long)]
        seconds: f64,
    },
    /// Streamed answers of five events at a fixed rate, alone and beside a flood, in turns.
    Beside {
        /// What the flood is of.
        #[arg(long)]
        flood: Flood,
        /// The program's listener for operators, where it shows its metrics.
        #[arg(long)]
        operators: SocketAddr,
        /// Requests a second, however long each takes.
        #[arg(long, default_value_t = 200.0)]
        rate: f64,
        /// For so long alone, and as long beside the flood.
        #[arg(long)]
        seconds: f64,
    },
    /// Half of the clients leave midway.
    Leave {
        /// How many clients.
        #[arg(long, default_value_t = 500)]
        clients: u32,
        /// Tokens of each answer, one every 75 to 125 ms.
        #[arg(long)]
        tokens: u64,
    },
}

impl Scenario {
    /// Its name in results.
    pub fn name(&self) -> String {
        match self {
            Self::FirstToken { .. } => "first-token".into(),
            Self::Blast {
                per_write,
                window: 0,
                ..
            } => format!("flood-x{per_write}"),
            Self::Blast { per_write, .. } => format!("blast-x{per_write}"),
            Self::Slow { streams, .. } => format!("slow-{streams}"),
            Self::Short { .. } => "short".into(),
            Self::Plain { clients, .. } => format!("plain-{clients}"),
            Self::Faulty { upstreams, .. } => format!("faulty-{upstreams}"),
            Self::Beside { .. } => "beside".into(),
            Self::Leave { .. } => "leave".into(),
        }
    }
}

/// One run, as a line of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was measured.
    pub target: String,
    /// See [`Scenario::name`].
    pub scenario: String,
    /// Which repetition.
    pub round: u32,
    /// The figures by name; the unit ends the name.
    pub figures: Figures,
}

/// Figures by name; the unit ends the name.
pub type Figures = BTreeMap<String, f64>;

/// Plays the provider on `listener` and measures `target`, which is that or stands in front of it.
///
/// # Errors
/// When the target fails, refuses, or loses, doubles or changes one event.
pub async fn measure(
    listener: TcpListener,
    target: Target,
    scenario: Scenario,
) -> io::Result<Figures> {
    let window = match scenario {
        Scenario::Blast { window, .. } => window,
        _ => 0,
    };
    let bench = Bench {
        target,
        traffic: Arc::default(),
        flights: Arc::new(Flights::new(window)),
    };
    let (traffic, flights) = (Arc::clone(&bench.traffic), Arc::clone(&bench.flights));
    let provider = accept(listener, traffic, move |request| match scenario {
        Scenario::Faulty { upstreams, .. } => faulty::answer(request, &flights, upstreams),
        _ => bench::answer(request, &flights),
    });
    tokio::select! {
        figures = bench.run(scenario) => figures,
        () = provider => Err(io::Error::other("the provider ended")),
    }
}

/// Both ends of what is measured.
#[derive(Clone, Debug)]
struct Bench {
    target: Target,
    traffic: Arc<Traffic>,
    flights: Arc<Flights>,
}

impl Bench {
    async fn run(&self, scenario: Scenario) -> io::Result<Figures> {
        if !matches!(scenario, Scenario::Faulty { .. }) {
            loops::warm_up(self).await?;
        }
        match scenario {
            Scenario::FirstToken { requests } => loops::first_token(self, requests).await,
            Scenario::Blast {
                streams,
                tokens,
                per_write,
                ..
            } => whole::blast(self, streams, tokens, per_write).await,
            Scenario::Slow {
                streams,
                opened_per_second,
                seconds,
            } => slow::slow(self, streams, opened_per_second, seconds).await,
            Scenario::Short { clients, seconds } => loops::short(self, clients, seconds).await,
            Scenario::Plain { clients, seconds } => loops::plain(self, clients, seconds).await,
            Scenario::Faulty {
                clients, seconds, ..
            } => faulty::faulty(self, clients, seconds).await,
            Scenario::Beside {
                flood,
                operators,
                rate,
                seconds,
            } => beside::beside(self, flood, rate, seconds, operators).await,
            Scenario::Leave { clients, tokens } => whole::leave(self, clients, tokens).await,
        }
    }

    /// The seconds of CPU time of the program, if there is one.
    fn cpu(&self) -> io::Result<Option<f64>> {
        self.target.process.map(Process::cpu).transpose()
    }

    /// The resident memory of the program, if there is one.
    fn resident(&self) -> io::Result<Option<u64>> {
        self.target.process.map(Process::resident).transpose()
    }
}

/// The value that this many in a thousand of the sorted values do not exceed; 0 without values.
fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

/// Sorts durations in nanoseconds and puts their percentiles into `figures` in microseconds.
fn put_delays(figures: &mut Figures, name: &str, mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    for (per_mille, label) in [(500, "p50"), (990, "p99"), (999, "p999")] {
        let micros = float(percentile(&nanos, per_mille)) / 1e3;
        figures.insert(format!("{name}_{label}_us"), micros);
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures are for people")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Seconds since `begin` of the monotonic clock.
fn seconds_since(begin: u64) -> f64 {
    float(now_nanos() - begin) / 1e9
}
