//! Why a signature was refused.

use std::time::Duration;

/// What is wrong with a signature, and what to do about it. Nothing in it depends on the secret but
/// [`Mismatch`](Self::Mismatch), which is also what a caller should say of an unknown key id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A field is not what RFC 9421, RFC 9530 or RFC 9651 say.
    #[error("{field} cannot be read: {why}.")]
    Malformed {
        /// The header field.
        field: &'static str,
        /// What it should have been.
        why: &'static str,
    },
    /// `Signature-Input` and `Signature` have no label in common, or too many.
    #[error(
        "Signature-Input and Signature need one signature with the same label; of several, one must \
         have tag=\"everstream\"."
    )]
    NoSuchLabel,
    /// A parameter of the signature is missing.
    #[error("The signature needs the parameter {0}.")]
    MissingParameter(&'static str),
    /// The signature says it was made with another algorithm.
    #[error("The signature's alg must be \"hmac-sha256\", or be left out.")]
    Algorithm,
    /// It covers something twice.
    #[error("The signature covers {0} twice.")]
    Twice(String),
    /// It covers something that is not supported here.
    #[error(
        "The signature covers {0}, which is not supported: cover header fields as they are, and \
         @method, @authority, @scheme, @target-uri, @request-target, @path or @query."
    )]
    Unsupported(String),
    /// It covers a header field that the request does not have, or that is not ASCII.
    #[error("The signature covers the header field {0}, which the request lacks or is not ASCII.")]
    Absent(String),
    /// It does not cover what it must.
    #[error("The signature must cover {0}.")]
    NotCovered(&'static str),
    /// It was made in the future.
    #[error(
        "The signature's created is {} s ahead of the server's clock, of which {} s are let pass: set \
         the client's clock.",
        .ahead.as_secs(), .skew.as_secs()
    )]
    TooNew {
        /// How far.
        ahead: Duration,
        /// How far it may be.
        skew: Duration,
    },
    /// It was made too long ago, or has expired.
    #[error(
        "The signature was made {} s ago by the server's clock and was good until {} s ago: sign anew \
         for every request, with a clock that is right.",
        .age.as_secs(), .since.as_secs()
    )]
    TooOld {
        /// How long ago it was made.
        age: Duration,
        /// How long ago it stopped being good.
        since: Duration,
    },
    /// It is to expire before it was made.
    #[error("The signature's expires is before its created.")]
    Backwards,
    /// It was not made with this secret, or something that it covers was changed.
    #[error(
        "The signature does not match: check that the key is still good, its id and its secret, and \
         that nothing between changed the request."
    )]
    Mismatch,
    /// The body is not the one that was signed.
    #[error("The body is not the one in Content-Digest.")]
    Digest,
}
