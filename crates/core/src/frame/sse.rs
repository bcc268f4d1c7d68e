//! Server-sent events: a decoder that takes a provider's bytes at any split, and the writer of
//! every frame that a client gets.
//!
//! Source: the WHATWG HTML standard, section 9.2, and what providers and clients do in the field.

mod decode;
mod encode;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub(super) use decode::utf8;
pub use decode::{SseDecoder, SseError, SseEvent, one_line};
pub use encode::{HEARTBEAT, SseMessage, render, render_bare};
