//! The whole gateway in a simulated world: see README.md.

mod board;
mod check;
mod client;
mod log;
mod net;
mod pipe;
mod process;
mod provider;
mod random;
mod schedule;
mod talk;
mod tasks;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use world::Outcome;

/// Failures that are told of.
const SHOWN: usize = 10;

/// Runs schedules of a simulated gateway, its upstreams and clients, and checks what must hold.
#[derive(Parser)]
struct Args {
    /// The seeds to run: `1..2000`, both included.
    #[arg(long, value_parser = range, default_value = "1..300")]
    seeds: RangeInclusive<u64>,
    /// Run this seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print what happens, and the gateway's own log.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Every so many seeds one runs twice, to see that it is the same.
    #[arg(long, default_value_t = 25)]
    twice: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.trace {
        tracing_subscriber::fmt().without_time().init();
    } else {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let seeds = args.seed.map_or(args.seeds, |seed| seed..=seed);
    let began = Instant::now();
    let summary = run_all(seeds, args.twice, args.trace);
    let Summary {
        ran,
        failed,
        counts,
        lasted,
    } = &summary;
    for (seed, violation) in failed.iter().take(SHOWN) {
        println!("seed {seed}: {violation}");
        println!("  again: cargo run --manifest-path sim/Cargo.toml -- --seed {seed} --trace");
    }
    println!(
        "{ran} schedules, {} hours in {:.1} s: {counts:?}",
        lasted / 3_600_000,
        began.elapsed().as_secs_f32()
    );
    println!(
        "{} passed; {} failed",
        ran - failed.len() as u64,
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Summary {
    ran: u64,
    failed: BTreeMap<u64, String>,
    counts: BTreeMap<&'static str, u64>,
    lasted: u64,
}

fn run_all(seeds: RangeInclusive<u64>, twice: u64, aloud: bool) -> Summary {
    let (next, summary) = (AtomicU64::new(*seeds.start()), Mutex::default());
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *seeds.end() {
                        return;
                    }
                    let outcome = one(seed, aloud);
                    let again = (twice > 0 && seed % twice == 0).then(|| one(seed, false));
                    summarize(&summary, seed, outcome, again);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_default()
}

fn summarize(
    summary: &Mutex<Summary>,
    seed: u64,
    outcome: Result<Outcome, String>,
    again: Option<Result<Outcome, String>>,
) {
    let Ok(mut summary) = summary.lock() else {
        return;
    };
    summary.ran += 1;
    let violation = match outcome {
        Err(panic) => Some(panic),
        Ok(outcome) => {
            for (what, count) in outcome.counts {
                *summary.counts.entry(what).or_default() += count;
            }
            summary.lasted += outcome.lasted;
            let same = again.is_none_or(|again| again.is_ok_and(|a| a.hash == outcome.hash));
            let differ = (!same).then(|| "two runs differ".to_owned());
            outcome.violation.or(differ)
        }
    };
    summary.failed.extend(violation.map(|what| (seed, what)));
}

/// A schedule; a panic is a failure as any other.
fn one(seed: u64, aloud: bool) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, aloud))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        format!("a panic: {}", text.unwrap_or_default())
    })
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("`{text}` is no range such as `1..2000`");
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse().map_err(|_| wrong());
    Ok(number(first)?..=number(last)?)
}
