//! `everstream upstreams`

use everstream_core::config::Env;

use super::{ConfigArgs, Failure};

const CODES: &str = "Exit codes: 0 there are upstreams, 3 there are none, 2 bad configuration.";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct UpstreamsArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &UpstreamsArgs, env: &Env) -> Result<(), Failure> {
    let _config = args.config.load(env)?;
    Err(Failure::Other(
        "this build does not look for upstreams".to_owned(),
    ))
}
