//! `everstream streams`

mod tail;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everstream_core::calendar::DateTime;
use everstream_core::id::{StreamId, UnixMillis};
use everstream_core::limits::{LIST_PAGE_SIZE, LIST_PAGE_SIZE_MAX};
use serde_json::Value;

use super::gateway::{Gateway, block_on, encoded, lapse, printable};
use super::{Failure, GatewayArgs};

#[derive(Debug, clap::Subcommand)]
pub(super) enum StreamsCommand {
    /// List streams, the newest first
    List(ListArgs),
    /// Show one stream: its status, usage and events
    Show(StreamArgs),
    /// Follow a stream from its start, or from a place in it, to its end
    Tail(tail::TailArgs),
    /// Stop a generation; what it has written so far stays readable
    Cancel(StreamArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Only streams that match, such as `status:running model:gpt-4o`
    #[arg(long)]
    query: Option<String>,
    /// Which page
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    page: u64,
    /// Streams a page
    #[arg(long, default_value_t = LIST_PAGE_SIZE as u64,
          value_parser = clap::value_parser!(u64).range(1..=LIST_PAGE_SIZE_MAX as u64))]
    size: u64,
    /// By which field, and in which direction
    #[arg(long, value_name = "FIELD:asc|desc", default_value = "created_at:desc")]
    sort: String,
    /// Print the gateway's own JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StreamArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The stream's id, 13 characters
    id: StreamId,
}

pub(super) fn run(command: &StreamsCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        StreamsCommand::List(args) => block_on(list(args, out)),
        StreamsCommand::Show(args) => block_on(show(args, out)),
        StreamsCommand::Tail(args) => block_on(tail::tail(args, out)),
        StreamsCommand::Cancel(args) => block_on(cancel(args, out)),
    }
}

async fn list(args: &ListArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.gateway.gateway(&[])?;
    let ListArgs { page, size, .. } = args;
    let query = encoded(args.query.as_deref().unwrap_or_default());
    let sort = encoded(&args.sort);
    let path = format!("/v1/streams?query={query}&page={page}&size={size}&sort={sort}");
    let list = gateway.get(&path).await?;
    if args.json {
        writeln!(out, "{list}")?;
    } else {
        write!(out, "{}", shown_list(&list, now()))?;
    }
    Ok(())
}

async fn show(args: &StreamArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.gateway.gateway(&[])?;
    let info = page_of(&gateway, args.id, 0).await?;
    let last = match info["last_seq"].as_u64() {
        None | Some(0) => Value::Null,
        Some(seq) => page_of(&gateway, args.id, seq - 1).await?,
    };
    write!(out, "{}", shown(&info, &last["events"][0], now()))?;
    Ok(())
}

async fn cancel(args: &StreamArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.gateway.gateway(&[])?;
    let path = format!("/v1/streams/{}", args.id);
    let info = gateway.json("DELETE", &path).await?;
    let (status, events) = (field(&info, "status"), field(&info, "last_seq"));
    writeln!(out, "{} is {status} after {events} events", args.id)?;
    Ok(())
}

/// What is known of a stream, and the one event after `after`.
async fn page_of(gateway: &Gateway, id: StreamId, after: u64) -> Result<Value, Failure> {
    let path = format!("/v1/streams/{id}?stream=false&limit=1&after={after}");
    gateway.get(&path).await
}

/// A page of the list as a table.
fn shown_list(list: &Value, now: Duration) -> String {
    let titles = [
        "ID", "STATUS", "MODEL", "UPSTREAM", "EVENTS", "TOKENS", "AGE",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    let streams = list["data"].as_array().map(Vec::as_slice);
    for info in streams.unwrap_or_default() {
        rows.push([
            field(info, "id"),
            field(info, "status"),
            field(info, "model"),
            field(info, "upstream"),
            field(info, "last_seq"),
            field(&info["usage"], "output_tokens"),
            lapse(now.saturating_sub(millis(&info["created_at"]))),
        ]);
    }
    let shown = rows.len() - 1;
    let (page, total) = (field(list, "page"), field(list, "total"));
    format!("{}{shown} of {total} streams, page {page}\n", table(&rows))
}

/// One stream, line by line.
fn shown(info: &Value, last: &Value, now: Duration) -> String {
    let created = millis(&info["created_at"]);
    let after = |time: &Value| lapse(millis(time).saturating_sub(created));
    let surface = format!("{}, {}", field(info, "surface"), field(info, "mode"));
    let begun = format!(
        "{}, {} ago",
        utc(created),
        lapse(now.saturating_sub(created))
    );
    let ended = match &info["ended_at"] {
        Value::Null => "-".to_owned(),
        at => format!("{}, after {}", utc(millis(at)), after(at)),
    };
    let status = match info["reason"].as_str() {
        Some(reason) => format!("{}: {}", field(info, "status"), printable(reason)),
        None => field(info, "status"),
    };
    let events = match (&info["events"][0], last) {
        (Value::Null, _) | (_, Value::Null) => field(info, "last_seq"),
        (first, last) => format!(
            "{}: the first after {}, the last after {}",
            field(info, "last_seq"),
            after(&first["time"]),
            after(&last["time"])
        ),
    };
    let lines = [
        ("stream", field(info, "id")),
        ("status", status),
        ("project", field(info, "project")),
        ("surface", surface),
        ("model", field(info, "model")),
        ("upstream", field(info, "upstream")),
        ("created", begun),
        ("ended", ended),
        ("events", events),
        ("usage", usage(&info["usage"])),
    ];
    let rows = lines.map(|(title, text)| [title.to_owned(), text]);
    table(&rows)
}

fn usage(usage: &Value) -> String {
    if usage.is_null() {
        return "-".to_owned();
    }
    let mut text = format!(
        "{} tokens in, {} out",
        field(usage, "input_tokens"),
        field(usage, "output_tokens")
    );
    for (name, what) in [
        ("cached_tokens", "cached"),
        ("reasoning_tokens", "reasoning"),
    ] {
        if let Some(count) = usage[name].as_u64() {
            text.extend([", ", &count.to_string(), " ", what]);
        }
    }
    if usage["estimated"] == true {
        text.push_str(" (estimated: the provider gave no figures)");
    }
    text
}

/// Rows with their columns aligned, two spaces apart.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn millis(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().unwrap_or(0))
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The date and time.
pub(super) fn utc(since_1970: Duration) -> String {
    let at = DateTime::from(UnixMillis::default().plus(since_1970));
    format!("{} {} UTC", at.date(), at.time())
}
