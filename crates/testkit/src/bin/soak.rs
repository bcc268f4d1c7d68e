//! Runs streams against a gateway for a given time, and fails if anything grew or was wrong.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use everstream_testkit::soak::Soak;

/// Opens, cuts, resumes and cancels streams against a gateway of its own, in front of a fake
/// provider, and prints what the gateway holds. Build the gateway first:
///
///   cargo build --release && cargo run -p everstream-testkit --release --bin soak -- --minutes 15
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// For how long.
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// Seconds instead of minutes.
    #[arg(long)]
    seconds: Option<u64>,
    /// Streams at a time.
    #[arg(long, default_value_t = 200)]
    concurrency: usize,
    /// Milliseconds between two events of an answer.
    #[arg(long, default_value_t = 50)]
    pause: u64,
    /// Seconds between two lines of figures.
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// MiB that the log may hold; retention works against it.
    #[arg(long, default_value_t = 64)]
    log_mib: u64,
    /// When the log is synced: none, interval, always.
    #[arg(long, default_value = "interval")]
    sync: String,
    /// The gateway's binary; by default the one that was built beside this.
    #[arg(long)]
    gateway: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> std::io::Result<ExitCode> {
    let options = Options::parse();
    let beside = std::env::current_exe()?.with_file_name("everstream");
    let seconds = options.seconds.unwrap_or(options.minutes * 60);
    let soak = Soak {
        gateway: options.gateway.unwrap_or(beside),
        duration: Duration::from_secs(seconds),
        concurrency: options.concurrency,
        pause: Duration::from_millis(options.pause),
        every: Duration::from_secs(options.every.max(1)),
        max_bytes: options.log_mib << 20,
        sync: options.sync,
    };
    let report = soak.run().await?;
    for fault in &report.faults {
        println!("WRONG: {fault}");
    }
    let (streams, events) = (report.streams, report.events);
    if report.faults.is_empty() {
        println!("flat: {streams} streams and {events} events, all of them right");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
