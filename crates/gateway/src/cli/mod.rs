//! The command line: what can be asked, and how the answer becomes an exit code.

mod audit;
mod budgets;
mod check;
mod completions;
mod config;
mod doctor;
mod farewell;
mod gateway;
mod key;
mod keys;
mod operator;
mod serve;
mod sign;
mod streams;
mod tenants;
#[cfg(test)]
mod tests;
mod upstreams;
mod usage;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{StringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use everstream_core::config::{Config, ConfigErrors, Env};
use everstream_core::secret::Secret;

/// Runs the program with this process's arguments, environment and standard streams.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Nobody is left to tell if this cannot be printed.
            let _closed = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let done = execute(cli, &crate::environment(), &mut io::stdout().lock());
    report(done, &mut io::stderr().lock())
}

/// A streaming AI gateway in which a model's answer is a durable, resumable resource.
#[derive(Debug, Parser)]
#[command(name = "everstream", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  everstream serve                          with the providers and model servers found here
  everstream serve --config everstream.toml
  everstream config example > everstream.toml && everstream check --config everstream.toml
  everstream keys create --project web --create-project --name laptop
  everstream usage --by project,model --each day
  everstream streams tail 0k3v9f2m7qx4c     watch an answer as it is written
  everstream upstreams                      how the upstreams of a running gateway are
  everstream doctor                         does a stream really stream, from here to the model?

Exit codes: 0 done, 2 bad configuration or usage, 1 anything else.
`everstream help COMMAND` says more about each; docs/configuration.md lists all settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::ServeArgs),
    /// Check the configuration, show every mistake and what would run
    Check(ConfigArgs),
    /// Describe the configuration file: schema, example, reference
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make keys for clients that the configuration holds
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make, show, limit, change, rotate and revoke keys of a running gateway
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Make, list, suspend and resume projects
    #[command(subcommand)]
    Projects(tenants::ProjectsCommand),
    /// Make, list, suspend and resume organisations
    #[command(subcommand)]
    Organisations(tenants::OrganisationsCommand),
    /// Bound what organisations, projects and keys may spend
    #[command(subcommand)]
    Budgets(budgets::BudgetsCommand),
    /// Show what was used and what it cost
    Usage(usage::UsageArgs),
    /// Show who changed what, and when
    Audit(audit::AuditArgs),
    /// Show the upstreams of a running gateway, or take one out
    Upstreams(upstreams::UpstreamsArgs),
    /// List, show, follow or cancel the streams of a running gateway
    #[command(subcommand)]
    Streams(streams::StreamsCommand),
    /// Sign a request for curl, with a key whose secret goes nowhere
    Sign(sign::SignArgs),
    /// Test whether a stream really streams, through everything between here and the model
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file [env: `EVERSTREAM_CONFIG`]; without one, the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that is meant, by argument or by environment.
    fn file(&self, env: &Env) -> Option<PathBuf> {
        let by_environment = || env.non_empty("EVERSTREAM_CONFIG").map(PathBuf::from);
        self.config.clone().or_else(by_environment)
    }

    fn load(&self, env: &Env) -> Result<Config, ConfigErrors> {
        crate::config_from(self.file(env).as_deref(), env)
    }
}

/// Which running gateway to talk to.
#[derive(Debug, Args)]
struct GatewayArgs {
    /// The gateway's address
    #[arg(long, env = "EVERSTREAM_URL", hide_env_values = true)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The key to call it with
    #[arg(long, env = "EVERSTREAM_API_KEY", hide_env_values = true)]
    #[arg(value_parser = StringValueParser::new().map(Secret::new))]
    api_key: Option<Secret>,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    #[error(
        "no upstream was found: neither configured, nor in the environment, nor on this machine"
    )]
    NoUpstream,
    #[error("{0}")]
    Other(String),
}

fn execute(cli: Cli, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command {
        Command::Check(args) => check::run(&args, env, out),
        Command::Config(command) => config::run(&command, out),
        Command::Key(command) => key::run(&command, out),
        Command::Keys(command) => keys::run(&command, env, out),
        Command::Projects(command) => tenants::projects(&command, env, out),
        Command::Organisations(command) => tenants::organisations(&command, env, out),
        Command::Budgets(command) => budgets::run(&command, env, out),
        Command::Usage(args) => usage::run(&args, env, out),
        Command::Audit(args) => audit::run(&args, env, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Serve(args) => serve::run(&args, env),
        Command::Upstreams(args) => upstreams::run(&args, env, out),
        Command::Streams(command) => streams::run(&command, out),
        Command::Sign(args) => sign::run(&args, env, out),
        Command::Doctor(args) => doctor::run(&args, out),
    }
}

/// Tells what went wrong, if something did, and gives the exit code.
fn report(done: Result<(), Failure>, err: &mut dyn Write) -> ExitCode {
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        // The reader of a pipe has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(Failure::Config(errors)) => {
            let count = match errors.mistakes().len() {
                1 => "a mistake".to_owned(),
                several => format!("{several} mistakes"),
            };
            (2, format!("the configuration has {count}:\n{errors}"))
        }
        Err(failure @ Failure::NoUpstream) => (3, failure.to_string()),
        Err(failure @ (Failure::Output(_) | Failure::Other(_))) => (1, failure.to_string()),
    };
    // Nobody is left to tell if this cannot be printed.
    let _closed = writeln!(err, "error: {message}");
    ExitCode::from(code)
}
