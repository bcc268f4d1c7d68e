//! Anthropic's messages, in translation.
//!
//! What the API has no place for:
//! - A seal of another maker's is the signature of a `thinking` block, or the data of a
//!   `redacted_thinking` block, which clients send back untouched as they must: see `token`.
//! - A refusal is a text, and the reason for the end `refusal`.
//! - What a model made that is no text is a block as in a request, `image` or `document`.
//! - `provider_fields`, on the message: see [`EXTENSION`](crate::answer::EXTENSION).
//!
//! Approximated, in answers: what a filter stopped is a refusal; `message_start` has the figures of
//! the input only if the provider gives them first, `message_delta` always has them all. In requests
//! to providers: all that the system says is in `system`, wherever it was said; messages of one side
//! in a row are one; a request without a limit of tokens gets one; a schema is kept to by force
//! whatever the request says; an image's `detail` is left out.

mod block;
mod error;
mod finish;
mod fold;
mod observe;
mod path;
mod request;
mod stream;
mod unseal;
mod usage;
mod whole;
mod wire;

use super::token;

pub(super) use error::{read_error, write_error};
pub(super) use fold::fold;
pub(super) use observe::END;
pub use observe::Observer;
pub(super) use path::path;
pub(super) use request::{read_request, write_request};
pub use stream::{Decoder, Renderer};
pub(super) use unseal::unseal;
pub(super) use whole::{read_answer, write_answer};

/// The dialect's name.
pub(super) const NAME: &str = "anthropic";
