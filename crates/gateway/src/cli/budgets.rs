//! `everstream budgets`

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use everstream_core::config::Env;
use everstream_core::id::ProjectId;
use everstream_core::money::Money;
use everstream_store::sql::values::{BudgetId, KeyId};
use serde_json::{Map, Value, json};

use super::Failure;
use super::gateway::block_on;
use super::operator::{ABOUT, OperatorArgs, list, time};
use super::streams::field;

const EXAMPLES: &str = "\
Examples:
  everstream budgets put demo --project demo --limit 25.00 --every month --alert-at 50,80
  everstream budgets list
  everstream budgets delete demo";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES, before_help = ABOUT)]
pub(super) enum BudgetsCommand {
    /// Make a budget, or change the limit and the alerts of one
    Put(PutArgs),
    /// List budgets, and how they stand
    List(ListArgs),
    /// Remove a budget
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The budget's id
    id: BudgetId,
    #[command(flatten)]
    of: ScopeArgs,
    /// How much, in dollars, such as 25.00
    #[arg(long, value_name = "DOLLARS")]
    limit: Money,
    /// How often it begins anew, in UTC
    #[arg(long)]
    every: Period,
    /// Percents of it at which somebody wants to know, with commas between
    #[arg(long, value_name = "PERCENTS", value_delimiter = ',')]
    alert_at: Vec<u8>,
}

/// Whose spending it bounds.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// The organisation whose spending it bounds
    #[arg(long, value_name = "ID")]
    organisation: Option<ProjectId>,
    /// The project whose spending it bounds
    #[arg(long, value_name = "ID")]
    project: Option<ProjectId>,
    /// The key whose spending it bounds
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Period {
    /// Every day
    Day,
    /// Every month
    Month,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The budget's id
    id: BudgetId,
}

pub(super) fn run(command: &BudgetsCommand, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        BudgetsCommand::Put(args) => block_on(put(args, env, out)),
        BudgetsCommand::List(args) => block_on(show_all(args, env, out)),
        BudgetsCommand::Delete(args) => block_on(async {
            let gateway = args.operator.gateway(env)?;
            let path = format!("/admin/budgets/{}", args.id);
            gateway.tell("DELETE", &path, &json!({})).await?;
            writeln!(out, "{} is deleted", args.id)?;
            Ok(())
        }),
    }
}

async fn put(args: &PutArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let period = match args.every {
        Period::Day => "day",
        Period::Month => "month",
    };
    let ScopeArgs {
        organisation,
        project,
        key,
    } = &args.of;
    let of = [
        ("organisation", json!(organisation)),
        ("project", json!(project)),
        ("key", json!(key)),
    ];
    let of = of.into_iter().filter(|(_, id)| !id.is_null());
    let mut wish: Map<_, _> = of.map(|(name, id)| (name.to_owned(), id)).collect();
    wish.insert("period".to_owned(), json!(period));
    wish.insert("limit".to_owned(), json!(args.limit.to_string()));
    wish.insert("alert_at".to_owned(), json!(args.alert_at));
    let path = format!("/admin/budgets/{}", args.id);
    let put = gateway.tell("PUT", &path, &wish.into()).await?;
    let (scope, of, limit) = (
        field(&put, "scope"),
        field(&put, "of"),
        field(&put, "limit"),
    );
    writeln!(
        out,
        "{} bounds {scope} {of} to ${limit} a {period}",
        args.id
    )?;
    Ok(())
}

async fn show_all(args: &ListArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let titles = [
        "ID", "OF", "EVERY", "LIMIT", "SPENT", "RESERVED", "ALERTS", "UNTIL",
    ];
    let row = |budget: &Value| {
        let alerts = budget["alert_at"].as_array().into_iter().flatten();
        let alerts: Vec<String> = alerts.map(|percent| format!("{percent}%")).collect();
        [
            field(budget, "id"),
            format!("{} {}", field(budget, "scope"), field(budget, "of")),
            field(budget, "period"),
            format!("${}", field(budget, "limit")),
            format!("${}", field(budget, "spent")),
            format!("${}", field(budget, "reserved")),
            alerts.join(" "),
            time(&budget["until"]),
        ]
    };
    let query = ("/admin/budgets", &[][..]);
    list(&gateway, query, args.json, (titles, row), out).await
}
