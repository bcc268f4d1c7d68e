//! `everstream keys`

use std::io::{self, Write};

use clap::{Args, Subcommand};
use everstream_core::config::Env;
use everstream_core::id::ProjectId;
use everstream_core::policy::limit::bound::Bound;
use everstream_store::sql::values::KeyId;
use serde_json::{Map, Value, json};

use super::Failure;
use super::gateway::{Gateway, block_on, printable};
use super::operator::{self, ABOUT, OperatorArgs, from_now, list, names, time};
use super::streams::{field, table};

const EXAMPLES: &str = "\
Examples:
  KEY=$(everstream keys create --project demo --create-project --name laptop)
  everstream keys list --project demo
  everstream keys limit 0k3v9f2m7qx4c1ab requests=60/1m concurrency=5
  everstream keys change 0k3v9f2m7qx4c1ab --models \"gpt-4o*\" --expires 30d
  everstream keys rotate 0k3v9f2m7qx4c1ab --overlap 24h
  everstream keys revoke 0k3v9f2m7qx4c1ab

The id of a key is what stands between its dashes: es-<id>-<secret>.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES, before_help = ABOUT)]
pub(super) enum KeysCommand {
    /// Make a key; its secret is printed alone, this once
    Create(CreateArgs),
    /// List keys
    List(ListArgs),
    /// Show a key
    Show(KeyArgs),
    /// Give a key limits of its own, in place of those it had
    Limit(LimitArgs),
    /// Change what a key may do, and until when
    Change(ChangeArgs),
    /// Give a key a new secret, printed alone; the present one goes on for a while
    Rotate(RotateArgs),
    /// End a key, for ever
    Revoke(KeyArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The project that the key belongs to
    #[arg(long, value_name = "ID")]
    project: ProjectId,
    /// Make the project if there is none
    #[arg(long)]
    create_project: bool,
    /// What people call the key
    #[arg(long)]
    name: String,
    #[command(flatten)]
    scopes: ScopeArgs,
    /// A limit of its own, such as requests=60/1m; may be repeated
    #[arg(long, value_name = "LIMIT")]
    limit: Vec<Bound>,
    /// How long it is good, such as 90d; for ever if absent
    #[arg(long, value_name = "DURATION", value_parser = from_now)]
    expires: Option<u64>,
}

/// What a key may do.
#[derive(Debug, Args)]
struct ScopeArgs {
    /// The models that it may ask, by name or beginning (gpt-4o*), with commas between; \"all\" for all
    #[arg(long, value_name = "NAMES")]
    models: Option<String>,
    /// The APIs that it may use, such as `chat_completions`; \"all\" for all
    #[arg(long, value_name = "NAMES")]
    surfaces: Option<String>,
    /// The topics that it may use; \"all\" for all
    #[arg(long, value_name = "NAMES")]
    topics: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Only those of this project
    #[arg(long, value_name = "ID")]
    project: Option<ProjectId>,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The key's id
    #[arg(value_parser = key_id)]
    id: KeyId,
    /// Print what the gateway says, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The key's id
    #[arg(value_parser = key_id)]
    id: KeyId,
    /// Limits such as requests=60/1m, output-tokens=100000/1h or concurrency=5; none lifts all
    limits: Vec<Bound>,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The key's id
    #[arg(value_parser = key_id)]
    id: KeyId,
    #[command(flatten)]
    scopes: ScopeArgs,
    /// How long it is good from now on, such as 90d
    #[arg(long, value_name = "DURATION", value_parser = from_now)]
    expires: Option<u64>,
    /// Let it be good for ever
    #[arg(long, conflicts_with = "expires")]
    never_expires: bool,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The key's id
    #[arg(value_parser = key_id)]
    id: KeyId,
    /// How long the present secret goes on, such as 24h, which it does if absent
    #[arg(long, value_name = "DURATION")]
    overlap: Option<String>,
}

pub(super) fn run(command: &KeysCommand, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        KeysCommand::Create(args) => block_on(create(args, env, out)),
        KeysCommand::List(args) => block_on(show_all(args, env, out)),
        KeysCommand::Show(args) => block_on(show(args, env, out)),
        KeysCommand::Limit(args) => block_on(limit(args, env, out)),
        KeysCommand::Change(args) => block_on(change(args, env, out)),
        KeysCommand::Rotate(args) => block_on(rotate(args, env, out)),
        KeysCommand::Revoke(args) => block_on(revoke(args, env, out)),
    }
}

async fn create(args: &CreateArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let mut wish = args.scopes.wish();
    wish.extend([
        ("project".to_owned(), json!(args.project)),
        ("name".to_owned(), json!(args.name)),
        ("create_project".to_owned(), json!(args.create_project)),
        ("limits".to_owned(), json!(args.limit)),
        ("expires_at".to_owned(), json!(args.expires)),
    ]);
    let made = gateway.tell("POST", "/admin/keys", &wish.into()).await?;
    let (id, project) = (field(&made, "id"), field(&made, "project"));
    print_secret(&made, &format!("key {id} of project {project}"), out)
}

async fn show_all(args: &ListArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let project = args.project.as_ref().map(ProjectId::as_str);
    let query = ("/admin/keys", &[("project", project)][..]);
    let titles = [
        "ID", "PROJECT", "NAME", "STATE", "MODELS", "LIMITS", "EXPIRES",
    ];
    let row = |key: &Value| {
        [
            field(key, "id"),
            field(key, "project"),
            field(key, "name"),
            field(key, "state"),
            names(&key["models"]),
            names(&key["limits"]),
            time(&key["expires_at"]),
        ]
    };
    list(&gateway, query, args.json, (titles, row), out).await
}

async fn show(args: &KeyArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let key = gateway.get(&at(&args.id, "")).await?;
    print(&key, args.json, out)
}

async fn limit(args: &LimitArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let wish = json!({"limits": args.limits});
    patch(&args.operator.gateway(env)?, &args.id, &wish, out).await
}

async fn change(args: &ChangeArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let mut wish = args.scopes.wish();
    if args.expires.is_some() || args.never_expires {
        wish.insert("expires_at".to_owned(), json!(args.expires));
    }
    if wish.is_empty() {
        let message = "nothing to change: give --models, --surfaces, --topics or --expires";
        return Err(Failure::Other(message.to_owned()));
    }
    patch(&args.operator.gateway(env)?, &args.id, &wish.into(), out).await
}

async fn patch(
    gateway: &Gateway,
    id: &KeyId,
    wish: &Value,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let key = gateway.tell("PATCH", &at(id, ""), wish).await?;
    print(&key, false, out)
}

async fn rotate(args: &RotateArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let mut wish = Map::new();
    if let Some(overlap) = &args.overlap {
        wish.insert("overlap".to_owned(), json!(overlap));
    }
    let path = at(&args.id, "/rotate");
    let key = gateway.tell("POST", &path, &wish.into()).await?;
    let until = time(&key["secrets"][1]["expires_at"]);
    let about = format!(
        "the new secret of {}; the old one is good until {until}",
        args.id
    );
    print_secret(&key, &about, out)
}

async fn revoke(args: &KeyArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.operator.gateway(env)?;
    let key = gateway.json("POST", &at(&args.id, "/revoke")).await?;
    print(&key, args.json, out)
}

fn at(id: &KeyId, rest: &str) -> String {
    operator::path(&format!("/admin/keys/{id}{rest}"), &[])
}

/// The secret alone on the standard output, so that a script can take it; the rest beside it.
fn print_secret(key: &Value, about: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let secret = key["secret"].as_str().unwrap_or_default();
    writeln!(out, "{}", printable(secret))?;
    // Nobody is left to tell if this cannot be printed.
    let _closed = writeln!(
        io::stderr(),
        "This is {about}. It is not stored and will not be shown again."
    );
    Ok(())
}

fn print(key: &Value, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if as_json {
        writeln!(out, "{key}")?;
        return Ok(());
    }
    let secrets = key["secrets"].as_array().into_iter().flatten();
    let secrets = secrets.map(|secret| match &secret["expires_at"] {
        Value::Null => field(secret, "number"),
        end => format!("{} until {}", field(secret, "number"), time(end)),
    });
    let lines = [
        ("key", field(key, "id")),
        ("name", field(key, "name")),
        ("project", field(key, "project")),
        ("organisation", field(key, "organisation")),
        ("state", field(key, "state")),
        ("models", names(&key["models"])),
        ("surfaces", names(&key["surfaces"])),
        ("topics", names(&key["topics"])),
        ("limits", names(&key["limits"])),
        ("created", time(&key["created_at"])),
        ("expires", time(&key["expires_at"])),
        ("secrets", secrets.collect::<Vec<_>>().join(", ")),
    ];
    let rows = lines.map(|(title, text)| [title.to_owned(), text]);
    write!(out, "{}", table(&rows))?;
    Ok(())
}

impl ScopeArgs {
    /// What is said, as the gateway takes it.
    fn wish(&self) -> Map<String, Value> {
        let said = [
            ("models", &self.models),
            ("surfaces", &self.surfaces),
            ("topics", &self.topics),
        ];
        let said = said.into_iter().filter_map(|(name, text)| {
            let names = match text.as_deref()? {
                "all" => Value::Null,
                text => text
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .collect(),
            };
            Some((name.to_owned(), names))
        });
        said.collect()
    }
}

/// An id, also as it stands in the key itself.
fn key_id(text: &str) -> Result<KeyId, String> {
    let text = text.strip_prefix("es-").unwrap_or(text);
    let id = text.split('-').next().unwrap_or_default();
    id.parse::<KeyId>().map_err(|error| error.to_string())
}
