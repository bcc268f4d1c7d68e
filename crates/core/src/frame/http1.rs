//! HTTP/1.1 as a client speaks it (RFC 9112): request heads out, responses in.
//!
//! The decoder is strict wherever a doubt about a border could let the bytes of one answer be read
//! as part of another. Both `Transfer-Encoding` and `Content-Length`, lengths that differ, a coding
//! that is not exactly `chunked`, and a bare LF inside the chunked framing are refused. A bare LF
//! at the end of a line of the head is taken, as RFC 9112 section 2.2 allows: there it moves no
//! border. A chunked body without its last chunk, or one shorter than its length, is truncated and
//! never passes for a whole one.

mod body;
mod head;
mod request;
#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, BodyState};
pub use head::{Decoded, HeadDecoder, ResponseHead};
pub use request::{BodyLength, Fields, RequestError, request_head};

/// Why an answer is not a whole HTTP/1.1 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Http1Error {
    /// The bytes are not a response head at all: another protocol, or TLS on a plain port.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// The head breaks a rule of its syntax.
    #[error("the head of the answer is malformed: {0}")]
    Head(&'static str),
    /// The head does not end within the limit.
    #[error(
        "the head of the answer is larger than {} bytes",
        crate::limits::UPSTREAM_HEAD_BYTES
    )]
    HeadTooLarge,
    /// More header lines than the limit.
    #[error(
        "the head of the answer has more than {} headers",
        crate::limits::UPSTREAM_HEADERS
    )]
    TooManyHeaders,
    /// The body's length is not stated in one unmistakable way.
    #[error("the length of the answer's body is ambiguous: {0}")]
    Framing(&'static str),
    /// The chunked framing is broken.
    #[error("the chunked body of the answer is malformed: {0}")]
    Chunk(&'static str),
    /// The connection ended before the response did.
    #[error("the answer ended early: {0}")]
    Truncated(&'static str),
}
