//! `everstream doctor`

use super::{Failure, GatewayArgs};

const ABOUT: &str = "\
Asks the model for a short answer through the gateway and shows when each event came. Events that
arrive in lumps were held back by something on the way: a proxy that buffers, a compressing
middleware, an antivirus. The provider may charge for the answer.

Examples:
  everstream doctor
  everstream doctor --url https://gateway.example.org --model openai/gpt-4o-mini";

#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The model to ask; the first of the gateway's list if absent
    #[arg(long)]
    model: Option<String>,
    /// What to ask it
    #[arg(long, default_value = "Count from one to thirty in words.")]
    prompt: String,
    /// How long the answer may be
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
}

pub(super) fn run(_args: &DoctorArgs) -> Result<(), Failure> {
    Err(Failure::Other(
        "this build cannot call a gateway".to_owned(),
    ))
}
