//! The APIs that clients and providers speak.
//!
//! Where both speak the same one, [`openai`] reads no more of a request and of an answer than the
//! gateway has to know, and the bytes go through. Where they differ, both meet in the canonical
//! model ([`ask`](crate::ask), [`answer`](crate::answer), [`fault`](crate::fault)): each dialect has
//! a folder with its requests, its streams, its whole answers and its errors, and knows no other.

mod affinity;
pub mod anthropic;
mod attach;
mod balance;
pub mod bedrock;
mod claude;
pub mod cohere;
mod continuation;
mod deltas;
mod edit;
mod extension;
mod extent;
pub mod figures;
pub mod gemini;
mod json;
pub mod observe;
pub mod openai;
pub mod openai_chat;
pub mod openai_responses;
mod prepare;
pub mod problem;
mod read;
mod redact;
mod stopped;
mod surface;
mod token;
mod traits;
mod translate;
mod wire;

pub use affinity::{Affinity, affinity};
pub use attach::{Handle, HandleCall, Tally};
pub use continuation::{Prefix, abilities, continuation_body, takes_prefix};
pub use extent::{Extent, extent};
pub use prepare::{continued_body, upstream_body};
pub use redact::{hide, redact};
pub use stopped::Stopped;
pub use traits::{ThinkingWords, ToolChoices, Traits};
pub use translate::{
    ClientDialect, DecodeError, Decoder, Place, ProviderDialect, Renderer, ReplyHead, Target,
};

/// A value of ours as JSON on one line.
fn json_line(value: &impl serde::Serialize) -> bytes::Bytes {
    // Fails only for maps with keys that are not text, and what is passed here has none.
    serde_json::to_vec(value).unwrap_or_default().into()
}
