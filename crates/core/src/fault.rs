//! The canonical error: what a provider says went wrong, for a client of any API to hear.

use std::time::Duration;

use crate::dialect::openai::UpstreamFault;
use crate::error::{Error, ErrorCode};

/// A failure in the words of whoever failed, safe to show and to log: one line, no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind. It decides the name that the client's API has for it.
    pub kind: FaultKind,
    /// For a person. Not empty.
    pub message: String,
    /// The provider's own name for it: `overloaded_error`, `context_length_exceeded`.
    pub code: Option<String>,
    /// The field of the request that it blames, in the provider's words.
    pub param: Option<String>,
    /// The provider's HTTP status. Within a stream, the one that its event names.
    pub status: Option<u16>,
    /// When a retry makes sense.
    pub retry_after: Option<Duration>,
}

/// The kinds of failures that APIs tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request is wrong.
    Invalid,
    /// The key is wrong or missing.
    Unauthorized,
    /// The account has no money or no quota left.
    Billing,
    /// The key may not do this.
    Forbidden,
    /// No such model or thing.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// Too many requests or tokens for now.
    RateLimit,
    /// A filter refused the request.
    ContentFilter,
    /// The provider has no room for now.
    Overloaded,
    /// It took too long.
    Timeout,
    /// The answer broke off, and can be read up to there.
    Interrupted,
    /// Somebody cancelled it.
    Cancelled,
    /// Anything else at the provider or here.
    Server,
}

impl FaultKind {
    /// The HTTP status that goes with it. Overload is 529 at Anthropic alone, 503 everywhere else.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid | Self::ContentFilter => 400,
            Self::Unauthorized => 401,
            Self::Billing => 402,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::RateLimit => 429,
            Self::Cancelled => 499,
            Self::Server => 500,
            Self::Overloaded | Self::Interrupted => 503,
            Self::Timeout => 504,
        }
    }

    /// What a status says by itself.
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            402 => Self::Billing,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            499 => Self::Cancelled,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::Invalid,
            _ => Self::Server,
        }
    }
}

impl Fault {
    /// A failure with words for a person.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            param: None,
            status: None,
            retry_after: None,
        }
    }

    /// The HTTP status for the client: the provider's own, or the kind's.
    pub fn http_status(&self) -> u16 {
        self.status
            .filter(|status| (400..600).contains(status))
            .unwrap_or(self.kind.status())
    }
}

/// A failure as it was read, with the kind that its name says, or else its status.
impl From<UpstreamFault> for Fault {
    fn from(fault: UpstreamFault) -> Self {
        let UpstreamFault {
            message,
            code,
            kind,
            param,
            status,
        } = fault;
        // A code that is a number only repeats the status.
        let code = code.filter(|code| code.parse::<u16>().is_err());
        let named = [code.as_deref(), kind.as_deref()]
            .into_iter()
            .flatten()
            .find_map(kind_of_name);
        Self {
            kind: named
                .or_else(|| status.map(FaultKind::of_status))
                .unwrap_or(FaultKind::Server),
            message,
            code: code.or(kind),
            param,
            status,
            retry_after: None,
        }
    }
}

/// The kinds that the names of errors stand for, at OpenAI, Anthropic, Google and those who follow
/// them. Names that say less than the status, such as `invalid_request_error`, are not here.
fn kind_of_name(name: &str) -> Option<FaultKind> {
    Some(match name {
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => FaultKind::Unauthorized,
        "billing_error" | "insufficient_quota" | "billing_not_active" => FaultKind::Billing,
        "permission_error" | "PERMISSION_DENIED" => FaultKind::Forbidden,
        "not_found_error" | "model_not_found" | "NOT_FOUND" => FaultKind::NotFound,
        "request_too_large" => FaultKind::TooLarge,
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" => FaultKind::RateLimit,
        "content_filter" | "content_policy_violation" => FaultKind::ContentFilter,
        "overloaded_error" | "overloaded" | "UNAVAILABLE" => FaultKind::Overloaded,
        "timeout_error" | "DEADLINE_EXCEEDED" => FaultKind::Timeout,
        "stream_interrupted" => FaultKind::Interrupted,
        "stream_cancelled" => FaultKind::Cancelled,
        "api_error" | "server_error" | "INTERNAL" => FaultKind::Server,
        _ => return None,
    })
}

/// An error of the gateway's own.
impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let kind = match error.code {
            ErrorCode::GatewayRestarted | ErrorCode::OutcomeUnknown | ErrorCode::DrainTimeout => {
                FaultKind::Interrupted
            }
            ErrorCode::InsufficientQuota | ErrorCode::BudgetExhausted => FaultKind::Billing,
            code => FaultKind::of_status(code.status()),
        };
        Self {
            kind,
            message: error.told(),
            code: Some(error.code.as_str().to_owned()),
            param: error.param.clone(),
            status: Some(error.code.status()),
            retry_after: error.retry_after,
        }
    }
}
