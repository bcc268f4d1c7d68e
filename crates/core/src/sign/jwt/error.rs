//! Why a token or a set of keys was refused.

/// What is wrong with a token. No message repeats anything of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no signed token.
    #[error("The token cannot be read: {0}.")]
    Malformed(&'static str),
    /// Its algorithm is not one of its issuer's.
    #[error("The token is signed with an algorithm that is not accepted from its issuer.")]
    Algorithm,
    /// It has header parameters that must be understood and are not (RFC 7515, 4.1.11).
    #[error("The token has critical header parameters that are not supported.")]
    Critical,
    /// It is another kind of token, such as one that only identifies a user to an application.
    #[error("The token's typ is not JWT or at+jwt.")]
    Kind,
    /// Its issuer is not one that is accepted.
    #[error("The token's issuer is not accepted here.")]
    Issuer,
    /// Its key is none of its issuer's for this algorithm.
    #[error("The token's key is not one of its issuer's.")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("The token's signature is wrong.")]
    Signature,
    /// It is over, or has no end.
    #[error("The token has expired, or has no exp: get a new one.")]
    Expired,
    /// It is not yet good.
    #[error("The token is not good yet: its nbf or iat lies ahead.")]
    TooEarly,
    /// It is for somebody else.
    #[error("The token's aud does not name this gateway.")]
    Audience,
    /// Its claims name no project, or several.
    #[error("The token's claims do not name one project of this gateway.")]
    Project,
}

/// What is wrong with a set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is no key set.
    #[error("this is no JSON Web Key Set: an object with a list `keys` (RFC 7517)")]
    Malformed,
    /// It is too large.
    #[error("this key set is larger than {} bytes", crate::limits::JWKS_BYTES)]
    TooLarge,
    /// None of its keys can be used.
    #[error(
        "this key set has no key to verify RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519) with"
    )]
    NoKeys,
}
