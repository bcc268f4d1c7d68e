//! What the scopes of a key may name.

use crate::event::Surface;

/// An API, as `surfaces` among a key's scopes names it. Every path belongs to one, but those that
/// need no key, and the lists of models, which show what the key may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// One that generates; counting the tokens of its requests, and what it calls resources, with it.
    Generating(Surface),
    /// `/v1/images/...`
    Images,
    /// `/v1/audio/...`
    Audio,
    /// `/v1/moderations`
    Moderations,
    /// `/v1/rerank`
    Rerank,
    /// `/v1/files/...`, and `/v1/uploads/...`, which make files.
    Files,
    /// `/v1/batches/...`
    Batches,
    /// `/v1/realtime`
    Realtime,
    /// `/v1/streams/...` and `/v1/ws`: reading, listing and cancelling what the project has.
    Streams,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Generating(Surface::ChatCompletions),
        Self::Generating(Surface::Completions),
        Self::Generating(Surface::Embeddings),
        Self::Generating(Surface::Messages),
        Self::Generating(Surface::Responses),
        Self::Generating(Surface::GenerateContent),
        Self::Images,
        Self::Audio,
        Self::Moderations,
        Self::Rerank,
        Self::Files,
        Self::Batches,
        Self::Realtime,
        Self::Streams,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generating(surface) => surface.as_str(),
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Realtime => "realtime",
            Self::Streams => "streams",
        }
    }
}

impl From<Surface> for Api {
    fn from(surface: Surface) -> Self {
        Self::Generating(surface)
    }
}

/// Whether a name is one of these: as it stands there, or by its beginning where one ends in `*`.
pub fn is_listed(name: &str, patterns: &[String]) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => pattern == name,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own() {
        let mut names: Vec<_> = Api::ALL.iter().map(|api| api.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Api::ALL.len());
    }

    #[test]
    fn names_are_listed_by_name_or_beginning() {
        let only = ["gpt-4o-mini".to_owned(), "claude-*".to_owned()];
        for (name, expected) in [
            ("gpt-4o-mini", true),
            ("gpt-4o-mini-2", false),
            ("GPT-4o-mini", false),
            ("gpt-4o", false),
            ("claude-sonnet-4-5", true),
            ("claude-", true),
            ("claude", false),
            ("", false),
        ] {
            assert_eq!(is_listed(name, &only), expected, "{name}");
        }
        assert!(!is_listed("any", &[]));
        assert!(is_listed("any", &["*".to_owned()]));
    }
}
