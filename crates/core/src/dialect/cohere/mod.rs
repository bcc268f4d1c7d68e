//! Cohere's chat, version 2, in translation: a provider's API alone, no client's.
//!
//! What a model plans to do with tools (`tool_plan`) is reasoning, as its thinking is. Neither is
//! sealed, so both go back: as the plan where the message has calls, else as thinking. Citations go to
//! clients as they are.
//!
//! Approximated, in requests: a tool that has to be called, or a list of those that may, is all that
//! the model is told of; a tool's failure is not marked; arguments keep to the schemas of all tools by
//! force if they are to for one, and answers always; an effort is sent as a budget; `top_p` stays
//! within 0.01 and 0.99. The figures of usage are those of the tokens, not of what is billed.

mod error;
mod finish;
mod request;
mod stream;
mod usage;
mod whole;
mod wire;

pub(super) use error::read_error;
pub(super) use request::write_request;
pub use stream::Decoder;
pub(super) use whole::read_answer;

/// The dialect's name.
pub(super) const NAME: &str = "cohere";
