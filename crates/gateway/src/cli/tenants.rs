//! `everstream organisations` and `everstream projects`

use std::io::Write;

use clap::{Args, Subcommand};
use everstream_core::config::Env;
use everstream_core::id::ProjectId;
use serde_json::{Value, json};

use super::Failure;
use super::gateway::block_on;
use super::operator::{ABOUT, OperatorArgs, list, time};
use super::streams::field;

#[derive(Debug, Subcommand)]
#[command(before_help = ABOUT)]
pub(super) enum OrganisationsCommand {
    /// Make an organisation
    Create(CreateOrganisation),
    /// List organisations
    List(ListOrganisations),
    /// Let none of its projects' keys in
    Suspend(Named),
    /// Let its projects' keys in again
    Resume(Named),
}

#[derive(Debug, Subcommand)]
#[command(before_help = ABOUT)]
pub(super) enum ProjectsCommand {
    /// Make a project
    Create(CreateProject),
    /// List projects
    List(ListProjects),
    /// Let none of its keys in
    Suspend(Named),
    /// Let its keys in again
    Resume(Named),
}

#[derive(Debug, Args)]
pub(super) struct CreateOrganisation {
    #[command(flatten)]
    named: Named,
    /// What people call it; the id if absent
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CreateProject {
    #[command(flatten)]
    named: Named,
    /// Who pays; the organisation `default` if absent
    #[arg(long, value_name = "ID")]
    organisation: Option<ProjectId>,
    /// What people call it; the id if absent
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListOrganisations {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListProjects {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Only those of this organisation
    #[arg(long, value_name = "ID")]
    organisation: Option<ProjectId>,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The id
    id: ProjectId,
}

pub(super) fn organisations(
    command: &OrganisationsCommand,
    env: &Env,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    const AT: &str = "/admin/organisations";
    match command {
        OrganisationsCommand::Create(CreateOrganisation { named, name }) => {
            let wish = json!({"id": named.id, "name": name});
            block_on(create(AT, named, &wish, env, out))
        }
        OrganisationsCommand::List(args) => block_on(async {
            let gateway = args.operator.gateway(env)?;
            let row = |one: &Value| [field(one, "id"), field(one, "name"), state(one), made(one)];
            let titles = ["ID", "NAME", "STATE", "CREATED"];
            list(&gateway, (AT, &[]), args.json, (titles, row), out).await
        }),
        OrganisationsCommand::Suspend(named) => block_on(set(AT, named, "suspend", env, out)),
        OrganisationsCommand::Resume(named) => block_on(set(AT, named, "resume", env, out)),
    }
}

pub(super) fn projects(
    command: &ProjectsCommand,
    env: &Env,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    const AT: &str = "/admin/projects";
    match command {
        ProjectsCommand::Create(args) => {
            let CreateProject {
                named,
                organisation,
                name,
            } = args;
            let wish = json!({"id": named.id, "organisation": organisation, "name": name});
            block_on(create(AT, named, &wish, env, out))
        }
        ProjectsCommand::List(args) => block_on(async {
            let gateway = args.operator.gateway(env)?;
            let organisation = args.organisation.as_ref().map(ProjectId::as_str);
            let query = [("organisation", organisation)];
            let row = |one: &Value| {
                let organisation = field(one, "organisation");
                [
                    field(one, "id"),
                    organisation,
                    field(one, "name"),
                    state(one),
                    made(one),
                ]
            };
            let titles = ["ID", "ORGANISATION", "NAME", "STATE", "CREATED"];
            list(&gateway, (AT, &query), args.json, (titles, row), out).await
        }),
        ProjectsCommand::Suspend(named) => block_on(set(AT, named, "suspend", env, out)),
        ProjectsCommand::Resume(named) => block_on(set(AT, named, "resume", env, out)),
    }
}

async fn create(
    at: &str,
    named: &Named,
    wish: &Value,
    env: &Env,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let gateway = named.operator.gateway(env)?;
    gateway.tell("POST", at, wish).await?;
    writeln!(out, "{} is made", named.id)?;
    Ok(())
}

async fn set(
    at: &str,
    named: &Named,
    verb: &str,
    env: &Env,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let gateway = named.operator.gateway(env)?;
    let path = format!("{at}/{}/{verb}", named.id);
    gateway.tell("POST", &path, &json!({})).await?;
    writeln!(
        out,
        "{} is {verb}{}",
        named.id,
        if verb == "resume" { "d" } else { "ed" }
    )?;
    Ok(())
}

fn state(one: &Value) -> String {
    let suspended = one["suspended"] == true;
    if suspended { "suspended" } else { "active" }.to_owned()
}

fn made(one: &Value) -> String {
    time(&one["created_at"])
}
