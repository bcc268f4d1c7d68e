//! AWS event-stream frames (`application/vnd.amazon.eventstream`), as Bedrock streams its answers: a
//! decoder that takes a provider's bytes at any split.
//!
//! Source: the "Event Stream Encoding" of Amazon's SDK documentation and the Smithy specification.

mod decode;
#[cfg(test)]
mod fixtures;
mod header;
#[cfg(test)]
mod tests;

pub use decode::{AwsDecoder, AwsError, EXCEPTION};
