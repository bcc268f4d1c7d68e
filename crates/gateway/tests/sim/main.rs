//! A deterministic simulation (draft doc).

mod board;
mod check;
mod disk;
mod log;
mod process;
mod provider;
mod random;
mod settings;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use settings::Schedule;
use world::World;

/// Schedules in a run that is not told how many.
const SCHEDULES: u64 = 3_000;
/// Every so many schedules one runs twice, to see that it is the same.
const TWICE: u64 = 50;

/// What a schedule came to.
struct Outcome {
    violation: Option<String>,
    trace: String,
    digest: u64,
}

fn run(schedule: &Schedule) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| World::run(schedule))) {
        Ok(board) => {
            let (trace, digest) = board.trace();
            Outcome {
                violation: board.violation(),
                trace,
                digest,
            }
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Outcome {
                violation: Some(format!("a panic: {}", text.unwrap_or_default())),
                trace: String::new(),
                digest: 0,
            }
        }
    }
}

/// Takes away steps of a schedule that fails as long as it still does.
fn shrink(mut schedule: Schedule) -> Schedule {
    let mut size = schedule.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < schedule.steps.len() {
            let mut fewer = schedule.clone();
            fewer.steps.drain(at..(at + size).min(schedule.steps.len()));
            if run(&fewer).violation.is_some() {
                schedule = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    schedule
}

fn report(schedule: &Schedule, violation: &str) -> String {
    let steps = schedule.steps.len();
    let minimal = shrink(schedule.clone());
    let again = run(&minimal);
    format!(
        "seed {}: {violation}\n{:?}\n{} of its {steps} steps are enough:\n{}\
         Run it alone: EVERSTREAM_SIM_SEED={} cargo test -p everstream --test sim",
        schedule.seed,
        schedule.settings,
        minimal.steps.len(),
        again.trace,
        schedule.seed,
    )
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn invariants_hold_in_every_schedule() {
    if let Some(seed) = number("EVERSTREAM_SIM_SEED") {
        // With the log of the program between the lines of the trace.
        tracing_subscriber::fmt().without_time().init();
        let schedule = Schedule::draw(seed);
        let outcome = run(&schedule);
        println!("seed {seed}, {:?}\n{}", schedule.settings, outcome.trace);
        if let Some(violation) = outcome.violation {
            panic!("{}", report(&schedule, &violation));
        }
        return;
    }
    let schedules = number("EVERSTREAM_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        return;
                    }
                    let schedule = Schedule::draw(seed);
                    let outcome = run(&schedule);
                    let same = seed % TWICE != 0 || run(&schedule).digest == outcome.digest;
                    let violation = outcome.violation;
                    let violation = violation.or((!same).then(|| "two runs differ".to_owned()));
                    if let Some(violation) = violation {
                        next.store(schedules, Ordering::Relaxed);
                        failed.lock().unwrap().get_or_insert((schedule, violation));
                    }
                }
            });
        }
    });
    if let Some((schedule, violation)) = failed.into_inner().unwrap() {
        panic!("{}", report(&schedule, &violation));
    }
}
