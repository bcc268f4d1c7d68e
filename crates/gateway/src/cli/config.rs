//! `everstream config`

use std::io::Write;

use everstream_core::config;

use super::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of the file, for editors
    Schema,
    /// Print a file with every setting as a comment, to start from
    Example,
    /// Print the reference of all settings, as Markdown
    Reference,
}

pub(super) fn run(command: &ConfigCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let text = match command {
        ConfigCommand::Schema => format!("{:#}\n", config::json_schema()),
        ConfigCommand::Example => config::example(),
        ConfigCommand::Reference => config::markdown(),
    };
    Ok(out.write_all(text.as_bytes())?)
}
