//! OpenAI's chat completions, in translation.
//!
//! What the API has no place for is in members that others have made common:
//! - Reasoning: `reasoning_content` has the text for people, and `reasoning_details`, in
//!   OpenRouter's form, the same with its seals. A client that sends its assistant's messages back
//!   as they came gives the provider all of it, byte for byte.
//! - A seal on a tool call or a text of Google's: `extra_content.google.thought_signature`, as in
//!   Google's own version of this API.
//! - `native_finish_reason`: the provider's word, where it says more than the API's; and
//!   `stop_reason`, the stop sequence, as in vLLM.
//! - `images`, in OpenRouter's form.
//! - `provider_fields`: see [`EXTENSION`](crate::answer::EXTENSION). In streams each of its entries
//!   has an `index`, as has each image: OpenAI's clients put lists together by it.
//!
//! Approximated, in answers: texts before and behind a tool call are one text. In requests to
//! providers: what a tool's result has beside text follows the results in a message of the
//! user's; what the model says in several messages in a row is one; a result is not marked as an error; a document of plain text is a text; a budget for
//! thinking is an effort.

mod error;
mod finish;
mod out;
mod path;
mod reasoning;
mod request;
mod stream;
mod usage;
mod whole;
mod wire;

pub(super) use error::{read_error, write_error};
pub(super) use path::path;
pub(super) use request::{read_request, write_request};
pub use stream::{Decoder, Renderer};
pub(super) use whole::{read_answer, write_answer};

/// The dialect's name.
pub(super) const NAME: &str = "openai_chat";
