//! OpenAI's chat completions, in translation.

mod path;

pub(super) use path::path;

/// The dialect's name.
pub(super) const NAME: &str = "openai_chat";
