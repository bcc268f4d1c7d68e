//! The APIs that clients and providers speak: what the gateway reads of a request, what it sees in
//! an answer, and the shape of an error.

mod json;
pub mod openai;
pub mod problem;
mod redact;

pub(crate) use redact::hide;
pub use redact::redact;

/// A value of ours as JSON on one line.
fn json_line(value: &impl serde::Serialize) -> bytes::Bytes {
    // Fails only for maps with keys that are not text, and what is passed here has none.
    serde_json::to_vec(value).unwrap_or_default().into()
}
