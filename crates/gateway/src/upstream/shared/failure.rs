use std::io;

use everstream_core::error::Error;
use everstream_core::frame::http1::{Http1Error, RequestError};
use h2::Reason;

use crate::upstream::UpstreamErrorKind;
use crate::upstream::connection::Payload;

/// Why there is no answer to a request.
pub(super) struct Failure {
    pub(super) kind: UpstreamErrorKind,
    /// It may have run.
    pub(super) sent: bool,
    /// It did not run, and can be sent again at once.
    pub(super) again: bool,
}

impl Failure {
    pub(super) fn unsendable(error: RequestError) -> Self {
        Self {
            kind: UpstreamErrorKind::Request(error),
            sent: false,
            again: false,
        }
    }

    /// The connection took no further request.
    pub(super) fn unopened(error: h2::Error) -> Self {
        Self {
            again: is_calm(&error),
            sent: false,
            kind: match unread(&error) {
                Some(reason) => UpstreamErrorKind::TurnedAway(reason),
                None => UpstreamErrorKind::Write(io(error)),
            },
        }
    }

    /// The body of the request broke off.
    pub(super) fn body(error: Error) -> Self {
        Self::sent(UpstreamErrorKind::Body(Box::new(error)))
    }

    /// The answer's head is not acceptable.
    pub(super) fn head(error: Http1Error) -> Self {
        Self::sent(UpstreamErrorKind::Protocol(error))
    }

    /// It ended before an answer. `unwritten` says that its connection wrote nothing since.
    pub(super) fn unanswered(error: h2::Error, unwritten: bool, body: &Payload) -> Self {
        let reason = unread(&error);
        let sent = reason.is_none() && !unwritten;
        // What a stream of pieces gave is gone.
        let again = !sent && matches!(body, Payload::Whole(_)) && is_calm(&error);
        let kind = match reason {
            Some(reason) => UpstreamErrorKind::TurnedAway(reason),
            None if unwritten => UpstreamErrorKind::Write(io(error)),
            None if error.is_remote() => UpstreamErrorKind::StreamReset(reason_of(&error)),
            None if error.is_io() => match io(error) {
                closed if closed.kind() == io::ErrorKind::BrokenPipe => UpstreamErrorKind::Closed,
                broken => UpstreamErrorKind::Reset(broken),
            },
            None => UpstreamErrorKind::Http2(reason_of(&error)),
        };
        Self { kind, sent, again }
    }

    fn sent(kind: UpstreamErrorKind) -> Self {
        Self {
            kind,
            sent: true,
            again: false,
        }
    }
}

/// Why an answer has no end.
pub(super) fn cut(error: h2::Error) -> UpstreamErrorKind {
    if error.is_remote() {
        UpstreamErrorKind::StreamReset(reason_of(&error))
    } else if error.is_io() {
        UpstreamErrorKind::Reset(io(error))
    } else {
        let what = "it does not keep to HTTP/2, or to its Content-Length";
        UpstreamErrorKind::Protocol(Http1Error::Truncated(what))
    }
}

/// Why the upstream did not read the request, if it says so: it refused the stream (RFC 9113, section
/// 8.7), or went away after streams before it. The library ends streams so only for those.
fn unread(error: &h2::Error) -> Option<Reason> {
    let reason = error.reason().filter(|_| error.is_remote())?;
    (error.is_go_away() || reason == Reason::REFUSED_STREAM).then_some(reason)
}

/// Who asks for less is not asked again at once.
fn is_calm(error: &h2::Error) -> bool {
    error.reason() != Some(Reason::ENHANCE_YOUR_CALM)
}

fn reason_of(error: &h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::INTERNAL_ERROR)
}

pub(super) fn io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::Other.into())
    } else {
        io::Error::other(reason_of(&error).description())
    }
}
