use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::envelope::not_json;
use crate::error::Error;
use crate::id::ProjectId;
use crate::record::Digest;

/// The members that say how an answer is to be delivered, not which answer.
const DELIVERY: [&str; 3] = ["stream", "stream_options", "background"];

/// What a request asks for: SHA-256 of its JSON with sorted members and no white space. How the
/// answer is delivered (`stream`, `stream_options`, `background`) does not count, so a stream can
/// be fetched again as one body.
///
/// Fails for a body that is no JSON, or nested more than 128 deep.
pub fn fingerprint(body: &[u8]) -> Result<Digest, Error> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if let Value::Object(members) = &mut value {
        for name in DELIVERY {
            members.remove(name);
        }
    }
    // Members are sorted anyway unless some crate of the program asked serde_json to keep their
    // order.
    value.sort_all_objects();
    let mut hash = Hasher(Sha256::new());
    value
        .serialize(&mut serde_json::Serializer::new(&mut hash))
        .map_err(|error| not_json(&error))?;
    Ok(Digest(hash.0.finalize().into()))
}

/// The name of an `Idempotency-Key` within the whole gateway: a key counts for one project, method
/// and path.
pub fn claim_key(project: &ProjectId, method: &str, path: &str, key: &str) -> Digest {
    digest_of([project.as_str(), method, path, key].map(str::as_bytes))
}

/// What an SDK's own retry has in common with the request it repeats: project, path, and every byte
/// of the body. Cheaper than a [`fingerprint`], as nothing is parsed.
pub fn repeat_key(project: &ProjectId, path: &str, body: &[u8]) -> Digest {
    digest_of([project.as_str().as_bytes(), path.as_bytes(), body])
}

fn digest_of<const N: usize>(parts: [&[u8]; N]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

/// Lets JSON be written into a hash, without the text in between.
struct Hasher(Sha256);

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn same(a: &str, b: &str) -> bool {
        fingerprint(a.as_bytes()) == fingerprint(b.as_bytes())
    }

    #[test]
    fn order_space_and_delivery_do_not_count() {
        assert!(same(
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}"#,
            r#" { "background":false, "messages" : [{"content":"\u0078","role":"user"}],
                 "stream_options":{"include_usage":true}, "model":"m" } "#,
        ));
    }

    #[test]
    fn everything_else_counts() {
        let base = r#"{"model":"m","messages":[1,2],"x":{"stream":true}}"#;
        for other in [
            r#"{"model":"n","messages":[1,2],"x":{"stream":true}}"#,
            r#"{"model":"m","messages":[2,1],"x":{"stream":true}}"#,
            r#"{"model":"m","messages":[1,2],"x":{"stream":false}}"#,
            r#"{"model":"m","messages":[1,2],"x":{"stream":true},"y":null}"#,
        ] {
            assert!(!same(base, other), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for body in ["", "{", &"[".repeat(100_000)] {
            let refused = fingerprint(body.as_bytes());
            assert!(refused.is_err_and(|error| error.code == ErrorCode::InvalidJson));
        }
    }

    #[test]
    fn a_claim_is_one_projects_for_one_path() {
        let project: ProjectId = "ab".parse().unwrap();
        let other: ProjectId = "a".parse().unwrap();
        let claim = claim_key(&project, "POST", "/v1/x", "k");
        assert_eq!(claim, claim_key(&project, "POST", "/v1/x", "k"));
        for unlike in [
            claim_key(&other, "bPOST", "/v1/x", "k"),
            claim_key(&other, "POST", "/v1/x", "k"),
            claim_key(&project, "POST", "/v1/", "xk"),
            claim_key(&project, "POST", "/v1/x", "k2"),
        ] {
            assert_ne!(claim, unlike);
        }
    }
}
