//! `everstream streams`

use everstream_core::id::StreamId;
use everstream_core::limits::{LIST_PAGE_SIZE, LIST_PAGE_SIZE_MAX};

use super::{Failure, GatewayArgs};

#[derive(Debug, clap::Subcommand)]
pub(super) enum StreamsCommand {
    /// List streams, the newest first
    List(ListArgs),
    /// Show one stream: its status, usage and events
    Show(StreamArgs),
    /// Follow a stream from its start, or from a place in it, to its end
    Tail(TailArgs),
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

#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Only events after this one
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
}

pub(super) fn run(_command: &StreamsCommand) -> Result<(), Failure> {
    Err(Failure::Other(
        "this build cannot call a gateway".to_owned(),
    ))
}
