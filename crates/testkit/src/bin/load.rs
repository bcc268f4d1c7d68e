//! Measures one target once and prints the figures as a line of JSON, or makes a page of such lines.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use everstream_testkit::load::{self, Process, Run, Scenario, Target, report};
use everstream_testkit::translation;
use tokio::net::TcpListener;

/// Plays a model provider and the clients of a program in front of it, checks that each event
/// arrives once and in order, and prints how long it took as a line of JSON.
#[derive(Parser)]
enum Options {
    /// Measure.
    Run(RunOptions),
    /// Measure what translation costs, in this process and without a target.
    Translate(TranslateOptions),
    /// Write a page from the lines of many runs.
    Report(ReportOptions),
}

#[derive(clap::Args)]
struct RunOptions {
    /// What the results call it.
    #[arg(long)]
    target: String,
    /// Which repetition it is.
    #[arg(long, default_value_t = 1)]
    round: u32,
    /// Where the provider is to listen, behind the target.
    #[arg(long)]
    provider: SocketAddr,
    /// Where the target listens; without it, the provider itself is measured.
    #[arg(long)]
    addr: Option<SocketAddr>,
    /// Sent as `Authorization: Bearer`.
    #[arg(long)]
    key: Option<String>,
    /// Sent as `Everstream-On-Disconnect`.
    #[arg(long, value_name = "POLICY")]
    on_disconnect: Option<String>,
    /// Its events must have ids, and each the next one.
    #[arg(long)]
    ids: bool,
    /// Its process, for CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(clap::Args)]
struct TranslateOptions {
    /// How often each pair of dialects is measured.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Only pairs whose names begin so, `messages/openai_chat` for example.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(clap::Args)]
struct ReportOptions {
    /// The lines.
    #[arg(long)]
    runs: PathBuf,
    /// What was measured where, as a list in Markdown.
    #[arg(long)]
    about: PathBuf,
    /// The page; text by hand in it is kept.
    #[arg(long)]
    page: PathBuf,
}

fn main() -> ExitCode {
    let done = match Options::parse() {
        Options::Run(options) => run(options),
        Options::Translate(options) => translate(&options),
        Options::Report(options) => write_page(&options),
    };
    done.map_or_else(
        |error| {
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(options: RunOptions) -> io::Result<()> {
    let target = Target {
        addr: options.addr.unwrap_or(options.provider),
        key: options.key,
        on_disconnect: options.on_disconnect,
        has_ids: options.ids,
        process: options.pid.map(Process),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(async {
        let listener = TcpListener::bind(options.provider).await?;
        load::measure(listener, target, options.scenario).await
    })?;
    let run = Run {
        figures,
        target: options.target,
        scenario: options.scenario.name(),
        round: options.round,
    };
    print(&run)
}

fn translate(options: &TranslateOptions) -> io::Result<()> {
    translation::measure(options.rounds, &options.only)?
        .iter()
        .try_for_each(print)
}

fn print(run: &Run) -> io::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(run)?)
}

fn write_page(options: &ReportOptions) -> io::Result<()> {
    let lines = fs::read_to_string(&options.runs)?;
    let runs: Vec<Run> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let about = fs::read_to_string(&options.about)?;
    let old = fs::read_to_string(&options.page).unwrap_or_default();
    fs::write(&options.page, report::page(&runs, &about, &old))
}
