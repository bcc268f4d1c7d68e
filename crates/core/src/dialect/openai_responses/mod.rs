//! OpenAI's responses, in translation.
//!
//! An answer is a list of items: messages, calls, reasoning. Each part of the canonical answer is one
//! item, so that a client that sends the items back as they came gives the provider all of it.
//!
//! What the API has no place for:
//! - A seal is a reasoning item's `encrypted_content`, as a `token` that has its maker; a seal that is
//!   on a text or a call is in a reasoning item of its own, behind or before it.
//! - `provider_fields`, on the response: see [`EXTENSION`](crate::answer::EXTENSION).
//! - Reasons for an end that the API has not are `incomplete_details.reason` in the provider's word.
//!
//! The response's id is the gateway's, `resp_` and the stream's: clients read the response under it.
//!
//! Approximated, in answers: the fields of the request that a response repeats have their defaults;
//! a stop sequence is a `completed`; an image at a URL is a text. In requests to providers: the
//! system's words are messages of the developer's; a document of plain text is a text; a result is not
//! marked as an error; a budget for thinking is an effort; an answer is not stored there.

pub mod conversation;
mod echo;
mod finish;
mod fold;
mod item;
mod observe;
mod path;
mod refusal;
mod repeated;
mod request;
mod response;
pub mod snapshot;
mod stream;
mod unseal;
mod usage;
mod whole;
mod wire;

pub use echo::echo;
pub(super) use fold::fold;
pub use observe::Observer;
pub(super) use path::path;
pub(super) use refusal::refusal;
pub(super) use request::{read_request, write_request};
pub use stream::{Decoder, Renderer};
pub(super) use stream::{failed, incomplete, lost};
pub(super) use unseal::{continued, unseal};
pub(super) use whole::{read_answer, write_answer};

/// The dialect's name.
pub(super) const NAME: &str = "openai_responses";
