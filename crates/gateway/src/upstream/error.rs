use std::io;
use std::path::PathBuf;
use std::time::Duration;

use everstream_core::error::{Error, ErrorCode};
use everstream_core::frame::http1::{Http1Error, RequestError};

use super::{Reach, UrlError};

/// Why an exchange with an upstream failed. The text names the upstream and what to look at, and
/// never a key.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream} ({base_url}): {kind}")]
pub struct UpstreamError {
    /// The upstream's configured name.
    pub upstream: String,
    /// Where it was looked for.
    pub base_url: String,
    /// What happened.
    pub kind: UpstreamErrorKind,
    pub(super) sent: bool,
}

impl UpstreamError {
    /// True when the upstream surely got no request, not even a part of one: asking again, here or
    /// elsewhere, cannot be charged twice.
    pub fn nothing_was_sent(&self) -> bool {
        !self.sent
    }

    /// What a client is told.
    pub fn into_error(self) -> Error {
        let code = self.code();
        match self.kind {
            UpstreamErrorKind::Body(error) => *error,
            kind => Error::new(code, format!("Upstream `{}`: {kind}.", self.upstream)),
        }
    }

    /// What this is to a client.
    pub fn code(&self) -> ErrorCode {
        match &self.kind {
            UpstreamErrorKind::Request(_) => ErrorCode::Internal,
            UpstreamErrorKind::Body(error) => error.code,
            UpstreamErrorKind::Awaited => ErrorCode::UpstreamUnavailable,
            UpstreamErrorKind::Dns(_)
            | UpstreamErrorKind::Refused
            | UpstreamErrorKind::Connect(_)
            | UpstreamErrorKind::ConnectTimeout(_)
            | UpstreamErrorKind::OutOfReach(_)
            | UpstreamErrorKind::Proxy(_)
            | UpstreamErrorKind::Tls(_)
            | UpstreamErrorKind::TurnedAway(_)
            | UpstreamErrorKind::Token(_) => ErrorCode::UpstreamUnreachable,
            UpstreamErrorKind::Write(_) if !self.sent => ErrorCode::UpstreamUnreachable,
            UpstreamErrorKind::Write(_)
            | UpstreamErrorKind::Closed
            | UpstreamErrorKind::Reset(_)
            | UpstreamErrorKind::StreamReset(_)
            | UpstreamErrorKind::Protocol(Http1Error::Truncated(_)) => ErrorCode::UpstreamCut,
            UpstreamErrorKind::Protocol(_)
            | UpstreamErrorKind::Http2(_)
            | UpstreamErrorKind::Socket(_) => ErrorCode::UpstreamInvalid,
        }
    }
}

/// What happened to an exchange with an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamErrorKind {
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(#[source] RequestError),
    /// The body of the request, which was sent as it came, broke off.
    #[error("{0}")]
    Body(#[source] Box<Error>),
    /// The host's name has no address.
    #[error("its host name cannot be resolved ({0}): check base_url and the DNS")]
    Dns(#[source] io::Error),
    /// Nobody listens there.
    #[error("the connection was refused: is the server running, and the port right?")]
    Refused,
    /// The network said no.
    #[error("it cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// No connection within the time.
    #[error("no connection within {0:?} (connect_timeout)")]
    ConnectTimeout(Duration),
    /// Its address is one that it may not have. Which is for the log, not for clients.
    #[error("{}", out_of_reach(*.0))]
    OutOfReach(Reach),
    /// The proxy on the way did not connect to it.
    #[error("the proxy on the way to it failed: {0}")]
    Proxy(#[source] io::Error),
    /// TLS could not be agreed on, or a certificate is not trusted.
    #[error("TLS failed: {0}. For a private certificate authority set ca_file")]
    Tls(#[source] io::Error),
    /// There is no token to call it with; half a sentence says why.
    #[error("no access token could be had for it: {0}")]
    Token(String),
    /// A secret that it is called with could not be had yet.
    #[error("its key is not to be had yet; the gateway's log says why")]
    Awaited,
    /// The request could not be written to its end.
    #[error("it stopped taking the request: {0}")]
    Write(#[source] io::Error),
    /// The connection ended before one byte of an answer.
    #[error("it closed the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Reset(#[source] io::Error),
    /// It said that it did nothing with the request, and would not (HTTP/2).
    #[error("it turned the request away unread: {0}")]
    TurnedAway(h2::Reason),
    /// It ended the request and its answer, and no others of the connection (HTTP/2).
    #[error("it broke the answer off: {0}")]
    StreamReset(h2::Reason),
    /// What it said is not HTTP/2, though it chose that.
    #[error("it does not keep to HTTP/2: {0}. If it never does, set http2 = false")]
    Http2(h2::Reason),
    /// It did not open a WebSocket.
    #[error("it opened no WebSocket: {0}")]
    Socket(#[source] Box<tungstenite::Error>),
    /// The answer is not what HTTP allows, or not whole.
    #[error("{0}")]
    Protocol(#[source] Http1Error),
}

fn out_of_reach(needed: Reach) -> &'static str {
    match needed {
        Reach::LinkLocal => {
            "it has a link-local address, and there credentials of machines are: set \
             allow_link_local if it is meant"
        }
        Reach::Private | Reach::Public => {
            "its name leads to a private address: set allow_private if it is meant"
        }
    }
}

/// An upstream that cannot be set up as it is described.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// `base_url` is wrong.
    #[error("upstream {name}: {error}")]
    BaseUrl {
        /// The upstream.
        name: String,
        /// What is wrong.
        error: UrlError,
    },
    /// A header or the key cannot be sent.
    #[error("upstream {name}: {error}")]
    Header {
        /// The upstream.
        name: String,
        /// What is wrong.
        error: RequestError,
    },
    /// The environment's proxy is of no use.
    #[error("upstream {name}: {reason}")]
    Proxy {
        /// The upstream.
        name: String,
        /// What is wrong with which variable.
        reason: String,
    },
    /// `ca_file` has no certificate that can be used.
    #[error("upstream {name}: ca_file {}: {reason}", path.display())]
    CaFile {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `credentials` has no key that can be used.
    #[error("upstream {name}: credentials {}: {reason}", path.display())]
    Credentials {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing to call AWS with, or no region to call it in.
    #[error("upstream {name}: {missing}")]
    Aws {
        /// The upstream.
        name: String,
        /// What is missing.
        missing: &'static str,
    },
    /// TLS cannot be set up at all.
    #[error("upstream {name}: TLS cannot be set up: {reason}")]
    Tls {
        /// The upstream.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
