//! `everstream upstreams`

use std::io::Write;

use everstream_core::config::Env;

use super::{ConfigArgs, Failure};
use crate::upstream::assemble::assemble;

const CODES: &str = "Exit codes: 0 there are upstreams, 3 there are none, 2 bad configuration.";

#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct UpstreamsArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &UpstreamsArgs, env: &Env, out: &mut dyn Write) -> Result<(), Failure> {
    let config = args.config.load(env)?;
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
