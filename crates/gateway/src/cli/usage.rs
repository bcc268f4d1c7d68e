//! `everstream usage`

use std::io::Write;

use everstream_core::config::Env;
use serde_json::Value;

use super::Failure;
use super::gateway::block_on;
use super::operator::{ABOUT, OperatorArgs, path, time};
use super::streams::{field, table};

const EXAMPLES: &str = "\
Examples:
  everstream usage                                   this month, all together
  everstream usage --by project,model --each day
  everstream usage --from 2026-11-01 --to 2026-12-01 --by key --csv > november.csv";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, before_help = ABOUT)]
pub(super) struct UsageArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// From this day on (2026-11-01, UTC), or this millisecond; the beginning of the month if absent
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Before this day; now if absent
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Sums of their own for some of organisation, project, key, model, with commas between
    #[arg(long, value_name = "WHAT")]
    by: Option<String>,
    /// Sums of their own for each hour, day or month
    #[arg(long, value_parser = ["hour", "day", "month"])]
    each: Option<String>,
    /// Only this organisation's
    #[arg(long, value_name = "ID")]
    organisation: Option<String>,
    /// Only this project's
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Only this key's
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only this model's
    #[arg(long)]
    model: Option<String>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print what the gateway says, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &UsageArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    block_on(show(args, env, out))
}

async fn show(args: &UsageArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let path = path(
        "/admin/usage",
        &[
            ("from", args.from.as_deref()),
            ("to", args.to.as_deref()),
            ("group_by", args.by.as_deref()),
            ("bucket", args.each.as_deref()),
            ("organisation", args.organisation.as_deref()),
            ("project", args.project.as_deref()),
            ("key", args.key.as_deref()),
            ("model", args.model.as_deref()),
        ],
    );
    if args.csv {
        write!(out, "{}", gateway.text(&path, "text/csv").await?)?;
        return Ok(());
    }
    let usage = gateway.get(&path).await?;
    if args.json {
        writeln!(out, "{usage}")?;
    } else {
        write!(out, "{}", shown(&usage))?;
    }
    Ok(())
}

fn shown(usage: &Value) -> String {
    let titles = [
        "SINCE",
        "ORGANISATION",
        "PROJECT",
        "KEY",
        "MODEL",
        "REQUESTS",
        "INPUT",
        "OUTPUT",
        "COST",
    ];
    let sums = usage["data"].as_array().into_iter().flatten();
    let rows = sums.map(|sum| {
        [
            time(&sum["since"]),
            field(sum, "organisation"),
            field(sum, "project"),
            field(sum, "key"),
            field(sum, "model"),
            field(sum, "requests"),
            field(sum, "input_tokens"),
            field(sum, "output_tokens"),
            format!("${}", field(sum, "cost")),
        ]
    });
    let rows = std::iter::once(titles.map(str::to_owned)).chain(rows);
    table(&rows.collect::<Vec<_>>())
}
