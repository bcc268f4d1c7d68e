//! Which requests do well with the same deployment.

use sha2::{Digest as _, Sha256};

use super::json::for_each_member;
use crate::id::ProjectId;

/// How much of the beginning of a prompt says that it is the same one. Providers cache from some
/// thousand tokens on; conversations mostly differ before that.
const BEGINNING: usize = 1024;

/// What requests have in common that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affinity {
    /// The same for the same.
    pub key: u64,
    /// They name it themselves, and do not only begin in the same way.
    pub named: bool,
}

impl Affinity {
    /// The session that they name.
    pub fn session(self) -> Option<u64> {
        self.named.then_some(self.key)
    }
}

/// What requests of a project have in common that a provider's prompt cache helps: their session, if
/// they name one, else the body's `prompt_cache_key`, `safety_identifier` or `user`, else how their
/// prompts begin.
pub fn affinity(project: &ProjectId, session: Option<&str>, body: &[u8]) -> Affinity {
    let mut hash = Sha256::new();
    hash.update(project.as_str());
    hash.update([0]);
    let named = if let Some(session) = session {
        hash.update(session);
        true
    } else {
        let (text, named) = of_body(body);
        hash.update(text);
        named
    };
    let mut key = [0; 8];
    key.copy_from_slice(&hash.finalize()[..8]);
    Affinity {
        key: u64::from_be_bytes(key),
        named,
    }
}

fn of_body(body: &[u8]) -> (Vec<u8>, bool) {
    /// The names that a body may have, the best one first.
    const NAMES: [&str; 3] = ["prompt_cache_key", "safety_identifier", "user"];
    let mut named = [None; NAMES.len()];
    let mut prompt = Vec::new();
    // What is no JSON has been refused before.
    let _walked = for_each_member::<serde_json::Error>(body, |member| {
        match &*member.key {
            "system" | "instructions" | "systemInstruction" | "system_instruction" | "messages"
            | "input" | "contents" | "prompt" => {
                let value = member.value.as_bytes();
                prompt.extend_from_slice(&value[..value.len().min(BEGINNING)]);
            }
            key => {
                let place = NAMES.iter().position(|name| *name == key);
                let is_name = member.value.starts_with('"') && member.value.len() > 2;
                if let Some(place) = place.filter(|_| is_name) {
                    named[place] = Some(member.value);
                }
            }
        }
        Ok(())
    });
    match named.into_iter().flatten().next() {
        Some(named) => (named.as_bytes().to_vec(), true),
        None => (prompt, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: Option<&str>, body: &str) -> Affinity {
        let project = "one".parse().expect("a project");
        affinity(&project, session, body.as_bytes())
    }

    #[test]
    fn turns_of_one_conversation_have_the_same_key() {
        let long = "x".repeat(2 * BEGINNING);
        let first = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{long}"}}]}}"#);
        let second = first.replace("}]", r#"},{"role":"assistant","content":"y"}]"#);
        assert_ne!(first, second);
        assert_eq!(key(None, &first), key(None, &second));
        let other = first.replacen('x', "z", 1);
        assert_ne!(key(None, &first), key(None, &other));
    }

    #[test]
    fn the_best_name_counts_and_no_name_is_none() {
        let both = r#"{"prompt_cache_key":"k","user":"u"}"#;
        let other = r#"{"user":"v","messages":[1],"prompt_cache_key":"k"}"#;
        assert_eq!(key(None, both), key(None, other));
        assert!(key(None, both).session().is_some());
        for nameless in [r#"{"user":null}"#, r#"{"user":""}"#, "{}"] {
            assert_eq!(key(None, nameless).session(), None, "{nameless}");
            assert_eq!(key(None, nameless), key(None, "{}"));
        }
    }

    #[test]
    fn names_go_before_the_prompt_and_a_session_before_all() {
        let of = |user: &str, text: &str| {
            format!(r#"{{"messages":[{{"content":"{text}"}}],"user":"{user}"}}"#)
        };
        assert_eq!(key(None, &of("u", "a")), key(None, &of("u", "b")));
        assert_ne!(key(None, &of("u", "a")), key(None, &of("v", "a")));
        assert_eq!(key(Some("s"), &of("u", "a")), key(Some("s"), "{}"));
        let project = "two".parse().expect("a project");
        assert_ne!(key(Some("s"), "{}"), affinity(&project, Some("s"), b"{}"));
    }
}
