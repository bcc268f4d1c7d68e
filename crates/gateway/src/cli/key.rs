//! `everstream key`

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everstream_core::config::{key_hash, show_key_hash};
use everstream_core::id::ProjectId;

use super::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new key: it is shown once, the configuration keeps its hash
    New(NewArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The project that the key belongs to; keys of one project see each other's streams
    #[arg(long, value_name = "NAME")]
    project: ProjectId,
}

pub(super) fn run(command: &KeyCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let KeyCommand::New(NewArgs { project }) = command;
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::Other(format!("the system gives no random numbers: {error}")))?;
    let key = format!("es-{}", URL_SAFE_NO_PAD.encode(random));
    let hash = show_key_hash(key_hash(&key));
    writeln!(
        out,
        "{key}\n\n\
         # Give the key above to the client: it is not stored and will not be shown again.\n\
         # Put this into the configuration file:\n\
         [[keys]]\nproject = \"{project}\"\nhash = \"{hash}\""
    )?;
    Ok(())
}
