//! Google's Gemini API (`generateContent`, `streamGenerateContent`), in translation. Vertex AI's is
//! the same but for what [`Traits`](crate::dialect::Traits) say.
//!
//! A request's model and whether it streams are in its path, not in its body: who reads the path
//! sets [`Ask::model`](crate::ask::Ask::model) and [`Ask::stream`](crate::ask::Ask::stream). Streams
//! have no mark at their end: an answer is whole if each of its candidates has a `finishReason` when
//! the stream ends, or if the prompt was blocked.
//!
//! What the API has no place for:
//! - A seal of another maker's is a `thoughtSignature` too, which clients send back untouched as
//!   they must: see `seal.rs`.
//! - A refusal is a text.
//! - A call whose arguments are no JSON object is told in `finishMessage`, as Google's own are.
//! - `provider_fields`, on the candidate: see [`EXTENSION`](crate::answer::EXTENSION).
//!
//! Approximated, in answers: a stop sequence is a `STOP`; what a model or a classifier declined is
//! `SAFETY`, and a paused turn `OTHER`; tokens written to a cache are not told apart; a part is one
//! with the part before it in a stream if both are texts, or thoughts, and the first has no
//! signature. In requests to providers: all that the system says is in `systemInstruction`, wherever
//! it was said; messages of one side in a row are one; a schema is kept to by force whatever the
//! request says, as are all tools' schemas if one tool's is to be; an image's `detail` and a schema's
//! name are left out; an effort above `high` is `high`; a tool's result that is a JSON object is the
//! response itself, any other text its `output`. In requests of clients: `safetySettings` that ask
//! for no filter are left out, `mediaResolution` of a part is an image's `detail`.

mod call_ids;
mod count;
mod error;
mod finish;
mod fold;
mod logprobs;
mod observe;
mod out;
mod path;
mod request;
mod schema;
mod seal;
mod stream;
mod unseal;
mod url;
mod usage;
mod whole;
mod wire;

pub(super) use call_ids::without_call_ids;
pub use count::{count_body, count_estimate, count_path};
pub(super) use error::{read_error, write_error};
pub(super) use fold::fold;
pub use observe::Observer;
pub(super) use observe::{candidate_count, is_over};
pub(super) use path::path;
pub(super) use request::{read_request, write_request};
pub use stream::{Decoder, Renderer};
pub(super) use unseal::unseal;
pub(super) use url::url;
pub(super) use whole::{read_answer, write_answer};

/// The dialect's name.
pub(super) const NAME: &str = "gemini";
