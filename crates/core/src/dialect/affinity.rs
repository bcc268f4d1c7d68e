//! Which requests do well with the same deployment.

use sha2::{Digest as _, Sha256};

use super::json::for_each_member;
use crate::id::ProjectId;

/// How much of the beginning of a prompt says that it is the same one. Providers cache from some
/// thousand tokens on; conversations mostly differ before that.
const BEGINNING: usize = 1024;

/// What requests of a project have in common that a provider's prompt cache helps: their session, if
/// they name one, else the body's `prompt_cache_key` or `user`, else how their prompts begin.
pub fn affinity(project: &ProjectId, session: Option<&str>, body: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(project.as_str());
    hash.update([0]);
    match session {
        Some(session) => hash.update(session),
        None => hash.update(of_body(body)),
    }
    let mut key = [0; 8];
    key.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(key)
}

fn of_body(body: &[u8]) -> Vec<u8> {
    let mut named = None;
    let mut prompt = Vec::new();
    // What is no JSON has been refused before.
    let _walked = for_each_member::<serde_json::Error>(body, |member| {
        match &*member.key {
            "prompt_cache_key" => named = Some(member.value),
            "user" if named.is_none() => named = Some(member.value),
            "system" | "instructions" | "systemInstruction" | "system_instruction" | "messages"
            | "input" | "contents" | "prompt" => {
                let value = member.value.as_bytes();
                prompt.extend_from_slice(&value[..value.len().min(BEGINNING)]);
            }
            _ => {}
        }
        Ok(())
    });
    named.map_or(prompt, |named| named.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: Option<&str>, body: &str) -> u64 {
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
