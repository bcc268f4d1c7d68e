//! `everstream audit`

use std::io::Write;

use everstream_core::config::Env;
use serde_json::Value;

use super::Failure;
use super::gateway::block_on;
use super::operator::{ABOUT, OperatorArgs, path, time};
use super::streams::{field, table};

#[derive(Debug, clap::Args)]
#[command(before_help = ABOUT)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Only what this one did
    #[arg(long)]
    who: Option<String>,
    /// Only what was done to this
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// Only rows before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// The most rows
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Print what the gateway says, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AuditArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    block_on(show(args, env, out))
}

async fn show(args: &AuditArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let (before, limit) = (args.before.map(|n| n.to_string()), args.limit.to_string());
    let query = [
        ("who", args.who.as_deref()),
        ("target", args.target.as_deref()),
        ("after", before.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let page = gateway.get(&path("/admin/audit", &query)).await?;
    if args.json {
        writeln!(out, "{page}")?;
        return Ok(());
    }
    let titles = ["NUMBER", "WHEN", "WHO", "WHAT", "TO", "DETAIL"];
    let rows = page["data"].as_array().into_iter().flatten();
    let rows = rows.map(|entry: &Value| {
        [
            field(entry, "number"),
            time(&entry["at"]),
            field(entry, "who"),
            field(entry, "action"),
            field(entry, "target"),
            field(entry, "detail"),
        ]
    });
    let rows = std::iter::once(titles.map(str::to_owned)).chain(rows);
    write!(out, "{}", table(&rows.collect::<Vec<_>>()))?;
    if let Some(next) = page["next"].as_str() {
        writeln!(out, "older ones: --before {next}")?;
    }
    Ok(())
}
