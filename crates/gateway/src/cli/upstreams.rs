//! `everstream upstreams`

use std::io::Write;

use clap::Subcommand;
use everstream_core::config::Env;
use serde_json::Value;

use super::gateway::{block_on, encoded};
use super::operator::OperatorArgs;
use super::streams::{field, table};
use super::{ConfigArgs, Failure};
use crate::upstream::assemble::assemble;

const ABOUT: &str = "\
Asks the listener for operators of a running gateway, which is where the configuration says
(admin.listen, admin.key), or at --url with the key in EVERSTREAM_ADMIN_KEY.

Examples:
  everstream upstreams
  everstream upstreams drain openai        (new requests go elsewhere, running answers end)
  everstream upstreams undrain openai
  everstream upstreams found               what would be used here without a configuration";

const CODES: &str = "Exit codes: 0 there are upstreams, 3 there are none, 2 bad configuration.";

#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT, args_conflicts_with_subcommands = true)]
pub(super) struct UpstreamsArgs {
    #[command(subcommand)]
    command: Option<UpstreamsCommand>,
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print what the gateway says, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum UpstreamsCommand {
    /// Take an upstream out: new requests go elsewhere, running answers go on
    Drain(DrainArgs),
    /// Take an upstream back in
    Undrain(DrainArgs),
    /// Show the upstreams that would be used, those found on this machine included
    #[command(after_help = CODES)]
    Found(ConfigArgs),
}

#[derive(Debug, clap::Args)]
struct DrainArgs {
    /// The upstream's name
    name: String,
    /// Only this model of it
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub(super) fn run(args: &UpstreamsArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    match &args.command {
        None => block_on(show(args, env, out)),
        Some(UpstreamsCommand::Drain(drain)) => block_on(set_drained(drain, "drain", env, out)),
        Some(UpstreamsCommand::Undrain(drain)) => block_on(set_drained(drain, "undrain", env, out)),
        Some(UpstreamsCommand::Found(config)) => found(config, env, out),
    }
}

async fn show(args: &UpstreamsArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let page = gateway.get("/admin/upstreams").await?;
    if args.json {
        writeln!(out, "{page}")?;
    } else {
        write!(out, "{}", shown(&page))?;
    }
    Ok(())
}

async fn set_drained(
    args: &DrainArgs,
    verb: &str,
    env: &Env,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let query = args
        .model
        .as_ref()
        .map(|model| format!("?model={}", encoded(model)));
    let (name, query) = (encoded(&args.name), query.unwrap_or_default());
    let path = format!("/admin/upstreams/{name}/{verb}{query}");
    let upstream = gateway.json("POST", &path).await?;
    let rows = [TITLES.map(str::to_owned)]
        .into_iter()
        .chain(rows(&upstream));
    write!(out, "{}", table(&rows.collect::<Vec<_>>()))?;
    Ok(())
}

const TITLES: [&str; 10] = [
    "UPSTREAM",
    "REGION",
    "CONNECTION",
    "MODEL",
    "STATE",
    "RUNNING",
    "DONE",
    "FAILED",
    "FIRST CONTENT",
    "LAST FAILURE",
];

fn shown(page: &Value) -> String {
    let upstreams = page["upstreams"].as_array().into_iter().flatten();
    let titles = TITLES.map(str::to_owned);
    let rows = std::iter::once(titles).chain(upstreams.flat_map(rows));
    table(&rows.collect::<Vec<_>>())
}

/// A row for each deployment of an upstream, or one for an upstream of which nothing is known yet.
fn rows(upstream: &Value) -> Vec<[String; 10]> {
    let deployments = upstream["deployments"].as_array().map(Vec::as_slice);
    let nothing = [Value::Null];
    let deployments = deployments
        .filter(|all| !all.is_empty())
        .unwrap_or(&nothing);
    let row = |at: &Value| {
        let failed = at["outcomes"]["failed"].as_object();
        let failed = failed.map(|kinds| kinds.values().filter_map(Value::as_u64).sum::<u64>());
        [
            field(upstream, "name"),
            field(upstream, "region"),
            field(&upstream["connection"], "state"),
            field(at, "model"),
            state(upstream, at),
            field(at, "in_flight"),
            field(&at["outcomes"], "succeeded"),
            failed.map_or_else(|| "-".to_owned(), |failed| failed.to_string()),
            match at["first_content_ms"].as_f64() {
                Some(millis) if millis > 0.0 => format!("{millis:.0}ms"),
                _ => "-".to_owned(),
            },
            field(&at["last_failure"], "kind"),
        ]
    };
    deployments.iter().map(row).collect()
}

fn state(upstream: &Value, deployment: &Value) -> String {
    if upstream["drained"] == true || deployment["refuses"] == "drained" {
        return "drained".to_owned();
    }
    let breaker = field(deployment, "breaker");
    match (deployment["refuses"].as_str(), deployment["share"].as_f64()) {
        (Some(why @ ("limited" | "full")), _) => format!("{breaker}, {why}"),
        (_, Some(share)) if share < 1.0 => format!("{breaker}, {:.0}% share", share * 100.0),
        _ => breaker,
    }
}

fn found(config: &ConfigArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let config = config.load(env)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let assembled = runtime.block_on(assemble(&config, env));
    let assembled = assembled.map_err(|error| Failure::Other(error.to_string()))?;
    for warning in &assembled.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for (upstream, source) in assembled.upstreams.iter().zip(&assembled.sources) {
        let provider = upstream.provider().map_or("-", |provider| provider.title);
        writeln!(
            out,
            "{}\t{}\t{provider}\t{}\t{source}",
            upstream.name(),
            upstream.base_url(),
            upstream.spec().dialect.title(),
        )?;
    }
    if assembled.upstreams.is_empty() {
        Err(Failure::NoUpstream)
    } else {
        Ok(())
    }
}
