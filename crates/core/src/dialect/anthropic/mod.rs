//! Anthropic's messages, in translation.

mod path;

pub(super) use path::path;

/// The dialect's name.
pub(super) const NAME: &str = "anthropic";
