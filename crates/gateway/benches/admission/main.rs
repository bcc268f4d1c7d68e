//! What it costs to let a request in: to know who calls, by each kind of credential, and all that comes
//! after that until it may begin; with few keys and with a million, and while made-up keys come as fast
//! as they can.
//!
//! `cargo bench -p everstream --bench admission -- [KEYS ...]`; without numbers, 10 and 1,000,000. A
//! catalogue of that many keys is made once, in `target/bench`, and is used again. It prints Markdown:
//! CPU time in microseconds, where nothing else is said. Pin it to a core for figures that can be
//! compared.

mod catalogue;
mod credentials;
mod identify;
mod whole;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

/// That of the program.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different requests in one measurement.
const DIFFERENT: usize = 10_000;

fn main() {
    let sizes = std::env::args().skip(1);
    let mut sizes: Vec<usize> = sizes.filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 1_000_000];
    }
    let identify = sizes.iter().map(|&size| identify::Bench::new(size).run());
    println!(
        "{}",
        table("who calls", &sizes, &identify.collect::<Vec<_>>())
    );
    let whole = sizes.iter().map(|&size| whole::Bench::new(size).run());
    println!(
        "{}",
        table("all of admission", &sizes, &whole.collect::<Vec<_>>())
    );
}

/// What was measured, in its order.
#[derive(Default)]
struct Rows(Vec<(String, String)>);

impl Rows {
    fn put(&mut self, what: &str, figure: String) {
        eprintln!("{what}: {figure}");
        self.0.push((what.to_owned(), figure));
    }
}

/// A column for each size.
fn table(title: &str, sizes: &[usize], columns: &[Rows]) -> String {
    let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let sizes = sizes.iter().map(|size| format!("{size} keys"));
    let mut text = cells([title.to_owned()].into_iter().chain(sizes).collect());
    text.extend(["|---|", &"---:|".repeat(columns.len()), "\n"]);
    for (at, (what, _)) in columns[0].0.iter().enumerate() {
        let figures = columns.iter().map(|column| column.0[at].1.clone());
        text.push_str(&cells([what.clone()].into_iter().chain(figures).collect()));
    }
    text
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(1).enable_all().build();
    built.expect("a runtime")
}

/// What this thread has used.
fn cpu_time() -> Duration {
    used(ClockId::ThreadCPUTime)
}

/// What this process has used.
fn process_time() -> Duration {
    used(ClockId::ProcessCPUTime)
}

fn used(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::try_from(time).expect("a time")
}

/// Each of so many, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "a mean")]
fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
