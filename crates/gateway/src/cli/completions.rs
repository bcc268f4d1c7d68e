//! `everstream completions`

use std::io::Write;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Failure};

const INSTALL: &str = "\
Examples:
  everstream completions bash > ~/.local/share/bash-completion/completions/everstream
  everstream completions zsh > ~/.zfunc/_everstream
  everstream completions fish > ~/.config/fish/completions/everstream.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = INSTALL)]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // The generator panics where its output cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "everstream", &mut script);
    Ok(out.write_all(&script)?)
}
