//! Every error a client can see: one table of codes, one small value.

use std::fmt;
use std::time::Duration;

use crate::id::StreamId;

/// Where an error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The request is wrong.
    Client,
    /// Everstream itself, or its state.
    Gateway,
    /// The provider.
    Upstream,
    /// The stream log.
    Store,
}

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $source:ident, $kind:literal, $effects:ident;)+) => {
        /// What went wrong, as a stable name. The table fixes each code's HTTP status, its source,
        /// its OpenAI `type`, and whether a provider may have been charged.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorCode {
            /// All codes, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name on the wire, in logs and in terminal records.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status, where a response head can still carry one.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Who is at fault.
            pub const fn source(self) -> Source {
                match self { $(Self::$variant => Source::$source,)+ }
            }

            /// The `type` of an OpenAI error object.
            pub const fn openai_type(self) -> &'static str {
                match self { $(Self::$variant => $kind,)+ }
            }

            /// What it means, in one sentence of Markdown.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// True when no provider can have been charged for this request.
            pub const fn no_side_effects(self) -> bool {
                match self { $(Self::$variant => error_codes!(@$effects),)+ }
            }
        }
    };
    (@free) => { true };
    (@maybe_charged) => { false };
}

error_codes! {
    /// The body is not JSON.
    InvalidJson = "invalid_json", 400, Client, "invalid_request_error", free;
    /// A required field is missing.
    MissingField = "missing_field", 400, Client, "invalid_request_error", free;
    /// A field or parameter has a value that cannot be.
    InvalidValue = "invalid_value", 400, Client, "invalid_request_error", free;
    /// A field that the upstream's API cannot express; nothing was sent.
    Untranslatable = "unsupported_parameter", 400, Client, "invalid_request_error", free;
    /// `Last-Event-ID`, `after` or `starting_after` is malformed or names another stream.
    InvalidCursor = "invalid_cursor", 400, Client, "invalid_request_error", free;
    /// No valid key or token.
    Unauthorized = "invalid_api_key", 401, Client, "invalid_request_error", free;
    /// A signed request is not as its key signed it, or was signed too long ago.
    InvalidSignature = "invalid_signature", 401, Client, "invalid_request_error", free;
    /// A signed request was received before.
    Replayed = "request_replayed", 401, Client, "invalid_request_error", free;
    /// A web page that may not use this gateway.
    Forbidden = "forbidden", 403, Client, "invalid_request_error", free;
    /// The model has no price, and models without one are refused; nothing was sent.
    ModelUnpriced = "model_unpriced", 403, Client, "invalid_request_error", free;
    /// No upstream serves this model.
    ModelNotFound = "model_not_found", 404, Client, "invalid_request_error", free;
    /// No such stream, or not this project's.
    StreamNotFound = "stream_not_found", 404, Client, "invalid_request_error", free;
    /// No such response, or not this project's, or it was deleted or not stored.
    ResponseNotFound = "response_not_found", 404, Client, "invalid_request_error", free;
    /// `previous_response_id` names no response that can be gone on from.
    PreviousNotFound = "previous_response_not_found", 400, Client, "invalid_request_error", free;
    /// No such organisation, project, key or budget.
    NotFound = "not_found", 404, Client, "invalid_request_error", free;
    /// No such path.
    RouteNotFound = "route_not_found", 404, Client, "invalid_request_error", free;
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, Client, "invalid_request_error", free;
    /// The request took too long to arrive.
    RequestTimeout = "request_timeout", 408, Client, "invalid_request_error", free;
    /// The cursor is beyond the end of the log.
    CursorAhead = "cursor_ahead", 409, Gateway, "invalid_request_error", free;
    /// There is one with this id already.
    AlreadyExists = "already_exists", 409, Client, "invalid_request_error", free;
    /// The stream existed and is past retention.
    StreamGone = "stream_gone", 410, Client, "invalid_request_error", free;
    /// The request body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, Client, "invalid_request_error", free;
    /// What is asked for is well written, and cannot be done.
    Unprocessable = "unprocessable", 422, Client, "invalid_request_error", free;
    /// The `Idempotency-Key` was used with another body.
    IdempotencyMismatch = "idempotency_mismatch", 422, Client, "invalid_request_error", free;
    /// The upstream said that it has had enough for a while, which is not over; nothing was sent.
    UpstreamLimited = "upstream_rate_limited", 429, Upstream, "rate_limit_error", free;
    /// Too many requests of this address were refused for their key or signature.
    TooManyFailures = "too_many_failed_authentications", 429, Client, "rate_limit_error", free;
    /// Too many readers of one stream.
    TooManyReaders = "too_many_readers", 429, Client, "rate_limit_error", free;
    /// Too much runs already, and this project's requests have their share of the places in the queue;
    /// nothing was sent.
    TooManyWaiting = "too_many_waiting", 429, Client, "rate_limit_error", free;
    /// A limit of the key, the project, the model or the address is reached; nothing was sent.
    RateLimited = "rate_limit_exceeded", 429, Client, "rate_limit_error", free;
    /// A budget that covers the caller is used up until its next period; nothing was sent.
    InsufficientQuota = "insufficient_quota", 429, Client, "insufficient_quota", free;
    /// A bug of ours.
    Internal = "internal_error", 500, Gateway, "server_error", maybe_charged;
    /// The upstream could not be connected to.
    UpstreamUnreachable = "upstream_unreachable", 502, Upstream, "server_error", free;
    /// The upstream answered something that is not its API.
    UpstreamInvalid = "upstream_invalid_response", 502, Upstream, "server_error", maybe_charged;
    /// The upstream's answer ended before its own end.
    UpstreamCut = "upstream_cut", 502, Upstream, "server_error", maybe_charged;
    /// The upstream refused with a status of its own, which is passed on.
    UpstreamError = "upstream_error", 502, Upstream, "server_error", maybe_charged;
    /// One event of the answer is larger than the limit.
    EventTooLarge = "event_too_large", 502, Upstream, "server_error", maybe_charged;
    /// The answer is larger than the limit for a stream.
    StreamTooLarge = "stream_too_large", 502, Upstream, "server_error", maybe_charged;
    /// The log is full.
    StoreFull = "store_full", 503, Store, "server_error", maybe_charged;
    /// The log cannot be written or read.
    StoreUnavailable = "store_unavailable", 503, Store, "server_error", maybe_charged;
    /// The upstream is not asked just now: too much of what it was asked came to nothing, as much as
    /// may be is under way, or its key is not to be had; nothing was sent.
    UpstreamUnavailable = "upstream_unavailable", 503, Upstream, "server_error", free;
    /// The key, token or signature cannot be checked: the database of keys, or the token's issuer, does not
    /// answer, or more signed requests arrive than can be told from replays.
    AccessUnavailable = "access_unavailable", 503, Gateway, "server_error", free;
    /// The database of keys, budgets and the ledger does not answer, or there is none.
    CatalogUnavailable = "catalog_unavailable", 503, Gateway, "server_error", free;
    /// Nothing that costs money may begin: the database of budgets does not answer, and the operator
    /// wants requests to be refused then; or too much waits for the ledger.
    BudgetUnavailable = "budget_unavailable", 503, Gateway, "server_error", free;
    /// No new requests are taken: the process is about to end.
    Draining = "draining", 503, Gateway, "server_error", free;
    /// Too much runs already, and the queue is full, or the request waited in it for as long as it may;
    /// nothing was sent.
    Overloaded = "overloaded", 503, Gateway, "server_error", free;
    /// The upstream was silent for too long.
    UpstreamTimeout = "upstream_timeout", 504, Upstream, "server_error", maybe_charged;
    /// A client or a policy cancelled the generation.
    Cancelled = "cancelled", 499, Client, "stream_cancelled", maybe_charged;
    /// The answer used up what its budgets had left, and was stopped there.
    BudgetExhausted = "budget_exhausted", 429, Gateway, "insufficient_quota", maybe_charged;
    /// The gateway died while the generation ran, and cannot re-attach.
    GatewayRestarted = "gateway_restarted", 503, Gateway, "stream_interrupted", maybe_charged;
    /// The gateway ended, and the generation did not end within the drain time.
    DrainTimeout = "drain_timeout", 503, Gateway, "stream_interrupted", maybe_charged;
    /// The answer was cut, and a second run of it said something else than what was delivered.
    Diverged = "diverged", 502, Upstream, "stream_interrupted", maybe_charged;
    /// The gateway died before anything was sent to an upstream.
    NotStarted = "not_started", 503, Gateway, "stream_interrupted", free;
    /// The gateway died after the request went out and before an answer came back.
    OutcomeUnknown = "outcome_unknown", 503, Gateway, "stream_interrupted", maybe_charged;
}

impl ErrorCode {
    /// The code of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Whether the error ended a generation, rather than refused a request about one.
    const fn broke_off(self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::CursorAhead | Self::NotStarted | Self::Draining | Self::Overloaded => false,
            code => !matches!(code.source(), Source::Client),
        }
    }

    /// True when the same request may well succeed later.
    pub const fn retryable(self) -> bool {
        matches!(self.status(), 408 | 429 | 500..=599)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that a client will read: what was wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// Which error.
    pub code: ErrorCode,
    /// One or two sentences for a person. Never holds a secret.
    pub message: String,
    /// The field, header or parameter at fault.
    pub param: Option<String>,
    /// The stream it is about.
    pub stream: Option<StreamId>,
    /// When a retry makes sense. Who sets it knows that nothing ran.
    pub retry_after: Option<Duration>,
    /// More fields for the head of the response.
    pub fields: Vec<(&'static str, String)>,
}

impl Error {
    /// An error with a message for a person.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
            stream: None,
            retry_after: None,
            fields: Vec::new(),
        }
    }

    /// Names the field, header or parameter at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The message, and for an answer that broke off, where what was delivered can be read.
    pub fn told(&self) -> String {
        match self.stream {
            Some(stream) if self.code.broke_off() => {
                let reason = self.message.trim_end_matches('.');
                format!("{reason}. Read what was delivered at GET /v1/streams/{stream}.")
            }
            _ => self.message.clone(),
        }
    }

    /// Names the stream it is about.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
        }
    }
}
